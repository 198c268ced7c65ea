package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sluice/control/compile"
	"sluice/control/config"
	"sluice/tlsterm"
)

type echCommand struct {
	Config string `short:"c" required:"" placeholder:"FILE" help:"The configuration file."`
	New    bool   `xor:"change" help:"Make another key, however young the last one is."`
	Print  bool   `xor:"change" help:"Change nothing: print what is published."`
	TTL    int    `name:"ttl" default:"300" placeholder:"SECONDS" help:"How long the DNS may remember a record (${default})."`
	JSON   bool   `name:"json" help:"Write JSON, for programs that update the DNS."`
}

func (echCommand) Help() string {
	return example("Prints the HTTPS records (RFC 9460) for the names of the certificates of each section of tls that has ech, ready for a zone file. "+
		"Before that it does what is due: it makes a key if there is none, or if the last one is older than rotate, and removes those that decrypt no more. "+
		"A running gateway notices by itself. Let the user of the gateway run it, or root, once a day say, and copy the folder to all hosts behind a balancer "+
		"before the DNS gets the records.", "sluice ech -c sluice.yaml\nsluice ech -c sluice.yaml --print --json")
}

func (c *echCommand) Run(t *terminal) error {
	file, problems := config.Load(c.Config, config.Options{})
	if file == nil {
		plain := &terminal{} // whether stderr is a terminal nobody has asked
		t.note(strings.TrimSuffix(plain.problems(problems), "\n"))
		return errFailed
	}
	sets, err := compile.ECHSets(file)
	if err != nil {
		return err
	}
	if len(sets) == 0 {
		return fmt.Errorf("no listener of %s uses a section of tls with ech: write ech: cdn.example into one", c.Config)
	}
	var all []published
	for _, set := range sets {
		if !c.Print {
			if err := rotateECH(set, c.New, time.Now()); err != nil {
				return fmt.Errorf("cannot renew the ECH keys of tls.%s: %w", set.Name, err)
			}
		}
		p, err := publishedOf(set, c.TTL)
		if err != nil {
			return fmt.Errorf("cannot print the ECH keys of tls.%s: %w", set.Name, err)
		}
		all = append(all, p)
	}
	if c.JSON {
		text, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			return fmt.Errorf("cannot write the keys: %w", err)
		}
		return t.write(string(text) + "\n")
	}
	for _, p := range all {
		if err := t.write(p.zone()); err != nil {
			return err
		}
	}
	return nil
}

// rotateECH makes a key if one is due, and removes those that decrypt no more. The folder is for the user of the gateway alone.
func rotateECH(set compile.ECHSet, always bool, now time.Time) error {
	files, err := set.ECH.Files()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	kept := files[:0]
	for _, f := range files {
		if f.Decrypts(now) {
			kept = append(kept, f)
		} else if err := os.Remove(f.File); err != nil {
			return fmt.Errorf("cannot remove a key that decrypts no more: %w", err)
		}
	}
	var last tlsterm.ECHFile
	if len(kept) > 0 {
		last = kept[len(kept)-1]
	}
	switch {
	case len(kept) > 0 && last.PublicName == set.ECH.PublicName && !always && now.Sub(last.Since) < set.Rotate:
		return nil
	case len(kept) >= tlsterm.ECHKeysMax:
		return fmt.Errorf("%s holds %d keys that decrypt, which is the most: the oldest one does until %s", set.ECH.Dir, len(kept),
			kept[0].Until.UTC().Format(time.RFC3339))
	}
	return addECHKey(set.ECH, kept, last, now)
}

// addECHKey writes a key whose name sorts after that of the last one.
func addECHKey(o tlsterm.ECH, others []tlsterm.ECHFile, last tlsterm.ECHFile, now time.Time) error {
	key, err := tlsterm.NewECHKey(o.PublicName, others)
	if err != nil {
		return err
	}
	text, err := key.PEM()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%02x%s", now.UTC().Format("20060102T150405.000Z"), key.ID, tlsterm.ECHSuffix)
	if base := filepath.Base(last.File); last.File != "" && base >= name {
		return fmt.Errorf("the key %s sorts after the name of a new one, %s, which would therefore not be published: rename it", last.File, name)
	}
	if err := makePrivate(o.Dir); err != nil {
		return fmt.Errorf("cannot make the folder of the keys: %w", err)
	}
	return fillAtomically(filepath.Join(o.Dir, name), 0o600, func(w io.Writer) error {
		owner, err := os.Stat(o.Dir)
		if err == nil {
			err = giveTo(owner, w.(*os.File).Chown)
		}
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	})
}

// makePrivate makes a folder for one user, and those that it lies in, if they are not there.
func makePrivate(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makePrivate(parent); err != nil {
		return err
	}
	// The folder is the same in all three steps: whoever it belongs to could put a link in its place, to have something else given.
	root, err := os.OpenRoot(parent)
	if err != nil {
		return err
	}
	defer root.Close()
	name := filepath.Base(dir)
	if err := root.Mkdir(name, 0o700); err != nil {
		return err
	}
	owner, err := root.Stat(".")
	if err != nil {
		return err
	}
	return giveTo(owner, func(uid, gid int) error { return root.Lchown(name, uid, gid) })
}

// giveTo makes what root has made belong to the owner of the folder that it lies in: a gateway that runs as somebody else could not
// read it. Whoever is not root owns what he makes, and could give nothing away.
func giveTo(folder os.FileInfo, chown func(uid, gid int) error) error {
	owner, ok := folder.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return chown(int(owner.Uid), int(owner.Gid))
}

// published is what the DNS is to say about the hosts of a section.
type published struct {
	TLS        string   `json:"tls"`
	PublicName string   `json:"public_name"`
	File       string   `json:"file"`
	ECH        string   `json:"ech"` // the ECHConfigList in base64
	Records    []string `json:"records"`
	former     []tlsterm.ECHFile
}

// publishedOf reads the folder as it is now, so that nothing is printed which a gateway would not find.
func publishedOf(set compile.ECHSet, ttl int) (published, error) {
	files, err := set.ECH.Files()
	if err != nil {
		return published{}, err
	}
	last, err := set.ECH.Published(files)
	if err != nil {
		return published{}, err
	}
	p := published{TLS: set.Name, PublicName: last.PublicName, File: last.File, ECH: base64.StdEncoding.EncodeToString(last.List()), Records: []string{}}
	for _, host := range set.Hosts {
		p.Records = append(p.Records, fmt.Sprintf("%s. %d IN HTTPS 1 . alpn=\"%s\" ech=\"%s\"", host, ttl, strings.Join(set.ALPN, ","), p.ECH))
	}
	for _, f := range files[:len(files)-1] {
		if f.Decrypts(time.Now()) {
			p.former = append(p.former, f)
		}
	}
	return p, nil
}

// zone is a part of a zone file (RFC 1035 section 5.1).
func (p published) zone() string {
	var b strings.Builder
	fmt.Fprintf(&b, "; tls.%s: an observer sees %s. The key is %s.\n", p.TLS, p.PublicName, p.File)
	for _, f := range p.former {
		fmt.Fprintf(&b, "; %s decrypts until %s.\n", f.File, f.Until.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(&b, "; ECHConfigList: %s\n", p.ECH)
	if len(p.Records) == 0 {
		b.WriteString("; No certificate is for any other name: there is nothing to hide.\n")
	}
	for _, record := range p.Records {
		b.WriteString(record + "\n")
	}
	return b.String()
}
