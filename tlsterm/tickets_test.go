package tlsterm

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

const secret = "0123456789abcdef-a-secret-of-tests"

// hosts are two Terminators that share nothing but options, each with a clock of its own.
type hosts struct {
	*authority
	clocks [2]*clock
	each   [2]*Terminator
}

func newHosts(t *testing.T, one, two *Tickets) *hosts {
	t.Helper()
	h := &hosts{authority: newAuthority(t, "ca")}
	dir := t.TempDir()
	from := put(t, dir, "a", h.issue(t, order{names: "a.test"}))
	for i, tickets := range []*Tickets{one, two} {
		h.clocks[i] = newClock(epoch)
		h.each[i] = openAt(t, h.clocks[i], Options{Certificates: []Source{from}, Tickets: tickets})
	}
	return h
}

// client is one that keeps a session.
func (h *hosts) client(version uint16) *tls.Config {
	return trusting(h.authority, h.clocks[0], "a.test",
		&tls.Config{MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)})
}

// resumes says whether a client that was served by the first config resumes with the second one.
func (h *hosts) resumes(t *testing.T, client, first, second *tls.Config, meanwhile func()) bool {
	t.Helper()
	if s := shake(first, client); s.err() != nil || s.server.DidResume {
		t.Fatalf("the first handshake: resumed %v (%v)", s.server.DidResume, s.err())
	}
	meanwhile()
	s := shake(second, client)
	if s.err() != nil || s.server.DidResume != s.client.DidResume {
		t.Fatalf("the second handshake: %v, %v (%v)", s.server.DidResume, s.client.DidResume, s.err())
	}
	return s.server.DidResume
}

func TestResumption(t *testing.T) {
	f := func(one, two *Tickets, want bool) {
		t.Helper()
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			h := newHosts(t, one, two)
			if got := h.resumes(t, h.client(version), h.each[0].Config(), h.each[1].Config(), func() {}); got != want {
				t.Errorf("%s: resumed at the other host: %v, want %v", tls.VersionName(version), got, want)
			}
			if !h.resumes(t, h.client(version), h.each[0].Config(), h.each[0].Config(), func() {}) {
				t.Errorf("%s: not resumed at the same host", tls.VersionName(version))
			}
		}
	}
	f(&Tickets{Secret: []byte(secret)}, &Tickets{Secret: []byte(secret)}, true)
	f(&Tickets{Secret: []byte(secret)}, &Tickets{Secret: []byte(secret), Rotate: 12 * time.Hour}, true)
	f(&Tickets{Secret: []byte(secret)}, &Tickets{Secret: []byte(secret), Rotate: time.Hour}, false)
	f(&Tickets{Secret: []byte(secret)}, &Tickets{Secret: []byte(secret + "x")}, false)
	f(&Tickets{Secret: []byte(secret)}, nil, false)
	f(nil, nil, false)
}

// TestResumptionInTime: the clocks of two hosts, when the second handshake is made.
func TestResumptionInTime(t *testing.T) {
	const day = 24 * time.Hour
	f := func(tickets *Tickets, passes, ahead time.Duration, want bool) {
		t.Helper()
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			h := newHosts(t, tickets, tickets)
			h.clocks[1].advance(ahead)
			got := h.resumes(t, h.client(version), h.each[0].Config(), h.each[1].Config(), func() {
				h.clocks[0].advance(passes)
				h.clocks[1].advance(passes)
			})
			if got != want {
				t.Errorf("%s: after %v at a host that is %v ahead: %v, want %v", tls.VersionName(version), passes, ahead, got, want)
			}
		}
	}
	half := &Tickets{Secret: []byte(secret)}

	// Rotation: earlier keys decrypt as long as the ticket lives.
	f(half, 0, 0, true)
	f(half, 6*time.Hour, 0, true)
	f(half, 12*time.Hour, 0, true)
	f(half, day, 0, true)
	f(half, day+12*time.Hour+time.Minute, 0, false)

	// Clocks that differ: a host that is behind knows the next key, and no other.
	f(half, 0, 7*time.Hour, true)
	f(half, 0, -7*time.Hour, true)
	f(half, 0, -18*time.Hour, true)
	f(half, 0, -19*time.Hour, false)

	// With many rotations in the life of a ticket, their number is bounded.
	short := &Tickets{Secret: []byte(secret), Rotate: time.Minute}
	f(short, (keysMax-2)*time.Minute, 0, true)
	f(short, (keysMax-1)*time.Minute, 0, false)
	long := &Tickets{Secret: []byte(secret), Rotate: 30 * day}
	f(long, 6*day, 0, true)
	f(long, 8*day, 0, false)
}

