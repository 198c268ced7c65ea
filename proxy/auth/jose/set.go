package jose

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Bounds of a set of keys.
const (
	SetBytesMax = 1 << 20
	keysMax     = 256
	// candidatesMax is how many keys are tried on a token that does not say which one has signed it.
	candidatesMax = 4
)

// Set is what tokens are verified with. Immutable.
type Set struct {
	keys    []*Key
	skipped []string
}

// NewSet returns a set of one key.
func NewSet(k *Key) *Set { return &Set{keys: []*Key{k}} }

// ParseSet reads a JWK Set (RFC 7517 section 5), or a single JWK. Keys that are of no use are left out, as the RFC wants it, and so are
// several of one name: it would not be known which of them a token means. A set without a key that is left is an error.
func ParseSet(text []byte) (*Set, error) {
	if len(text) > SetBytesMax {
		return nil, fmt.Errorf("the set of keys has %d bytes, more than 1 MiB", len(text))
	}
	top, err := parseObject(text)
	if err != nil {
		return nil, fmt.Errorf("the set of keys cannot be read: %w", err)
	}
	var texts []json.RawMessage // not with text in it: what is unmarshalled would be written over that
	switch list := top.Get("keys"); {
	case list != nil && (list.Kind != Array || json.Unmarshal(list.Text, &texts) != nil):
		return nil, errors.New("the set of keys cannot be read: keys is no list")
	case list == nil && top.Get("kty") == nil:
		return nil, errors.New("the set of keys cannot be read: it has no list called keys")
	case list == nil:
		texts = []json.RawMessage{text}
	}
	if len(texts) > keysMax {
		return nil, fmt.Errorf("the set has %d keys, more than %d", len(texts), keysMax)
	}
	s := &Set{}
	for i, text := range texts {
		k, err := parseKey(text)
		if err != nil {
			s.skip(i, err)
			continue
		}
		s.keys = append(s.keys, k)
	}
	s.dropAmbiguous()
	if len(s.keys) == 0 {
		return nil, s.empty()
	}
	return s, nil
}

func (s *Set) skip(i int, err error) {
	s.skipped = append(s.skipped, fmt.Sprintf("key %d is left out: %v", i+1, err))
}

func (s *Set) empty() error {
	if len(s.skipped) == 0 {
		return errors.New("the set has no keys")
	}
	return fmt.Errorf("the set has no key that can be used: %s", s.skipped[0])
}

// dropAmbiguous leaves one of the keys that are the same, and none of those that only have the same name.
func (s *Set) dropAmbiguous() {
	var unique []*Key
	for _, k := range s.keys {
		if !slices.ContainsFunc(unique, func(o *Key) bool { return o.print == k.print }) {
			unique = append(unique, k)
		}
	}
	s.keys = nil
	reported := map[string]bool{}
	for _, k := range unique {
		same := 0
		for _, o := range unique {
			if k.HasID && o.HasID && k.ID == o.ID {
				same++
			}
		}
		switch {
		case same <= 1:
			s.keys = append(s.keys, k)
		case !reported[k.ID]:
			reported[k.ID] = true
			s.skipped = append(s.skipped, fmt.Sprintf("%d keys are left out: all of them have the kid %.40q", same, k.ID))
		}
	}
}

// Skipped says which keys were left out, and why.
func (s *Set) Skipped() []string { return slices.Clone(s.skipped) }

// Len is the number of keys.
func (s *Set) Len() int { return len(s.keys) }

// Same reports whether two sets have the same keys, in whichever order.
func (s *Set) Same(o *Set) bool {
	if s == nil || o == nil || len(s.keys) != len(o.keys) {
		return s == o
	}
	for _, k := range s.keys {
		if !slices.ContainsFunc(o.keys, func(other *Key) bool { return other.print == k.print }) {
			return false
		}
	}
	return true
}

// Find returns the keys that may have signed a token: the one that it names, or, when it names none, those that are for its algorithm.
// A key that has no name itself may have any.
func (s *Set) Find(t *Token) []*Key {
	var found []*Key
	for _, k := range s.keys {
		if t.HasKeyID && k.HasID && k.ID == t.KeyID {
			return []*Key{k}
		}
		if (!t.HasKeyID || !k.HasID) && k.Admits(t.Algorithm) {
			found = append(found, k)
		}
	}
	if len(found) > candidatesMax {
		return nil
	}
	return found
}
