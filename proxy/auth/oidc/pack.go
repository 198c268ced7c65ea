package oidc

import (
	"encoding/binary"
	"errors"
)

// packer writes what is sealed, and unpacker reads it: fields one after the other, of fixed size or with their length in front.
type packer struct{ out []byte }

func (p *packer) fixed(b []byte) { p.out = append(p.out, b...) }
func (p *packer) number(n int64) { p.out = binary.BigEndian.AppendUint64(p.out, uint64(n)) }
func (p *packer) text(s string) {
	p.out = append(binary.BigEndian.AppendUint16(p.out, uint16(len(s))), s...)
}
func (p *packer) version(of uint8) { p.out = append(p.out, of) }

var errPacked = errors.New("what was sealed is of another version")

type unpacker struct {
	in     []byte
	failed bool
}

func (u *unpacker) take(n int) []byte {
	if u.failed || len(u.in) < n {
		u.failed = true
		return make([]byte, min(n, 64))
	}
	taken := u.in[:n]
	u.in = u.in[n:]
	return taken
}

func (u *unpacker) version(of uint8) { u.failed = u.take(1)[0] != of || u.failed }
func (u *unpacker) fixed(into []byte) {
	copy(into, u.take(len(into)))
}
func (u *unpacker) number() int64 { return int64(binary.BigEndian.Uint64(u.take(8))) }
func (u *unpacker) text() string {
	n := int(binary.BigEndian.Uint16(u.take(2)))
	if u.failed {
		return ""
	}
	return string(u.take(n))
}

// end wants that everything was read.
func (u *unpacker) end() error {
	if u.failed || len(u.in) > 0 {
		return errPacked
	}
	return nil
}