// TestClones: most servers clone the config that they are given. A clone follows the rotation, and has no keys of its own.
func TestClones(t *testing.T) {
	for _, tickets := range []*Tickets{{Secret: []byte(secret)}, nil} {
		h := newHosts(t, tickets, tickets)
		clone := h.each[0].Config().Clone()
		h.clocks[0].advance(20 * 24 * time.Hour)
		h.clocks[1].advance(20 * 24 * time.Hour)
		if !h.resumes(t, h.client(0), clone, h.each[0].Config(), func() {}) {
			t.Errorf("%v: not resumed from a clone", tickets)
		}
		if !h.resumes(t, h.client(0), h.each[0].Config(), clone, func() {}) {
			t.Errorf("%v: not resumed at a clone", tickets)
		}
		if got, want := h.resumes(t, h.client(0), clone, h.each[1].Config(), func() {}), tickets != nil; got != want {
			t.Errorf("%v: resumed at another host: %v, want %v", tickets, got, want)
		}
	}
}

// TestKeys compares with the definition, as another program would have it.
func TestKeys(t *testing.T) {
	at := newClock(epoch)
	k, err := newTickets(&Tickets{Secret: []byte(secret)}, at.now)
	if err != nil {
		t.Fatal(err)
	}
	f := func(period int64) {
		t.Helper()
		info := []byte("sluice session ticket key")
		info = binary.BigEndian.AppendUint64(info, uint64(12*time.Hour))
		info = binary.BigEndian.AppendUint64(info, uint64(period))
		want, err := hkdf.Key(sha256.New, []byte(secret), nil, string(info), 32)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.key(period)
		if err != nil || !bytes.Equal(got[:], want) {
			t.Errorf("period %d: %x, want %x (%v)", period, got, want, err)
		}
	}
	f(epoch.Unix() / (12 * 3600))
	f(epoch.Unix()/(12*3600) + 1)
	if got, want := k.period.Load(), epoch.Unix()/(12*3600); got != want {
		t.Errorf("period %d, want %d", got, want)
	}
	if got := fmt.Sprint(k.periods(100, 3)); got != "[100 99 98 97 101]" {
		t.Errorf("the keys are those of %s: the first one encrypts", got)
	}
	at.advance(12 * time.Hour)
	k.turn()
	if got, want := k.period.Load(), epoch.Unix()/(12*3600)+1; got != want {
		t.Errorf("period %d, want %d", got, want)
	}
}

// TestTurnAtOnce: many handshakes find at the same time that the period is over.
func TestTurnAtOnce(t *testing.T) {
	h := newHosts(t, &Tickets{Secret: []byte(secret), Rotate: time.Minute}, nil)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			client := h.client(tls.VersionTLS13)
			for i := range 20 {
				if s := shake(h.each[0].Config(), client); s.err() != nil || s.server.DidResume != (i > 0) {
					t.Errorf("handshake %d: resumed %v (%v)", i, s.server.DidResume, s.err())
				}
				h.clocks[0].advance(7 * time.Second)
			}
		})
	}
	work.Wait()
}

// TestSecrets: neither the secret nor a key is in anything that is printed, encoded or logged.
func TestSecrets(t *testing.T) {
	logs := logging(t)
	h := newHosts(t, &Tickets{Secret: []byte(secret)}, nil)
	key, err := h.each[0].tickets.key(h.each[0].tickets.current())
	if err != nil {
		t.Fatal(err)
	}
	prk, err := hkdf.Extract(sha256.New, []byte(secret), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := func(what, text string) {
		t.Helper()
		for _, hidden := range [][]byte{[]byte(secret), key[:], prk, []byte(secret[:12])} {
			for _, form := range []string{
				string(hidden), hex.EncodeToString(hidden), base64.StdEncoding.EncodeToString(hidden),
				strings.Trim(fmt.Sprint(hidden), "[]"), fmt.Sprintf("%#v", hidden),
			} {
				if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
					t.Errorf("%s shows a secret: %s", what, text)
				}
			}
		}
	}
	o := Options{Name: "web", Tickets: &Tickets{Secret: []byte(secret)}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		f(verb, fmt.Sprintf(verb, *o.Tickets))
		f(verb, fmt.Sprintf(verb, o.Tickets))
		f(verb, fmt.Sprintf(verb, o))
		f(verb, fmt.Sprintf(verb, h.each[0]))
	}
	for _, value := range []any{o, o.Tickets, *o.Tickets} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		f("JSON", string(text))
		slog.New(slog.NewJSONHandler(logs, nil)).Info("x", "value", value)
		slog.New(slog.NewTextHandler(logs, nil)).Info("x", "value", value)
	}
	_, err = Open(Options{Tickets: &Tickets{Secret: []byte(secret[:12])}, Certificates: []Source{{SelfSigned: []string{"a.test"}}}})
	if !strings.Contains(fmt.Sprint(err), "the secret of the session tickets is too short: it has 12 bytes, and 16 are needed") {
		t.Errorf("a secret of 12 bytes: %v", err)
	}
	f("the error", fmt.Sprint(err))
	f("the problems", fmt.Sprint(Check(Options{Tickets: &Tickets{Secret: []byte(secret[:12])}})))
	f("the log", strings.Join(logs.take(), "\n"))
}
