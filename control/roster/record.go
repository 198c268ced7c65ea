package roster

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// A member lies in the file as a checksum, of its name and of what follows, and JSON: bbolt has checksums for its two roots alone, and a disk that has flipped a bit in a hash
// would lock a consumer out, or in one of the scopes let it do what it may not.

// recordBytesMax is more than a member can have: 16 keys and passwords, 64 scopes each.
const recordBytesMax = 1 << 20

var table = crc32.MakeTable(crc32.Castagnoli)

func encode(m *Member) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("cannot write a member: %w", err)
	}
	if len(text) > recordBytesMax {
		return nil, fmt.Errorf("a member takes %d bytes, more than %d", len(text), recordBytesMax)
	}
	return append(checksummed(m.Name, text), text...), nil
}

func checksummed(name string, text []byte) []byte {
	return binary.BigEndian.AppendUint32(nil, checksum(name, text))
}

func checksum(name string, text []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(name+"\x00"), table), table, text)
}

// decode reads a member. What it returns holds nothing of data, which is only valid for a transaction.
func decode(name string, data []byte) (*Member, error) {
	if len(data) < 4 || len(data) > 4+recordBytesMax {
		return nil, fmt.Errorf("a record has %d bytes", len(data))
	}
	if checksum(name, data[4:]) != binary.BigEndian.Uint32(data) {
		return nil, errors.New("the checksum of a record is wrong")
	}
	m := new(Member)
	dec := json.NewDecoder(bytes.NewReader(data[4:]))
	dec.DisallowUnknownFields() // a later Sluice has written it, and knows more of who may do what
	if err := dec.Decode(m); err != nil {
		return nil, errors.New("a record is not of this version's form")
	}
	for i := range m.Keys {
		if len(m.Keys[i].Sum) != sha256.Size {
			return nil, errors.New("a key has no hash")
		}
	}
	for i := range m.Passwords {
		if !m.Passwords[i].isHashed() {
			return nil, errors.New("a password has no hash")
		}
	}
	m.Name = name
	return m, nil
}

// isHashed reports whether there is one hash, which can be computed.
func (p *Password) isHashed() bool {
	if p.Argon2 == nil {
		return len(p.Sum) == sha256.Size
	}
	a := p.Argon2
	return len(p.Sum) == 0 && a.Time > 0 && a.Threads > 0 && a.Memory >= 8*uint32(a.Threads) && a.Memory <= memoryMax && a.Time <= timeMax &&
		len(a.Salt) >= 8 && len(a.Sum) >= 16
}

// Bounds of what argon2id may cost, as the configuration has them.
const (
	memoryMax = 256 << 10 // KiB
	timeMax   = 16
)
