package expression

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"reflect"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// source is where the entries of a map of text come from.
type source struct {
	// find returns the value of a name, or an error of CEL, or nil if there is none.
	find func(x *proxy.Exchange, name string) ref.Val
	// names returns all names, some of them perhaps more than once.
	names func(x *proxy.Exchange) []string
}

// headers are the request fields by their names in lower case; several of one name are joined as one (RFC 9110 section 5.3).
var headers = &source{
	find: func(x *proxy.Exchange, name string) ref.Val {
		if name == "host" {
			v, there := x.Header(name)
			if !there {
				return nil
			}
			return lent(v)
		}
		var first []byte
		n := 0
		for v := range x.Request.Head.Values(name) {
			if n++; n == 1 {
				first = v
			}
		}
		switch {
		case n == 0:
			return nil
		case n == 1:
			return lent(first)
		}
		separator := comma
		if name == "cookie" {
			separator = semicolon
		}
		var all [][]byte
		for v := range x.Request.Head.Values(name) {
			all = append(all, v)
		}
		return types.String(join(all, separator))
	},
	names: func(x *proxy.Exchange) (names []string) {
		for name := range x.Request.Head.All() {
			names = append(names, strings.ToLower(string(name)))
		}
		return names
	},
}

// query are the parameters of the query, decoded. One that is there more than once has no value: servers disagree about which one counts, and
// whoever asks for it would not know what the service takes it for. The same holds where a semicolon may have ended a parameter, or not.
var query = &source{
	find: func(x *proxy.Exchange, name string) ref.Val {
		n := 0
		for key, sure := range parameters(x.Request.Query) {
			if proxy.UnescapesTo(key, name) {
				if n++; !sure {
					return errUnsure
				}
			}
		}
		if n > 1 {
			return errTwice
		}
		if n == 0 {
			return nil
		}
		v, _ := x.Query(name)
		return lent(v)
	},
	names: func(x *proxy.Exchange) (names []string) {
		for key := range parameters(x.Request.Query) {
			names = append(names, string(proxy.AppendUnescaped(nil, key)))
		}
		return names
	},
}

// parameters yields the names of all that some server may take for a parameter, and whether all servers do: to some of them a semicolon ends one, to
// others it is a part of it, or makes it none.
func parameters(query []byte) iter.Seq2[[]byte, bool] {
	return func(yield func([]byte, bool) bool) {
		for pair := range bytes.SplitSeq(query, ampersand) {
			key, _, _ := bytes.Cut(pair, equals)
			sure := bytes.IndexByte(pair, ';') < 0
			if len(pair) > 0 && !yield(key, sure) {
				return
			}
			if sure {
				continue
			}
			for part := range bytes.SplitSeq(pair, semicolon[:1]) {
				if key, _, _ := bytes.Cut(part, equals); len(part) > 0 && !yield(key, false) {
					return
				}
			}
		}
	}
}

// cookies are those of the request; of one that is there more than once the same holds.
var cookies = &source{
	find: func(x *proxy.Exchange, name string) ref.Val {
		n := 0
		for range x.CookiePairs(name) {
			n++
		}
		v, there := x.Cookie(name)
		switch {
		case n == 0:
			return nil
		case n > 1 || !there:
			return errTwice
		}
		return lent(v)
	},
	names: func(x *proxy.Exchange) (names []string) {
		for field := range x.Request.Head.ValuesKnown(wire.Cookie) {
			for pair := range bytes.SplitSeq(field, semicolon[:1]) {
				if key, _, found := bytes.Cut(bytes.Trim(pair, " \t"), equals); found {
					names = append(names, string(bytes.TrimRight(key, " \t")))
				}
			}
		}
		return names
	},
}

// params are the parameters of the path, as they stand in it.
var params = &source{
	find: func(x *proxy.Exchange, name string) ref.Val {
		i, there := x.Route.Pattern.Param(name)
		if !there {
			return nil
		}
		return lent(x.Match.Value(x.MatchedPath, i))
	},
	names: func(x *proxy.Exchange) []string { return x.Route.Pattern.Params() },
}

// lookup is a map of text that is looked up in an exchange.
type lookup struct {
	of *values
	*source
}

