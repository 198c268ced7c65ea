package expression

import (
	"bytes"
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// list is a list of JSON, which is taken apart only if something else is asked than whether a text is in it: that is what nearly all ask of
// roles and groups.
type list struct {
	text   []byte
	parsed traits.Lister
}

// Contains implements traits.Container.
func (l *list) Contains(v ref.Val) ref.Val {
	text, ok := v.(types.String)
	if !ok || bytes.IndexByte(l.text, '\\') >= 0 { // with escapes, two texts may look different and be the same
		return l.whole().Contains(v)
	}
	depth := 0
	for rest := l.text; len(rest) > 0; {
		switch rest[0] {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case '"':
			end := bytes.IndexByte(rest[1:], '"') + 1
			if depth == 1 && string(rest[1:end]) == string(text) {
				return types.True
			}
			rest = rest[end:]
		}
		rest = rest[1:]
	}
	return types.False
}

func (l *list) whole() traits.Lister {
	if l.parsed == nil {
		l.parsed = parsed(l.text).(traits.Lister)
	}
	return l.parsed
}

func (l *list) Add(other ref.Val) ref.Val                   { return l.whole().Add(other) }
func (l *list) Get(index ref.Val) ref.Val                   { return l.whole().Get(index) }
func (l *list) Iterator() traits.Iterator                   { return l.whole().Iterator() }
func (l *list) Size() ref.Val                               { return l.whole().Size() }
func (l *list) ConvertToNative(t reflect.Type) (any, error) { return l.whole().ConvertToNative(t) }
func (l *list) ConvertToType(t ref.Type) ref.Val            { return l.whole().ConvertToType(t) }
func (l *list) Equal(other ref.Val) ref.Val                 { return l.whole().Equal(other) }
func (l *list) Type() ref.Type                              { return types.ListType }
func (l *list) Value() any                                  { return l.whole().Value() }
