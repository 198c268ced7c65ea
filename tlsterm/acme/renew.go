package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// need says what a host needs now.
type need struct {
	why      string            // for the log; empty: nothing
	replaces *x509.Certificate // the certificate that is there, if it is one
}

// needs looks at what is stored. It is asked once more with the lock, when another process may have done the work.
func (m *manager) needs(host string) need {
	leaf, since, err := m.readLeaf(host)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return need{why: "there is none"}
	case err != nil:
		slog.Error("a stored certificate cannot be used", "host", host, "error", err)
		return need{why: "the stored one cannot be used"}
	case leaf.VerifyHostname(host) != nil:
		return need{why: "the stored one is for other names"}
	case m.now().Before(since.Add(min(m.rest, leaf.NotAfter.Sub(leaf.NotBefore)/10))):
		return need{} // whatever the clock here or the authority there says: it would say the same of the next one
	case !m.now().Before(m.renewalOf(leaf)):
		return need{why: "it is time to renew it", replaces: leaf}
	}
	return need{}
}

// rest is how long a new certificate is left alone, unless its whole life is that short.
const rest = time.Hour

// renewalOf is when a certificate is due: when the authority says (RFC 9773), which it does when it is going to revoke one, too,
// and at the latest when a third of its life is left.
func (m *manager) renewalOf(leaf *x509.Certificate) time.Time {
	due := thirdOf(leaf)
	if w, ok := m.windows[serialOf(leaf)]; ok && !w.at.IsZero() && w.at.Before(due) {
		return w.at
	}
	return due
}

// thirdOf is up to a thirtieth of the certificate's life earlier, by its serial number: those that were issued together are not renewed
// together, and processes that share a folder agree.
func thirdOf(leaf *x509.Certificate) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	h := fnv.New32a()
	_, _ = h.Write(leaf.SerialNumber.Bytes()) // it has no error to return
	early := time.Duration(float64(life) / 30 * float64(h.Sum32()) / (1 << 32))
	return leaf.NotAfter.Add(-life/3 - early)
}

// window is what an authority has said about the renewal of a certificate.
type window struct {
	at   time.Time // chosen within the window; zero: it says nothing
	next time.Time // when to ask again
}

// Bounds of how often an authority is asked when to renew, whatever it says itself (RFC 9773 section 4.3.2).
const (
	askMin = time.Hour
	askMax = 24 * time.Hour
)

// asksPerLook spreads the questions of a process that begins with many hosts.
const asksPerLook = 20

// ask asks the authority when to renew the certificate of a host, if it is time to. It is a help, and no more: without an answer, the
// certificate is renewed in time.
func (m *manager) ask(ctx context.Context, host string) {
	leaf, _, err := m.readLeaf(host)
	if err != nil || m.asked >= asksPerLook || m.now().Before(m.askAgain) {
		return // without one, it is going to be ordered
	}
	serial := serialOf(leaf)
	w := m.windows[serial]
	if m.now().Before(w.next) {
		return
	}
	m.asked++
	w.next = m.now().Add(m.askMin)
	ctx, cancel := context.WithTimeout(ctx, responseMax)
	defer cancel()
	info, err := m.renewalInfo(ctx, leaf)
	switch {
	case errors.Is(err, acme.ErrUnsupported):
		w.next = m.now().Add(askMax)
	case err != nil:
		m.askAgain = m.now().Add(m.askMin)
		slog.Debug("the ACME server does not say when to renew", "host", host, "error", err)
		return
	default:
		if !m.now().Before(info.SelectedTime) && !w.at.Equal(info.SelectedTime) {
			slog.Info("the ACME server wants a certificate renewed", "host", host, "explanation", info.ExplanationURL)
		}
		w.at = info.SelectedTime
		if info.RetryAfter != nil {
			w.next = m.now().Add(min(max(time.Until(*info.RetryAfter), m.askMin), askMax))
		}
	}
	m.windows[serial] = w
}

func (m *manager) renewalInfo(ctx context.Context, leaf *x509.Certificate) (info acme.RenewalInfo, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = caught("the ACME server was asked when to renew", p)
		}
	}()
	return m.client.GetRenewalInfo(ctx, leaf)
}

func serialOf(c *x509.Certificate) string { return string(c.AuthorityKeyId) + c.SerialNumber.String() }
