package config

import (
	"fmt"
	"maps"
	"reflect"
)

// ConsumerGroup are the consumers of one name: those that stand in the file and, if it is Stored, those that the admin listener edits.
type ConsumerGroup struct {
	Stored bool
	List   Named[Consumer]
}

// storedWord is the one key of a group that is no consumer. A consumer of that name is told from it by being a mapping.
const storedWord = "stored"

func (g *ConsumerGroup) decode(d *decoder, n *node, path string, f field) {
	rest := *n
	rest.entries = nil
	first := Pos{}
	for _, e := range n.entries {
		if e.key != storedWord || e.value.kind != scalarNode {
			rest.entries = append(rest.entries, e)
			continue
		}
		where := joinPath(path, storedWord)
		if first != (Pos{}) {
			d.report.fail(e.pos, where, "the key stands here twice", "first at "+first.String())
			continue
		}
		first = e.pos
		d.at[where] = e.value.pos
		g.Stored, _ = d.boolean(e.value, where)
	}
	g.List.decode(d, &rest, path, f)
}

func (*ConsumerGroup) schema(g *schemaWriter, f field) object {
	o := (*Named[Consumer])(nil).schema(g, f)
	stored := object{"description": "the group has more consumers, which the admin listener edits; they are kept in the state folder", "default": false}
	maps.Copy(stored, g.value(reflect.TypeFor[bool](), field{}))
	o["properties"] = object{storedWord: object{"anyOf": []any{stored, g.value(reflect.TypeFor[Consumer](), field{})}}}
	return o
}

// storedGroup wants a place to keep consumers in, and somebody to edit them.
func (v *validator) storedGroup(g *ConsumerGroup, path string) {
	path = joinPath(path, storedWord)
	switch {
	case !g.Stored:
	case v.config.State == "":
		v.fail(path, "has no folder to keep consumers in", "state: /var/lib/sluice at the top of the file")
	case v.config.Admin.Off:
		v.warn(path, "the admin listener, which edits stored consumers, is off", `admin: { address: "127.0.0.1:9180" }`)
	}
}

// The bounds of what one consumer has, also of those in a store.
const (
	ConsumerKeysMax = secretsMax
	// ConsumerPasswordsMax is for those in a store: whoever shows a wrong password makes as many be computed.
	ConsumerPasswordsMax = 4
)

// CheckConsumerName returns what is wrong with a name, if anything.
func CheckConsumerName(name string) string { return checkThingName(name) }

// CheckConsumer returns which field is wrong of what a consumer has, and why; empty: none.
func CheckConsumer(plan string, scopes []string, labels map[string]string) (field, why string) {
	line := fmt.Sprintf("wants a line of %d bytes at most", consumerText)
	switch {
	case !isConsumerText(plan):
		return "plan", line
	case len(labels) > labelsMax:
		return "labels", fmt.Sprintf("has more than %d labels", labelsMax)
	}
	for name, value := range labels {
		if why := checkLabelName(name); why != "" {
			return "labels", "has a name that cannot be: " + why
		}
		if !isConsumerText(value) {
			return "labels." + name, line
		}
	}
	return CheckScopes(scopes)
}

// CheckScopes returns which field is wrong and why, if the scopes are.
func CheckScopes(scopes []string) (field, why string) {
	if len(scopes) > scopesMax {
		return "scopes", fmt.Sprintf("has more than %d scopes", scopesMax)
	}
	for i, s := range scopes {
		if !isScope(s) {
			return fmt.Sprintf("scopes[%d]", i), fmt.Sprintf("wants a word such as orders.read, without spaces, of %d bytes at most", scopeBytesMax)
		}
	}
	return "", ""
}

// CheckKeyPrefix returns what is wrong with the beginning of a key, if anything.
func CheckKeyPrefix(prefix string) string {
	if keyPrefix.MatchString(prefix) {
		return ""
	}
	return "wants 1 to 32 letters, digits, _ . or -"
}
