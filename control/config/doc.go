// Package config reads Sluice's YAML file into inert structs.
//
// A file goes through five steps, and every step reports all of its problems, each with file:line:column:
//
//	parse.go     YAML text → a small tree of nodes (bounded size and depth, no anchors, no tags)
//	include.go   the trees of included files are merged into the first one, by section and by name
//	expand.go    ${NAME} and ${file:...} in scalar values are replaced, when a value is decoded
//	decode.go    the tree → Config, by reflection over the `cfg` tags; unknown keys name the nearest known one
//	validate.go  what one value cannot know: cross references, combinations, addresses used twice
//
// The structs are data only: tags, defaults and validation. Package control/compile turns them into the objects
// that serve requests. The same tags also make the JSON Schema (schema.go), so that it cannot drift.
//
// The tags of a field:
//
//	cfg:"key"        the key in the file
//	doc:"..."        its description in the schema
//	default:"75s"    the value, as it would be written in the file, when the key is absent
//	required:"true"  the key must be present
//	enum:"a,b"       the words that a string may be
//	min:"1" max:"9"  inclusive bounds of a number, written in the unit of the field
//	off:"true"       the field may also be `off`: no limit; off:"alone": and not 0, which is written off
//	names:"header"   what the keys of a Named map must look like: thing (the default), header, cookie, status, any
//	later:"a,b"      on a blank field: keys that the product knows and this build does not serve yet
//	instead:"a"      on a blank field: a key that one may expect here, and that stands elsewhere
//	hint:"..."       beside later and instead: what to do instead
//
// Values that come out of ${...} are never printed in a message: they may be secrets.
package config
