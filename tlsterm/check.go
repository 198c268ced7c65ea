package tlsterm

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"sluice/tlsterm/acme"
	"sluice/tlsterm/ocsp"
)

// Check returns everything that is wrong with options and the files they name, in the order of the options. It reads the
// files as they are now and changes nothing.
func Check(o Options) []Problem { return check(o, time.Now()) }

func check(o Options, now time.Time) []Problem {
	c := &checking{now: now, staple: o.Staple, problems: o.problems(), served: map[string]string{}}
	for i, s := range o.Certificates {
		if s.valid() == nil {
			c.source = i
			c.certificates(s)
		}
	}
	c.source = noSource
	for i, clients := range o.ClientCerts {
		if clients.CAFile != "" {
			c.part, c.index = PartClientCerts, i
			c.clients(clients)
		}
	}
	if o.ECH != nil && len(o.ECH.problems()) == 0 {
		c.part, c.index = PartECH, 0
		c.ech(*o.ECH, o.Certificates)
	}
	return c.problems
}

// checking collects problems.
type checking struct {
	now      time.Time
	staple   bool
	source   int
	part     Part
	index    int
	problems []Problem
	names    []string          // of all certificates
	unread   bool              // one of them could not be read
	served   map[string]string // the file of the certificate for a name and a kind of key
}

func (c *checking) add(file string, err error, warning bool) {
	if f, ok := errors.AsType[*fault](err); ok {
		file, err = f.file, f.err
	}
	c.problems = append(c.problems, Problem{Source: c.source, Part: c.part, Index: c.index, File: file, Err: err, Warning: warning})
}

func (c *checking) certificates(s Source) {
	switch {
	case s.CertFile != "":
		if p, err := readPair(s.CertFile, s.KeyFile); err != nil {
			c.unread = true
			c.add("", err, false)
		} else {
			c.pair(p)
		}
	case s.Dir != "":
		c.folder(s.Dir)
	case s.ACME != nil:
		c.ordered(s.ACME)
	}
}

func (c *checking) folder(dir string) {
	f, err := listFolder(dir)
	if err != nil {
		c.unread = true
		c.add("", err, false)
		return
	}
	for _, ignored := range f.ignored {
		c.add("", ignored, true)
	}
	tried := 0
	for _, files := range f.pairs {
		p, err := readPair(files.cert, files.key)
		switch {
		case err == nil:
			tried++
			c.pair(p)
		case files.isNoPair(err):
			c.add(files.cert, fmt.Errorf("it is left out: %w", unwrapped(err)), true)
		default:
			tried++
			c.unread = true
			c.add("", err, false)
		}
	}
	if tried == 0 {
		c.add(dir, errors.New("it holds no certificate with its key"), false)
	}
}

// ordered looks at what can be known without asking anybody. What is wrong with a certificate mends itself.
func (c *checking) ordered(o *acme.Options) {
	if o.CAFile != "" {
		if _, err := readFile(o.CAFile, pemBytesMax); err != nil {
			c.add("", err, false)
		} else if err := o.CheckCA(); err != nil {
			c.add(o.CAFile, err, false)
		}
	}
	kind := isECDSA
	if o.RSA {
		kind = isRSA
	}
	for _, host := range o.Hosts {
		c.serve(kind, host, o.File(host))
		p, err := readPair(o.File(host), "")
		if err == nil {
			err = p.untimely(c.now)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.add(o.File(host), fmt.Errorf("another one is going to be ordered: %w", unwrapped(err)), true)
		}
	}
}

// unwrapped is a fault without its file.
func unwrapped(err error) error {
	if f, ok := errors.AsType[*fault](err); ok {
		return f.err
	}
	return err
}

func (c *checking) pair(p *pair) {
	file := p.info.Source
	for _, doubt := range p.doubts(c.now) {
		c.add(file, doubt, false)
	}
	if err := p.disorder(); err != nil {
		c.add(file, err, true)
	}
	if err := c.unstapled(p); err != nil {
		c.add(file, err, true)
	}
	for _, name := range p.info.Names {
		c.names = append(c.names, strings.ToLower(name))
		c.serve(kindOf(&p.Certificate), name, file)
	}
}

// serve notes which file is for a name, or that it is another one already.
func (c *checking) serve(kind int, name, file string) {
	key := fmt.Sprint(kind, strings.ToLower(name))
	if other, ok := c.served[key]; ok && other != file {
		c.add(file, fmt.Errorf("it is not used for %s: the certificate in %s comes first", name, other), true)
		return
	}
	c.served[key] = file
}

func (c *checking) ech(o ECH, sources []Source) {
	files, err := o.Files()
	if err == nil {
		_, err = o.Published(files)
	}
	if err != nil {
		c.add("", err, false)
	}
	for _, f := range files {
		if f.loose {
			c.add(f.File, errors.New("everybody on this host may read the key: chmod 600"), true)
		}
	}
	if !c.certified(o.PublicName, sources) {
		c.add("", fmt.Errorf("no certificate is for the public name %s: clients with an old key would be shut out", o.PublicName), false)
	}
}

// certified reports whether one of the certificates is for a name. Where one cannot be read, it may be the one.
func (c *checking) certified(name string, sources []Source) bool {
	if c.unread {
		return true
	}
	for _, s := range sources {
		hosts := s.SelfSigned
		if s.ACME != nil {
			hosts = s.ACME.Hosts
		}
		for _, host := range hosts {
			c.names = append(c.names, strings.ToLower(host))
		}
	}
	name = strings.ToLower(name)
	_, parent, _ := strings.Cut(name, ".")
	return slices.Contains(c.names, name) || slices.Contains(c.names, "*."+parent)
}

// unstapled says why clients get no OCSP answer that they may want.
func (c *checking) unstapled(p *pair) error {
	asks, must := ocsp.Responder(p.Leaf) != "", ocsp.MustStaple(p.Leaf)
	switch {
	case must && !asks:
		return errors.New("it must be shown with an OCSP answer, and names no responder: clients may refuse it")
	case must && !c.staple:
		return errors.New("it must be shown with an OCSP answer, and these are turned off: clients may refuse it")
	case asks && c.staple && p.subject == nil:
		return errors.New("it names an OCSP responder, and the certificate that issued it is not in the chain: no answer can be verified or sent along")
	}
	return nil
}

func (c *checking) clients(o ClientCerts) {
	a, err := readAuthorities(o.CAFile, o.CRLFile)
	if err != nil {
		c.add("", err, false)
		return
	}
	for _, authority := range a.certificates {
		if err := c.authority(authority); err != nil {
			c.add(o.CAFile, err, true)
		}
		if o.CRLFile != "" && authority.IsCA && a.revocations[string(authority.RawSubject)] == nil {
			c.add(o.CRLFile, fmt.Errorf("it holds no list of %s, which therefore cannot revoke anything", authority.Subject), true)
		}
	}
	for _, lists := range a.revocations {
		for _, r := range lists {
			if err := r.expired(c.now); err != nil {
				c.add(o.CRLFile, err, false)
			}
		}
	}
}

func (c *checking) authority(a *x509.Certificate) error {
	switch {
	case c.now.After(a.NotAfter):
		return fmt.Errorf("the authority %s expired at %s", a.Subject, a.NotAfter.Format(time.RFC3339))
	case c.now.Before(a.NotBefore):
		return fmt.Errorf("the authority %s is not valid before %s", a.Subject, a.NotBefore.Format(time.RFC3339))
	case !a.IsCA:
		return fmt.Errorf("%s is no authority: only this certificate itself is trusted", a.Subject)
	}
	return nil
}
