package tlsterm

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	secretBytesMin    = 16
	secretBytesWanted = 32
	rotateDefault     = 12 * time.Hour
	rotateMin         = time.Minute
	keyBytes          = 32 // crypto/tls makes one for AES-128 and one for HMAC of them

	// ticketLifetime is how long a session may be resumed, give or take a rotation. The ticket says so, too, where Sluice was built with profiles/overlay;
	// else it says seven days, the most that RFC 8446 section 4.6.1 allows, and is of no use after so long.
	ticketLifetime = 24 * time.Hour
	// keysMax bounds what a ticket that nobody knows costs: one HMAC per key. With a rotation of less than ten minutes, tickets
	// older than so many rotations are not known any more.
	keysMax = 6*24 + 2
)

// Tickets make the keys of session tickets the same on every host that has the same secret and, within Rotate, the same
// time. Printing and encoding them does not show the secret.
type Tickets struct {
	Secret []byte        // 32 bytes of entropy or more; fewer than 16 are an error
	Rotate time.Duration // how long a key encrypts, at least a minute; 0: 12 hours
}

// Format implements fmt.Formatter: no verb shows the secret.
func (t Tickets) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.redacted()) } // f keeps its errors to itself

// MarshalText implements encoding.TextMarshaler, for encoders and slog: the secret is not in it.
func (t Tickets) MarshalText() ([]byte, error) { return []byte(t.redacted()), nil }

func (t Tickets) redacted() string {
	return fmt.Sprintf("tickets with a secret of %d bytes, rotated every %v", len(t.Secret), t.rotation())
}

// Derive returns a key for another purpose, which the label names, that every host with the same secret has. It says nothing about
// the secret, or about keys with other labels.
func (t Tickets) Derive(label string) (key [32]byte, err error) {
	b, err := hkdf.Key(sha256.New, t.Secret, nil, "sluice "+label, len(key))
	if err != nil {
		return key, fmt.Errorf("cannot derive a key from the secret of the session tickets: %w", err)
	}
	copy(key[:], b)
	return key, nil
}

func (t Tickets) rotation() time.Duration {
	if t.Rotate == 0 {
		return rotateDefault
	}
	return t.Rotate
}

func (t Tickets) problems() (list []Problem) {
	if n := len(t.Secret); n < secretBytesMin {
		list = append(list, Problem{Source: noSource,
			Err: fmt.Errorf("the secret of the session tickets is too short: it has %d bytes, and %d are needed", n, secretBytesMin)})
	} else if n < secretBytesWanted {
		list = append(list, Problem{Source: noSource, Warning: true,
			Err: fmt.Errorf("the secret of the session tickets is short: it has %d bytes, and %d random ones are wanted", n,
				secretBytesWanted)})
	}
	if t.Rotate != 0 && t.Rotate < rotateMin {
		list = append(list, Problem{Source: noSource,
			Err: fmt.Errorf("the keys of session tickets cannot rotate every %v, but every %v at most", t.Rotate, rotateMin)})
	}
	return list
}

// tickets encrypt and decrypt session tickets (RFC 5077, RFC 8446 section 4.6.1). Safe for concurrent use.
//
// The keys are those of a config that nobody else has, and what makes handshakes calls wrap and unwrap. crypto/tls would
// take keys from the config itself, but then a clone of it has those of the moment in which it was cloned, for good: one that
// is made per handshake by GetConfigForClient, and the one that nearly every server makes of what it is given. A clone shares
// the two functions instead.
type tickets struct {
	now    func() time.Time
	rotate time.Duration
	// derive is HKDF-Expand of the secret. It is nil if there is none: crypto/tls then makes random keys, a new one every day, and
	// forgets them after seven. That the secret is in a closure and not in a field hides it from %v of whatever holds this, since
	// fmt looks into fields and does not call the methods of those that are not exported.
	derive func(info string) ([]byte, error)
	keys   *tls.Config
	mu     sync.Mutex
	period atomic.Int64 // whose key encrypts
}

func newTickets(o *Tickets, now func() time.Time) (*tickets, error) {
	t := &tickets{now: now, keys: &tls.Config{Time: now}}
	if o == nil {
		return t, nil
	}
	prk, err := hkdf.Extract(sha256.New, o.Secret, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot derive the keys of session tickets: %w", err)
	}
	t.rotate = o.rotation()
	t.derive = func(info string) ([]byte, error) { return hkdf.Expand(sha256.New, prk, info, keyBytes) }
	if _, err := t.key(0); err != nil {
		return nil, fmt.Errorf("cannot derive the keys of session tickets: %w", err)
	}
	t.set(t.current())
	return t, nil
}

// wrap is tls.Config.WrapSession.
func (t *tickets) wrap(cs tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
	t.turn()
	return t.keys.EncryptTicket(cs, s)
}

// unwrap is tls.Config.UnwrapSession. A ticket of somebody else is no error: the handshake is a full one.
func (t *tickets) unwrap(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	t.turn()
	return t.keys.DecryptTicket(ticket, cs)
}

// turn makes the keys those of now. It is asked before each use, so that the clock alone decides, and costs a load then.
func (t *tickets) turn() {
	if t.derive == nil || t.period.Load() == t.current() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.current(); t.period.Load() != now {
		t.set(now)
	}
}

// current is the number of the rotation period: Unix time divided by its length.
func (t *tickets) current() int64 { return t.now().UnixNano() / int64(t.rotate) }

// set makes the key of a period the one that encrypts. The ones before decrypt as long as a ticket of theirs may live, and
// the next one as well: another host's clock may be fast, and this one's slow.
func (t *tickets) set(period int64) {
	earlier := min(int64((ticketLifetime+t.rotate-1)/t.rotate), keysMax-2)
	var keys [][keyBytes]byte
	for _, p := range t.periods(period, earlier) {
		key, err := t.key(p)
		if err != nil {
			panic("BUG: a key that could be derived at start cannot be any more: " + err.Error())
		}
		keys = append(keys, key)
	}
	t.keys.SetSessionTicketKeys(keys)
	t.period.Store(period)
}

// periods are the current one, the earlier ones and the next one.
func (t *tickets) periods(current, earlier int64) []int64 {
	list := make([]int64, 0, earlier+2)
	for p := current; p >= current-earlier; p-- {
		list = append(list, p)
	}
	return append(list, current+1)
}

// key is HKDF-SHA256 (RFC 5869) of the secret for one period. The length of the periods is part of what is derived: the same
// number means another time when the rotation is changed.
func (t *tickets) key(period int64) (key [keyBytes]byte, err error) {
	info := []byte("sluice session ticket key")
	info = binary.BigEndian.AppendUint64(info, uint64(t.rotate))
	info = binary.BigEndian.AppendUint64(info, uint64(period))
	b, err := t.derive(string(info))
	copy(key[:], b)
	return key, err
}
