package tlsterm

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// revocations are one revocation list (RFC 5280 section 5) whose signature was verified.
type revocations struct {
	issuer                 string
	keyID                  []byte // of the issuer's key; empty: the list does not say
	thisUpdate, nextUpdate time.Time
	serials                map[string]bool // in bytes, the most significant first
}

// expired is nil as long as the list counts.
func (r *revocations) expired(now time.Time) error {
	if now.After(r.nextUpdate) {
		return fmt.Errorf("the revocation list of %s should have been followed by another one at %s", r.issuer,
			r.nextUpdate.Format(time.RFC3339))
	}
	return nil
}

// isFor says whether the list is for what was issued with a certain key, as far as both say: an authority that has changed
// its key keeps its name.
func (r *revocations) isFor(keyID []byte) bool {
	return len(r.keyID) == 0 || len(keyID) == 0 || bytes.Equal(r.keyID, keyID)
}

// issuerKeyID is that of the key that has signed c. A certificate that is signed with its own need not say so (RFC 5280
// section 4.2.1.1).
func issuerKeyID(c *x509.Certificate) []byte {
	if len(c.AuthorityKeyId) == 0 && bytes.Equal(c.RawIssuer, c.RawSubject) {
		return c.SubjectKeyId
	}
	return c.AuthorityKeyId
}

// revoked is not nil if the issuer of c has revoked it, or would have to be asked: then nobody gets in, since who makes a list
// disappear must gain nothing. An authority that has no list revokes nothing.
func (a *authorities) revoked(c *x509.Certificate, now time.Time) error {
	for _, r := range a.revocations[string(c.RawIssuer)] {
		// A list of another key of the same authority may name it as well (RFC 5280 section 6.3.3 compares names alone).
		if r.serials[string(c.SerialNumber.Bytes())] {
			return fmt.Errorf("the certificate %x in the client's chain was revoked by %s", c.SerialNumber, c.Issuer)
		}
		if !r.isFor(issuerKeyID(c)) {
			continue
		}
		if err := r.expired(now); err != nil {
			return err
		}
	}
	return nil
}

// parseRevocations reads one list in DER, or any number in PEM, and verifies them.
func parseRevocations(data []byte, issuers []*x509.Certificate) (map[string][]*revocations, error) {
	lists, err := parseLists(data)
	if err != nil {
		return nil, err
	}
	all := map[string][]*revocations{}
	for i, list := range lists {
		r, err := verifyList(list, issuers)
		if err != nil {
			return nil, fmt.Errorf("revocation list %d, of %s, cannot be used: %w", i+1, list.Issuer, err)
		}
		name := string(list.RawIssuer)
		all[name] = supersede(all[name], r)
	}
	return all, nil
}

// supersede adds a list, or replaces that of the same key: what is newer is complete, and may lack what has expired or was on
// hold only.
func supersede(lists []*revocations, r *revocations) []*revocations {
	for i, other := range lists {
		if bytes.Equal(other.keyID, r.keyID) {
			if r.thisUpdate.After(other.thisUpdate) {
				lists[i] = r
			}
			return lists
		}
	}
	return append(lists, r)
}

func parseLists(data []byte) (lists []*x509.RevocationList, err error) {
	if block, _ := pem.Decode(data); block == nil {
		list, err := x509.ParseRevocationList(data)
		if err != nil {
			return nil, fmt.Errorf("it is neither PEM nor a revocation list in DER: %w", err)
		}
		return []*x509.RevocationList{list}, nil
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "X509 CRL" {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("revocation list %d cannot be parsed: %w", len(lists)+1, err)
		}
		lists = append(lists, list)
	}
	if len(lists) == 0 {
		return nil, errors.New("it holds no revocation list")
	}
	return lists, nil
}

func verifyList(list *x509.RevocationList, issuers []*x509.Certificate) (*revocations, error) {
	// A critical extension makes the list something else: one of changes only, or one for some of the certificates. Its silence
	// on a certificate would not mean that it is good (RFC 5280 section 5.2).
	for _, e := range list.Extensions {
		if e.Critical {
			return nil, fmt.Errorf("it has the critical extension %v: only complete lists are understood", e.Id)
		}
	}
	if list.NextUpdate.IsZero() { // RFC 5280 section 5.1.2.5
		return nil, errors.New("it does not say when the next one is due")
	}
	if err := signed(list, issuers); err != nil {
		return nil, err
	}
	r := &revocations{
		issuer: list.Issuer.String(), keyID: list.AuthorityKeyId, thisUpdate: list.ThisUpdate, nextUpdate: list.NextUpdate,
		serials: make(map[string]bool, len(list.RevokedCertificateEntries)),
	}
	for _, e := range list.RevokedCertificateEntries {
		r.serials[string(e.SerialNumber.Bytes())] = true
	}
	return r, nil
}

// signed is nil if one of the issuers of that name has signed the list.
func signed(list *x509.RevocationList, issuers []*x509.Certificate) error {
	err := errors.New("no authority of that name is trusted: put its certificate into the CA file as well")
	for _, c := range issuers {
		if !bytes.Equal(c.RawSubject, list.RawIssuer) {
			continue
		}
		if wrong := list.CheckSignatureFrom(c); wrong != nil {
			err = fmt.Errorf("its signature is not the authority's: %w", wrong)
			continue
		}
		return nil
	}
	return err
}
