package acme

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// LetsEncrypt is the directory of the authority that is asked by default.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// hostsMax bounds the certificates of one account here: they are ordered one after the other.
const hostsMax = 1000

// Options describe certificates, one for each host, and the account that orders them.
type Options struct {
	Email     string // whom the authority may write to
	Directory string // https URL (RFC 8555 section 7.1.1)
	CAFile    string // PEM, whom to trust as the directory's server; empty: the system's
	KeyID     string // of an external account (RFC 8555 section 7.3.4); empty: none
	MACKey    []byte // of the external account, in base64url; must not be printed
	RSA       bool   // keys of certificates are RSA 2048 and not ECDSA P-256
	Hosts     []string
	Folder    string // where everything is kept
	HTTP01    bool   // the challenges that can be answered, at least one
	TLSALPN01 bool
}

// Valid returns what is wrong with the options.
func (o *Options) Valid() error {
	if a, err := mail.ParseAddress(o.Email); err != nil || a.Address != o.Email || strings.ContainsAny(o.Email, "/\\\x00") {
		return fmt.Errorf("%q is no e-mail address", o.Email)
	}
	u, err := url.Parse(o.Directory)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return errors.New("the directory of an ACME server is an https:// URL (RFC 8555 section 6.1)")
	}
	switch {
	case o.Folder == "":
		return errors.New("there is no folder to keep certificates and the account in")
	case len(filepath.Base(o.dir())) > fileNameMax:
		return errors.New("the URL of the directory is too long")
	case len(o.Hosts) == 0:
		return errors.New("there are no hosts to get certificates for")
	case len(o.Hosts) > hostsMax:
		return fmt.Errorf("there are more than %d hosts", hostsMax)
	case !o.HTTP01 && !o.TLSALPN01:
		return errors.New("no challenge can be answered: neither http-01 nor tls-alpn-01")
	case (o.KeyID == "") != (len(o.MACKey) == 0):
		return errors.New("an external account has a key id and a secret")
	}
	if _, err := base64.RawURLEncoding.DecodeString(o.macKey()); err != nil {
		return errors.New("the secret of the external account is not base64url") // which is not repeated
	}
	for i, host := range o.Hosts {
		if err := validHost(host); err != nil {
			return err
		}
		if slices.ContainsFunc(o.Hosts[:i], func(other string) bool { return strings.EqualFold(other, host) }) {
			return fmt.Errorf("%s is listed twice", host)
		}
	}
	return nil
}

func validHost(host string) error {
	switch {
	case strings.HasPrefix(host, "*."):
		return fmt.Errorf("%s: a wildcard takes a challenge of the DNS, which is not offered: name the hosts, or use files", host)
	case isAddress(host):
		return fmt.Errorf("%s: certificates for addresses are not offered", host)
	case !isName(host) || !strings.Contains(host, "."):
		return fmt.Errorf("%q is no name that a certificate can be ordered for", host)
	}
	return nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// nameBytesMax is the longest name there is (RFC 1035 section 2.3.4, without the encoding).
const nameBytesMax = 253

// isName tells host names (RFC 1123 section 2.1). It lets nothing pass that means something in the name of a file.
func isName(host string) bool {
	if len(host) > nameBytesMax {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
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

// macKey is without padding, which some authorities hand out and others do not.
func (o *Options) macKey() string { return strings.TrimRight(string(o.MACKey), "=") }
