package jose

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// Kind is what a value of JSON is.
type Kind uint8

// The kinds.
const (
	String Kind = iota
	Number
	Bool
	Array
	Object
)

// Value is one value inside an object. One that lies in another object has a path with a dot in it.
type Value struct {
	Path string
	Kind Kind
	Text []byte // the content of a string, the JSON text of anything else
}

// Values are what an object holds, those of objects inside it included; null counts as absent.
type Values []Value

// Get returns the value at a path, nil if there is none.
func (v Values) Get(path string) *Value {
	for i := range v {
		if v[i].Path == path {
			return &v[i]
		}
	}
	return nil
}

// Bounds of objects. What is beyond them is an error.
const (
	depthMax  = 8   // objects and arrays in each other
	valuesMax = 512 // of an object, all together
)

// Errors of objects.
var (
	errNotObject = errors.New("it is not an object of JSON")
	errNotUTF8   = errors.New("the JSON is not UTF-8")
	errTwice     = errors.New("a name stands in an object twice")
	errTooDeep   = errors.New("objects lie in each other too deep")
	errTooMany   = errors.New("there are too many values")
)

// ParseObject reads an object that somebody says something about a client in, as strictly as the claims of a token.
func ParseObject(text []byte) (Values, error) { return parseObject(text) }

// parseObject reads an object strictly: one name has one value, and one path, too, so that "a.b" and b inside a are not mistaken for
// each other.
func parseObject(data []byte) (Values, error) {
	switch {
	case !utf8.Valid(data):
		return nil, errNotUTF8
	case !json.Valid(data): // exactly one value, and nothing behind it
		return nil, errNotObject
	}
	w := walker{data: data, decoder: json.NewDecoder(bytes.NewReader(data)), paths: map[string]bool{}}
	w.decoder.UseNumber()
	if token, err := w.decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, errNotObject
	}
	err := w.object("", 1, true)
	return w.values, err
}

type walker struct {
	data    []byte
	decoder *json.Decoder
	values  Values
	paths   map[string]bool
}

// object reads the rest of an object whose brace was read. Of one inside an array nothing is kept: it has no path.
func (w *walker) object(path string, depth int, keep bool) error {
	names := map[string]bool{}
	for w.decoder.More() {
		token, err := w.decoder.Token()
		if err != nil {
			return errNotObject
		}
		name, ok := token.(string)
		if !ok {
			return errNotObject
		}
		switch {
		case names[name]:
			return errTwice
		case strings.ContainsRune(name, utf8.RuneError):
			return errNotUTF8 // half a surrogate pair, of which many become one
		}
		names[name] = true
		if path != "" {
			name = path + "." + name
		}
		if err := w.value(name, depth, keep); err != nil {
			return err
		}
	}
	return w.closed()
}

// value reads the next value. depth is that of what it lies in.
func (w *walker) value(path string, depth int, keep bool) error {
	token, err := w.decoder.Token()
	if err != nil {
		return errNotObject
	}
	start := w.decoder.InputOffset() - 1
	at := len(w.values)
	if keep && token != nil {
		// The place of what is inside comes behind its own.
		if len(w.values) == valuesMax {
			return errTooMany
		}
		if w.paths[path] {
			return errTwice
		}
		w.paths[path] = true
		w.values = append(w.values, Value{Path: path})
	}
	var v Value
	switch t := token.(type) {
	case nil:
		return nil
	case string:
		if strings.ContainsRune(t, utf8.RuneError) {
			return errNotUTF8
		}
		v = Value{Kind: String, Text: []byte(t)}
	case json.Number:
		v = Value{Kind: Number, Text: []byte(t)}
	case bool:
		v = Value{Kind: Bool, Text: []byte("false")}
		if t {
			v.Text = []byte("true")
		}
	case json.Delim:
		if depth == depthMax {
			return errTooDeep
		}
		if t == '{' {
			v.Kind, err = Object, w.object(path, depth+1, keep)
		} else {
			v.Kind, err = Array, w.array(path, depth+1)
		}
		if err != nil {
			return err
		}
		v.Text = w.data[start:w.decoder.InputOffset():w.decoder.InputOffset()]
	}
	if keep {
		v.Path = path
		w.values[at] = v
	}
	return nil
}

func (w *walker) array(path string, depth int) error {
	for w.decoder.More() {
		if err := w.value(path, depth, false); err != nil {
			return err
		}
	}
	return w.closed()
}

// closed reads the end of an object or array.
func (w *walker) closed() error {
	if _, err := w.decoder.Token(); err != nil {
		return errNotObject
	}
	return nil
}

// List returns the elements of an array, or else the value itself: claims such as aud are one or several (RFC 7519 section 4.1.3).
func (v *Value) List() Values {
	switch {
	case v == nil:
		return nil
	case v.Kind == Array:
		return v.Elements()
	}
	return Values{*v}
}

// HasString reports whether one of the values is one of these strings.
func (v Values) HasString(texts ...string) bool {
	return slices.ContainsFunc(v, func(one Value) bool { return one.Kind == String && slices.Contains(texts, string(one.Text)) })
}

// Elements returns what an array holds, nil for anything else. Of objects and arrays inside it only the text counts.
func (v *Value) Elements() Values {
	if v == nil || v.Kind != Array {
		return nil
	}
	var texts []json.RawMessage
	if json.Unmarshal(v.Text, &texts) != nil {
		panic("BUG: an array that was read cannot be read")
	}
	elements := make(Values, 0, len(texts))
	for _, text := range texts {
		e := Value{Text: text}
		switch text[0] {
		case '"':
			var s string
			if json.Unmarshal(text, &s) != nil {
				panic("BUG: a string that was read cannot be read")
			}
			e.Text = []byte(s)
		case '{':
			e.Kind = Object
		case '[':
			e.Kind = Array
		case 't', 'f':
			e.Kind = Bool
		case 'n':
			continue
		default:
			e.Kind = Number
		}
		elements = append(elements, e)
	}
	return elements
}
