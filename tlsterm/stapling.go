package tlsterm

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"

	"sluice/tlsterm/ocsp"
)

// subjectOf is what an OCSP responder is asked about; nil if the certificate names none, or if it is not known who has issued it: then
// nobody could tell whether an answer is to be believed.
func subjectOf(chain []*x509.Certificate) *ocsp.Subject {
	leaf := chain[0]
	if ocsp.Responder(leaf) == "" {
		return nil
	}
	for _, issuer := range chain[1:] {
		if string(issuer.RawSubject) == string(leaf.RawIssuer) && leaf.CheckSignatureFrom(issuer) == nil {
			id := sha256.Sum256(leaf.Raw)
			return &ocsp.Subject{Leaf: leaf, Issuer: issuer, ID: hex.EncodeToString(id[:])}
		}
	}
	return nil
}

// stapled returns the pair with the answer that there is for it. The pair itself is never changed: handshakes use it.
func (s *store) stapled(p *pair) *pair {
	if s.stapler == nil || p.subject == nil {
		return p
	}
	with := *p
	with.info.Responder = ocsp.Responder(p.Leaf)
	with.Certificate.OCSPStaple, with.info.StapledUntil = s.stapler.Staple(p.subject.ID)
	return &with
}

// subjects are the certificates in force that name a responder.
func (s *store) subjects() []ocsp.Subject {
	var list []ocsp.Subject
	seen := map[string]bool{}
	for _, from := range s.sources {
		for _, e := range from.entries {
			if e.inForce() && e.value.subject != nil && !seen[e.value.subject.ID] {
				seen[e.value.subject.ID] = true
				list = append(list, *e.value.subject)
			}
		}
	}
	return list
}

// staple begins to ask for answers that are due, and publishes those that have come.
func (s *store) staple(ctx context.Context) {
	if s.stapler != nil && s.stapler.Follow(ctx, s.subjects()) {
		s.publish()
	}
}