// Find implements traits.Mapper.
func (l *lookup) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(key), false
	}
	v := l.find(l.of.x, string(name))
	return v, v != nil && !types.IsError(v)
}

// Get implements traits.Indexer.
func (l *lookup) Get(key ref.Val) ref.Val {
	if v, _ := l.Find(key); v != nil {
		return v
	}
	return errNoKey
}

// Contains implements traits.Container. What is there more than once is there, and what is a parameter only to some.
func (l *lookup) Contains(key ref.Val) ref.Val {
	v, _ := l.Find(key)
	if v != nil && v != errTwice && v != errUnsure && types.IsError(v) {
		return v
	}
	return types.Bool(v != nil)
}

func (l *lookup) distinct() []string {
	var names []string
	seen := make(map[string]bool)
	for _, name := range l.names(l.of.x) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// Iterator implements traits.Iterable.
func (l *lookup) Iterator() traits.Iterator { return iteratorOf(l.distinct()) }

// Size implements traits.Sizer.
func (l *lookup) Size() ref.Val { return types.Int(len(l.distinct())) }

func (l *lookup) ConvertToNative(reflect.Type) (any, error) { return nil, errConversion }
func (l *lookup) ConvertToType(t ref.Type) ref.Val          { return convert(t) }
func (l *lookup) Equal(other ref.Val) ref.Val               { return types.MaybeNoSuchOverloadErr(other) }
func (l *lookup) Type() ref.Type                            { return types.MapType }
func (l *lookup) Value() any                                { return l }

// claims is what was proven about the client. A claim inside another can be asked for in both ways: claims.a.b and claims["a.b"].
type claims struct{ of *values }

// Find implements traits.Mapper.
func (c *claims) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(key), false
	}
	claim, there := c.of.x.Identity.Look(string(name))
	switch {
	case !there:
		return nil, false
	case !claim.JSON:
		return lent(claim.Value), true
	}
	v := valueOf(claim.Value)
	return v, !types.IsError(v)
}

// Get implements traits.Indexer.
func (c *claims) Get(key ref.Val) ref.Val {
	if v, _ := c.Find(key); v != nil {
		return v
	}
	return errNoKey
}

// Contains implements traits.Container.
func (c *claims) Contains(key ref.Val) ref.Val {
	v, there := c.Find(key)
	if v != nil && types.IsError(v) {
		return v
	}
	return types.Bool(there)
}

func (c *claims) paths() []string { return c.of.x.Identity.Paths() }

// Iterator implements traits.Iterable.
func (c *claims) Iterator() traits.Iterator { return iteratorOf(c.paths()) }

// Size implements traits.Sizer.
func (c *claims) Size() ref.Val { return types.Int(len(c.paths())) }

func (c *claims) ConvertToNative(reflect.Type) (any, error) { return nil, errConversion }
func (c *claims) ConvertToType(t ref.Type) ref.Val          { return convert(t) }
func (c *claims) Equal(other ref.Val) ref.Val               { return types.MaybeNoSuchOverloadErr(other) }
func (c *claims) Type() ref.Type                            { return types.MapType }
func (c *claims) Value() any                                { return c }

var errConversion = errors.New("it is not to be converted")

func convert(t ref.Type) ref.Val {
	if t == types.TypeType {
		return types.MapType
	}
	return types.WrapErr(errConversion)
}

func iteratorOf(names []string) traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, names).Iterator()
}

// valueOf is a value of JSON as one of CEL. Whole numbers are int, if they are not too large for that.
func valueOf(text []byte) ref.Val {
	if !json.Valid(text) {
		return errNotJSON
	}
	if text = bytes.TrimSpace(text); text[0] == '[' {
		return &list{text: text}
	}
	return parsed(text)
}

var errNotJSON = types.NewErrFromString("the claim is not JSON")

// parsed is valueOf for what is JSON.
func parsed(text []byte) ref.Val {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return errNotJSON
	}
	return types.DefaultTypeAdapter.NativeToValue(numbered(v))
}

// numbered replaces the numbers in v.
func numbered(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil {
			return types.NewErrFromString("the number is too large")
		}
		return f
	case []any:
		for i := range v {
			v[i] = numbered(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = numbered(v[name])
		}
	}
	return v
}
