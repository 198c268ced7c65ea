package config

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
)

// Schema returns the JSON Schema (2020-12) of the configuration, for editors. It is made from the tags that the
// decoder reads. A scalar may always be ${NAME} instead: what a variable holds is checked when it is known.
func Schema() []byte {
	g := schemaWriter{defs: object{}, infos: map[reflect.Type]structInfo{}}
	root := g.structure(reflect.TypeFor[Config]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Sluice configuration"
	// An included file has no version, and the listeners may stand in any file.
	delete(root, "required")
	root["properties"].(object)["version"] = object{"const": 1, "description": "the version of this format: 1"}
	root["$defs"] = g.defs
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("BUG: the schema cannot be written: " + err.Error())
	}
	return append(text, '\n')
}

type object = map[string]any

// formed is a decodable that describes the forms it may be written in.
type formed interface {
	schema(g *schemaWriter, f field) object
}

// schemaWriter turns types into schemas. A struct becomes a definition that others refer to.
type schemaWriter struct {
	defs  object
	infos map[reflect.Type]structInfo
}

func (g *schemaWriter) value(t reflect.Type, f field) object {
	if t.Kind() == reflect.Pointer {
		return g.value(t.Elem(), f)
	}
	if special, ok := reflect.New(t).Interface().(formed); ok {
		return special.schema(g, f)
	}
	switch t.Kind() {
	case reflect.Struct:
		return g.reference(t)
	case reflect.String:
		return words(f)
	case reflect.Int:
		return wholeNumber(f)
	case reflect.Bool:
		return object{"anyOf": []any{object{"type": "boolean"}, substitution}}
	}
	panic("BUG: the schema cannot describe a " + t.String())
}

func (g *schemaWriter) reference(t reflect.Type) object {
	name := t.Name()
	if _, done := g.defs[name]; !done {
		g.defs[name] = object{} // ends recursion
		def := g.structure(t)
		if short, ok := reflect.New(t).Interface().(interface{ shortSchema(*schemaWriter) object }); ok {
			def = object{"anyOf": []any{short.shortSchema(g), def}}
		}
		g.defs[name] = def
	}
	return object{"$ref": "#/$defs/" + name}
}

