package tlsterm

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sluice/tlsterm/acme"
	"sluice/tlsterm/ocsp"
)

// Options describe one named set of TLS settings.
type Options struct {
	Name         string        // of the set, for errors and logs
	Certificates []Source      // at least one; the first certificate is the default
	MinVersion   uint16        // tls.VersionTLS12 or tls.VersionTLS13; 0: of the preset
	Preset       Preset        // the zero value is Intermediate
	ALPN         []string      // protocols in order of preference (RFC 7301), e.g. "h2", "http/1.1"; none: not negotiated
	Tickets      *Tickets      // nil: keys of this process alone, random, rotated daily
	ClientCerts  []ClientCerts // for different names; none: none are asked for
	ECH          *ECH          // nil: clients cannot hide which name they ask for
	Staple       bool          // OCSP answers are sent along with certificates that name a responder
	StapleFolder string        // where answers are kept for the next start; empty: nowhere
	Counts       *Counts       // where to count, across sets and reloads; nil: nowhere
}

// Counts are of what is done beside handshakes.
type Counts struct {
	ACME acme.Counts
	OCSP ocsp.Counts
}

// Source says where certificates come from: exactly one of these.
type Source struct {
	CertFile, KeyFile string        // PEM (RFC 7468), the chain in CertFile, leaf first; KeyFile may be empty if CertFile holds the key too
	Dir               string        // every NAME.crt or NAME.pem with NAME.key beside it, and every NAME.pem that holds both
	SelfSigned        []string      // hosts, names and addresses, of a certificate for development that is made at start
	ACME              *acme.Options // certificates that are ordered: those that are not there yet do not keep a set from being used
}

// problems are those that can be seen without opening a file.
func (o Options) problems() []Problem {
	var list []Problem
	wrong := func(source int, format string, args ...any) {
		list = append(list, Problem{Source: source, Err: fmt.Errorf(format, args...)})
	}
	if o.Preset > Modern {
		wrong(noSource, "there is no preset %v", o.Preset)
	} else if err := o.Preset.allows(o.MinVersion); err != nil {
		wrong(noSource, "%w", err)
	}
	for i, protocol := range o.ALPN {
		switch {
		case protocol == "" || len(protocol) > 255: // RFC 7301 section 3.1
			wrong(noSource, "the ALPN protocol %q is empty or longer than 255 bytes", protocol)
		case slices.Contains(o.ALPN[:i], protocol):
			wrong(noSource, "the ALPN protocol %q is listed twice", protocol)
		}
	}
	if len(o.Certificates) == 0 {
		wrong(noSource, "there is no certificate")
	}
	for i, s := range o.Certificates {
		if err := s.valid(); err != nil {
			wrong(i, "%w", err)
		}
	}
	if o.Tickets != nil {
		list = append(list, o.Tickets.problems()...)
	}
	list = append(list, clientCertsProblems(o.ClientCerts)...)
	if o.ECH != nil {
		list = append(list, o.ECH.problems()...)
	}
	return list
}

func (s Source) valid() error {
	kinds := 0
	for _, is := range []bool{s.CertFile != "" || s.KeyFile != "", s.Dir != "", len(s.SelfSigned) > 0, s.ACME != nil} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		return errors.New("neither a certificate file nor a folder nor hosts of a self-signed certificate nor ACME are named")
	case kinds > 1:
		return errors.New("a certificate file, a folder, a self-signed certificate and ACME exclude each other")
	case s.KeyFile != "" && s.CertFile == "":
		return fmt.Errorf("the key file %s has no certificate file", s.KeyFile)
	case s.ACME != nil:
		return s.ACME.Valid()
	}
	for _, host := range s.SelfSigned {
		if !isHost(host) {
			return fmt.Errorf("%q is neither a host name nor an address: no certificate can be made for it", host)
		}
	}
	return nil
}

// isHost tells addresses and host names (RFC 1123 section 2.1), of which the first label may be a wildcard.
func isHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == "" // a certificate has no room for one
	}
	if len(host) > hostBytesMax {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimPrefix(host, "*."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			switch c := label[i]; {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return false
			}
		}
	}
	return true
}
