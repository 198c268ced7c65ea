package ocsp

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Subject is a certificate that names a responder, and the one that has issued it.
type Subject struct {
	Leaf, Issuer *x509.Certificate
	ID           string // of the certificate, no other has the same; it may be the name of a file
}

// Responder returns where to ask about a certificate, or "". It may be anywhere that the certificate says, by HTTP.
func Responder(leaf *x509.Certificate) string {
	for _, address := range leaf.OCSPServer {
		if u, err := url.Parse(address); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
			return address
		}
	}
	return ""
}

// featureExtension lists the extensions that a client may insist on (RFC 7633); that of stapling has the number 5.
var featureExtension = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

const stapling = 5

// MustStaple reports whether clients are to refuse a certificate that comes without an answer.
func MustStaple(leaf *x509.Certificate) bool {
	for _, e := range leaf.Extensions {
		var features []int
		if e.Id.Equal(featureExtension) {
			_, err := asn1.Unmarshal(e.Value, &features)
			return err == nil && slices.Contains(features, stapling)
		}
	}
	return false
}

// answer is what a responder has said of a certificate, verified.
type answer struct {
	raw        []byte
	thisUpdate time.Time
	nextUpdate time.Time
	revokedAt  time.Time // zero: the certificate is good
}

// skew is how much later than here it may be at a responder.
const skew = 5 * time.Minute

// verify believes an answer, or says why not. Good and revoked are answers; that a responder does not know is none.
func verify(raw []byte, s Subject, now time.Time) (answer, error) {
	// It has checked that the issuer has signed this, or a certificate that came along and that the issuer has signed.
	r, err := ocsp.ParseResponseForCert(raw, s.Leaf, s.Issuer)
	if err != nil {
		return answer{}, err
	}
	if err := appointed(r.Certificate, s.Issuer, now); err != nil {
		return answer{}, err
	}
	switch {
	case r.ThisUpdate.After(now.Add(skew)):
		return answer{}, fmt.Errorf("the answer is of %s, which is to come", r.ThisUpdate.Format(time.RFC3339))
	case r.NextUpdate.IsZero():
		return answer{}, errors.New("the answer does not say how long it holds")
	case !now.Before(r.NextUpdate):
		return answer{}, fmt.Errorf("the answer has ended at %s", r.NextUpdate.Format(time.RFC3339))
	case !r.ThisUpdate.Before(r.NextUpdate):
		return answer{}, errors.New("the answer ends before it begins")
	}
	a := answer{raw: raw, thisUpdate: r.ThisUpdate, nextUpdate: r.NextUpdate}
	switch r.Status {
	case ocsp.Good:
	case ocsp.Revoked:
		if a.revokedAt = r.RevokedAt; a.revokedAt.IsZero() {
			a.revokedAt = r.ThisUpdate
		}
	default:
		return answer{}, errors.New("the responder does not know the certificate")
	}
	return a, nil
}

// appointed says why a certificate that came with an answer does not make a responder of whoever has its key: else everybody for whom the
// issuer has ever issued a certificate could say that another one is good.
func appointed(c, issuer *x509.Certificate, now time.Time) error {
	switch {
	case c == nil || c.Equal(issuer): // the issuer itself
		return nil
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("whoever has signed the answer is not appointed to (RFC 6960 section 4.2.2.2)")
	case now.After(c.NotAfter) || now.Before(c.NotBefore):
		return errors.New("the certificate of the responder is not valid now")
	}
	return nil
}