func (g *schemaWriter) structure(t reflect.Type) object {
	properties := object{}
	var required []string
	for _, f := range g.info(t).fields {
		p := maps.Clone(g.value(t.FieldByIndex(f.index).Type, f))
		if f.doc != "" {
			p["description"] = f.doc
		}
		if f.hasDefault {
			p["default"] = defaultOf(t.FieldByIndex(f.index).Type, f)
		}
		properties[f.key] = p
		if f.required {
			required = append(required, f.key)
		}
	}
	o := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

// defaultOf is the default of a field as the type that its value has in a file.
func defaultOf(t reflect.Type, f field) any {
	switch t.Kind() {
	case reflect.Int:
		return mustInt(f.fallback)
	case reflect.Bool:
		return f.fallback == "true"
	}
	return f.fallback
}

func (g *schemaWriter) info(t reflect.Type) structInfo {
	if _, ok := g.infos[t]; !ok {
		g.infos[t] = readTags(t)
	}
	return g.infos[t]
}

// Schemas of scalars.

// substitution is text with ${...} in it, which may stand for any scalar.
var substitution = object{"type": "string", "pattern": `\$\{`}

// plainText is any text; an unquoted number or truth value is read as the text it was written as.
func plainText() object {
	return object{"type": []string{"string", "number", "boolean"}}
}

func pattern(expression string) object {
	return object{"type": "string", "pattern": expression + `|\$\{`}
}

func words(f field) object {
	if len(f.enum) == 0 {
		return plainText()
	}
	return object{"anyOf": []any{object{"enum": f.enum}, substitution}}
}

func wholeNumber(f field) object {
	number := object{"type": "integer"}
	if f.min != "" {
		number["minimum"] = mustInt(f.min)
	}
	if f.max != "" {
		number["maximum"] = mustInt(f.max)
	}
	if len(f.enum) > 0 {
		numbers := make([]int, len(f.enum))
		for i, word := range f.enum {
			numbers[i] = mustInt(word)
		}
		number["enum"] = numbers
	}
	forms := []any{number, substitution}
	if f.off {
		forms = append(forms, object{"const": "off"})
	}
	return object{"anyOf": forms}
}

// unitPattern allows the word off, where the field does.
func unitPattern(expression string, f field) object {
	if f.off {
		expression = "^off$|" + expression
	}
	return pattern(expression)
}

func (*Duration) schema(_ *schemaWriter, f field) object {
	return unitPattern(`^([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d))+$`, f)
}

func (*Size) schema(_ *schemaWriter, f field) object {
	return object{"anyOf": []any{object{"type": "integer", "minimum": 1}, unitPattern(`^[0-9]+(\.[0-9]+)? ?([KMGT]i?)?B?$`, f)}}
}

func (*Rate) schema(_ *schemaWriter, f field) object {
	text := unitPattern(`^[0-9]+(\.[0-9]+)? ?([KMGT]i?)?B?/s$`, f)
	if f.off {
		return object{"anyOf": []any{object{"const": 0}, text}}
	}
	return text
}

const percentPattern = `^[0-9]+(\.[0-9]+)?%$`

func (*Percent) schema(*schemaWriter, field) object { return pattern(percentPattern) }

func (*Times) schema(*schemaWriter, field) object {
	return pattern(`^[0-9]+/(us|ms|s|m|h|d|([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d))+)$`)
}

func (*Text) schema(_ *schemaWriter, f field) object     { return words(f) }
func (*Template) schema(*schemaWriter, field) object     { return plainText() }
func (*Secret) schema(*schemaWriter, field) object       { return plainText() }
func (*Path) schema(*schemaWriter, field) object         { return plainText() }
func (*Content) schema(*schemaWriter, field) object      { return plainText() }
func (*Networks) schema(*schemaWriter, field) object     { return plainText() }
func (*Target) schema(*schemaWriter, field) object       { return plainText() }
func (*AccessFormat) schema(*schemaWriter, field) object { return object{"type": "string"} }
func (*Prefix) schema(*schemaWriter, field) object       { return pattern(`^[0-9a-fA-F.:]+(/[0-9]+)?$`) }
func (*Address) schema(*schemaWriter, field) object      { return pattern(`^unix:/|:[0-9]+$`) }
func (*ToHTTPS) schema(*schemaWriter, field) object      { return pattern(`^https(:[0-9]+)?$`) }
func (*JSON) schema(*schemaWriter, field) object         { return object{} }

func (*Key) schema(*schemaWriter, field) object {
	return pattern(`^(client|path|(header|cookie|query) .+)$`)
}

func (*Allowance) schema(*schemaWriter, field) object {
	return pattern(`^ *[0-9]+/[0-9a-z.]+( +burst +[0-9]+)?( +per +.+)?$`)
}

func (*QuotaAmount) schema(*schemaWriter, field) object {
	return pattern(`^ *[0-9]+/(d|day|w|week|month)( +per +.+)?$`)
}

func (*Ceiling) schema(*schemaWriter, field) object {
	return object{"anyOf": []any{object{"type": "integer", "minimum": 1}, pattern(`^ *[0-9]+( +per +.+)?$`)}}
}

func (*Predicate) schema(*schemaWriter, field) object {
	o := plainText()
	o["description"] = "a literal, present, absent, prefix X, regex X, or is X"
	return o
}

// Schemas of what has several forms.

func (*Named[T]) schema(g *schemaWriter, f field) object {
	return object{
		"type":                 []string{"object", "null"},
		"propertyNames":        object{"pattern": nameRules[f.names].pattern},
		"additionalProperties": g.value(reflect.TypeFor[T](), field{}),
	}
}

func (*List[T]) schema(g *schemaWriter, f field) object {
	one := g.value(reflect.TypeFor[T](), f)
	return object{"anyOf": []any{one, object{"type": "array", "items": one}}}
}

func (*Origin) schema(g *schemaWriter, _ field) object {
	g.defs["Origin"] = object{"anyOf": []any{pattern(originPattern), g.structure(reflect.TypeFor[originFields]())}}
	return object{"$ref": "#/$defs/Origin"}
}

const originPattern = `^((https?|h2c?|grpcs?|tcp)://|unix:/)`

func (*Use) schema(g *schemaWriter, _ field) object {
	return object{"anyOf": []any{plainText(), g.value(reflect.TypeFor[Policy](), field{})}}
}

func (*Split) schema(*schemaWriter, field) object {
	share := object{"anyOf": []any{object{"type": "integer", "minimum": 0, "maximum": weightMax}, pattern(percentPattern)}}
	return object{"anyOf": []any{
		plainText(),
		object{"type": "object", "minProperties": 1, "additionalProperties": share},
	}}
}

// Schemas of the short forms of structs.

func (*Admin) shortSchema(*schemaWriter) object  { return object{"const": "off"} }
func (*Access) shortSchema(*schemaWriter) object { return object{"const": "off"} }
func (*Profiling) shortSchema(*schemaWriter) object {
	return object{"enum": []string{"on", "off"}}
}
func (*Match) shortSchema(*schemaWriter) object    { return object{"type": "string", "minLength": 1} }
func (*Redirect) shortSchema(*schemaWriter) object { return object{"type": "string", "minLength": 1} }

func (*Service) shortSchema(g *schemaWriter) object {
	return g.value(reflect.TypeFor[List[Origin]](), field{})
}

func (*Certificate) shortSchema(*schemaWriter) object { return object{"const": selfSigned} }
func (*ACME) shortSchema(g *schemaWriter) object      { return g.short(reflect.TypeFor[ACME](), "email") }
func (*ECH) shortSchema(g *schemaWriter) object {
	return g.short(reflect.TypeFor[ECH](), "public_name")
}
func (*HSTS) shortSchema(g *schemaWriter) object { return g.short(reflect.TypeFor[HSTS](), "max_age") }

func (*Store) shortSchema(g *schemaWriter) object   { return g.short(reflect.TypeFor[Store](), "url") }
func (*Cost) shortSchema(g *schemaWriter) object    { return g.short(reflect.TypeFor[Cost](), "request") }
func (*Balance) shortSchema(g *schemaWriter) object { return g.short(reflect.TypeFor[Balance](), "by") }
func (*Errors) shortSchema(g *schemaWriter) object {
	return g.short(reflect.TypeFor[Errors](), "format")
}

// short is the schema of a struct that may be written as the value of one of its fields.
func (g *schemaWriter) short(t reflect.Type, key string) object {
	f, ok := g.info(t).field(key)
	if !ok {
		panic("BUG: " + t.String() + " has no key " + strings.ToLower(key))
	}
	return g.value(t.FieldByIndex(f.index).Type, f)
}
