package expression

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"sluice/proxy"
)

const pathParams = "request.params"

// variable is something that an expression may ask for.
type variable struct {
	name string
	kind *cel.Type
	// of returns what it is for an exchange. Text may lie in memory of the exchange: an evaluation is over before that is.
	of func(v *values) ref.Val
}

var strings_ = cel.MapType(cel.StringType, cel.StringType)

var variables = []variable{
	{"request.method", cel.StringType, func(v *values) ref.Val { return types.String(v.x.Request.Method) }},
	{"request.scheme", cel.StringType, func(v *values) ref.Val { return types.String(v.x.Request.Scheme) }},
	{"request.host", cel.StringType, func(v *values) ref.Val { return lent(v.x.Lookup.Host) }},
	{"request.path", cel.StringType, func(v *values) ref.Val { return lent(v.x.Request.Path) }},
	{"request.headers", strings_, func(v *values) ref.Val { return &v.headers }},
	{"request.query", strings_, func(v *values) ref.Val { return &v.query }},
	{"request.cookies", strings_, func(v *values) ref.Val { return &v.cookies }},
	{pathParams, strings_, func(v *values) ref.Val { return &v.params }},
	{"client.ip", cel.StringType, func(v *values) ref.Val { return lent(v.x.Client.Text) }},
	{"client.country", cel.StringType, func(v *values) ref.Val { return types.String(v.x.Country()) }},
	{"client.certificate.shown", cel.BoolType, func(v *values) ref.Val { return types.Bool(v.x.Client.Certificate != nil) }},
	{"client.certificate.subject", cel.StringType, ofCertificate(func(c *proxy.Certificate) ref.Val { return types.String(c.Leaf.Subject.String()) })},
	{"client.certificate.issuer", cel.StringType, ofCertificate(func(c *proxy.Certificate) ref.Val { return types.String(c.Leaf.Issuer.String()) })},
	{"client.certificate.names", cel.ListType(cel.StringType), ofCertificate(func(c *proxy.Certificate) ref.Val {
		return types.NewStringList(types.DefaultTypeAdapter, slices.Concat(c.Names, c.Others))
	})},
	{"client.certificate.spki", cel.StringType, ofCertificate(func(c *proxy.Certificate) ref.Val {
		return types.String(base64.StdEncoding.EncodeToString(c.SPKI[:]))
	})},
	{"claims", cel.MapType(cel.StringType, cel.DynType), ofIdentity(func(v *values) ref.Val { return &v.claims })},
	{"consumer.name", cel.StringType, ofIdentity(func(v *values) ref.Val { return types.String(v.x.Identity.Subject()) })},
	{"consumer.group", cel.StringType, ofIdentity(func(v *values) ref.Val { return types.String(v.x.Identity.Issuer()) })},
	{"consumer.kind", cel.StringType, ofIdentity(func(v *values) ref.Val { return types.String(v.x.Identity.Kind()) })},
	{"consumer.plan", cel.StringType, ofIdentity(func(v *values) ref.Val { return v.textClaim("plan") })},
	{"consumer.scopes", cel.ListType(cel.StringType), ofIdentity((*values).scopes)},
	{"route", cel.StringType, func(v *values) ref.Val { return types.String(v.x.Route.Name) }},
	{"now", cel.TimestampType, func(*values) ref.Val { return types.Timestamp{Time: time.Now()} }},
}

var byName = func() map[string]*variable {
	m := make(map[string]*variable, len(variables))
	for i := range variables {
		m[variables[i].name] = &variables[i]
	}
	return m
}()

func isVariable(name string) bool { return byName[name] != nil }

// Variables are the names of all.
func Variables() []string {
	var names []string
	for _, v := range variables {
		names = append(names, v.name)
	}
	return names
}

// lent makes text of bytes without copying them.
func lent(b []byte) types.String { return types.String(unsafe.String(unsafe.SliceData(b), len(b))) }

func ofCertificate(of func(c *proxy.Certificate) ref.Val) func(v *values) ref.Val {
	return func(v *values) ref.Val {
		if c := v.x.Client.Certificate; c != nil {
			return of(c)
		}
		return errNoCertificate
	}
}

func ofIdentity(of func(v *values) ref.Val) func(v *values) ref.Val {
	return func(v *values) ref.Val {
		if v.x.Identity == nil {
			return errNobody
		}
		return of(v)
	}
}

// What is not there is an error, which refuses the request unless the rest of the expression decides by itself. Nothing of a request stands in it.
var (
	errNoCertificate = types.NewErrFromString("the client has shown no certificate")
	errNobody        = types.NewErrFromString("nobody knows who the client is")
	errNoKey         = types.NewErrFromString("no such key")
	errTwice         = types.NewErrFromString("it is there more than once")
	errUnsure        = types.NewErrFromString("a semicolon beside it may end a parameter, or not")
	errNoAddress     = types.NewErrFromString("it is no address")
)

// values are what an expression may ask of one exchange.
type values struct {
	x                               *proxy.Exchange
	headers, query, cookies, params lookup
	claims                          claims
}

var pool = sync.Pool{New: func() any {
	v := new(values)
	v.headers = lookup{v, headers}
	v.query = lookup{v, query}
	v.cookies = lookup{v, cookies}
	v.params = lookup{v, params}
	v.claims = claims{v}
	return v
}}

// ResolveName implements cel.Activation.
func (v *values) ResolveName(name string) (any, bool) {
	if of := byName[name]; of != nil {
		return of.of(v), true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (*values) Parent() cel.Activation { return nil }

func (v *values) textClaim(name string) ref.Val {
	c, ok := v.x.Identity.Look(name)
	if !ok || c.JSON {
		return errNoKey
	}
	return lent(c.Value)
}

// scopes are the words of the claims scope and scp, whichever there is.
func (v *values) scopes() ref.Val {
	var words []string
	for _, name := range []string{"scope", "scp"} {
		if c, ok := v.x.Identity.Look(name); ok && !c.JSON {
			words = append(words, strings.Fields(string(c.Value))...)
		} else if ok {
			list, isList := valueOf(c.Value).(traits.Lister)
			if !isList {
				return errNoKey
			}
			for i := list.Iterator(); i.HasNext() == types.True; {
				if word, isText := i.Next().(types.String); isText {
					words = append(words, string(word))
				}
			}
		}
	}
	return types.NewStringList(types.DefaultTypeAdapter, words)
}

// inNetwork reports whether an address lies in a network, or in one of several, which were looked at when the expression was compiled.
func inNetwork(address, networks ref.Val) ref.Val {
	text, ok := address.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(address)
	}
	a, err := netip.ParseAddr(string(text))
	if err != nil {
		return errNoAddress
	}
	a = a.Unmap().WithZone("")
	contains := func(network ref.Val) (bool, error) {
		text, _ := network.(types.String)
		p, err := parseNetwork(string(text))
		return err == nil && p.Contains(a), err
	}
	list, several := networks.(traits.Lister)
	if !several {
		in, err := contains(networks)
		if err != nil {
			return types.WrapErr(err)
		}
		return types.Bool(in)
	}
	for i := list.Iterator(); i.HasNext() == types.True; {
		in, err := contains(i.Next())
		if err != nil {
			return types.WrapErr(err)
		}
		if in {
			return types.True
		}
	}
	return types.False
}

var comma, semicolon, ampersand, equals = []byte(", "), []byte("; "), []byte("&"), []byte("=")

func join(list [][]byte, separator []byte) []byte {
	if len(list) == 1 {
		return list[0]
	}
	return bytes.Join(list, separator)
}
