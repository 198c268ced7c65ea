package jwt

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"sluice/proxy/auth/background"
)

// Revoked is a list of tokens and subjects that count no more, in a file that is looked at while it is used. A list that is gone or
// broken leaves the former one in force. All methods are safe for concurrent use.
type Revoked struct {
	path    string
	every   time.Duration
	list    atomic.Pointer[revocations]
	seen    time.Time
	size    int64
	failing atomic.Bool
	work    *background.Work
}

// revocations are what one version of the file says. Immutable.
type revocations struct {
	ids, subjects map[[sha256.Size]byte]struct{}
}

// Bounds of the file.
const (
	revokedBytesMax = 64 << 20
	revokedEvery    = time.Second // how often it is looked at
)

// ReadRevoked reads the list at path. Each line is "jti:" or "sub:" and the SHA-256 of that claim in hexadecimal digits, so that the
// file itself tells nobody who they are; empty lines, and what follows a "#", do not count.
func ReadRevoked(path string) (*Revoked, error) {
	r := &Revoked{path: path, every: revokedEvery, work: background.New()}
	if _, err := r.read(); err != nil {
		return nil, err
	}
	return r, nil
}

// Start begins to look at the file. Only the first call counts.
func (r *Revoked) Start() { r.work.Start(r.run) }

// Stop ends that.
func (r *Revoked) Stop() { r.work.Stop() }

func (r *Revoked) run() {
	for r.work.Sleep(r.every, nil) {
		changed, err := r.read()
		switch {
		case err != nil && !r.failing.Load():
			slog.Error("the list of revoked tokens cannot be read: the former one goes on", "file", r.path, "error", err)
		case changed:
			list := r.list.Load()
			slog.Info("the list of revoked tokens was read", "file", r.path, "tokens", len(list.ids), "subjects", len(list.subjects))
		}
		r.failing.Store(err != nil)
	}
}

// read reads the file if it has changed. A file that is written over has another time or another size; one that is exchanged, too.
func (r *Revoked) read() (changed bool, err error) {
	f, err := os.Open(r.path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if r.list.Load() != nil && !r.failing.Load() && info.ModTime().Equal(r.seen) && info.Size() == r.size {
		return false, nil
	}
	text, err := io.ReadAll(io.LimitReader(f, revokedBytesMax+1))
	if err != nil {
		return false, err
	}
	list, err := parseRevoked(text)
	if err != nil {
		return false, err
	}
	r.list.Store(list)
	r.seen, r.size = info.ModTime(), info.Size()
	return true, nil
}

func parseRevoked(text []byte) (*revocations, error) {
	if len(text) > revokedBytesMax {
		return nil, fmt.Errorf("the list of revoked tokens is longer than %d MiB", revokedBytesMax>>20)
	}
	list := &revocations{map[[sha256.Size]byte]struct{}{}, map[[sha256.Size]byte]struct{}{}}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line, _, _ = bytes.Cut(line, []byte("#"))
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		kind, digits, _ := bytes.Cut(line, []byte(":"))
		var hash [sha256.Size]byte
		if n, err := hex.Decode(hash[:], bytes.TrimSpace(fit(digits))); err != nil || n != sha256.Size {
			return nil, fmt.Errorf("line %d of the list of revoked tokens is not jti: or sub: and 64 hexadecimal digits", number)
		}
		switch string(kind) {
		case "jti":
			list.ids[hash] = struct{}{}
		case "sub":
			list.subjects[hash] = struct{}{}
		default:
			return nil, fmt.Errorf("line %d of the list of revoked tokens begins with neither jti: nor sub:", number)
		}
	}
	return list, nil
}

// fit cuts what cannot be right, so that it decodes into no more than there is room for.
func fit(digits []byte) []byte {
	if digits = bytes.TrimSpace(digits); len(digits) != 2*sha256.Size {
		return nil
	}
	return digits
}

// Failing reports whether the file cannot be read, so that a former list is in force.
func (r *Revoked) Failing() bool { return r.failing.Load() }

func (r *Revoked) current() *revocations {
	if r == nil {
		return nil
	}
	return r.list.Load()
}

// has reports whether a token counts no more.
func (l *revocations) has(e *entry) bool {
	if l == nil {
		return false
	}
	_, id := l.ids[e.id]
	_, subject := l.subjects[e.subject]
	return id && e.hasID || subject && e.hasSubject
}
