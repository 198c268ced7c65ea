package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// SecretFileBytesMax bounds what ${file:...} reads: a larger file is an error.
const SecretFileBytesMax = 64 << 10

// part is a piece of a scalar: as written, or put in for ${...}.
type part struct {
	text        string
	substituted bool
}

// expand replaces ${NAME}, ${NAME:-default} and ${file:PATH} in a scalar, and $${ by ${. It runs on values after
// the YAML was parsed: whatever a variable holds, it stays one value. It reports false when that failed; the
// reason has been reported.
//
// As in a shell, :- also stands in for a variable that is set and empty. Defaults do not nest.
func (d *decoder) expand(n *node, path string) bool {
	if n.expanded {
		return !n.broken
	}
	n.expanded = true
	if !strings.Contains(n.text, "${") {
		return true
	}
	parts, ok := d.substitute(n, path)
	if !ok {
		n.broken = true
		return false
	}
	var text strings.Builder
	substituted := false
	for _, p := range parts {
		text.WriteString(p.text)
		substituted = substituted || p.substituted
	}
	n.text = text.String()
	if substituted {
		n.parts = parts
		d.substituted[n.pos] = true
	}
	return true
}

func (d *decoder) substitute(n *node, path string) (parts []part, ok bool) {
	ok = true
	rest := n.text
	for {
		i := strings.Index(rest, "${")
		if i < 0 {
			return append(parts, part{text: rest}), ok
		}
		if i > 0 && rest[i-1] == '$' { // $${ is a literal ${
			parts = append(parts, part{text: rest[:i-1] + "${"})
			rest = rest[i+2:]
			continue
		}
		end := strings.IndexByte(rest[i:], '}')
		if end < 0 {
			d.report.fail(n.pos, path, "${ has no closing }", "a literal ${ is written $${")
			return nil, false
		}
		value, found := d.lookup(n, path, rest[i+2:i+end])
		ok = ok && found
		parts = append(parts, part{text: rest[:i]}, part{text: value, substituted: true})
		rest = rest[i+end+1:]
	}
}

func (d *decoder) lookup(n *node, path, reference string) (string, bool) {
	if file, ok := strings.CutPrefix(reference, "file:"); ok {
		return d.secretFile(n, path, file)
	}
	name, fallback, hasFallback := strings.Cut(reference, ":-")
	if !isVariableName(name) {
		d.report.fail(n.pos, path, fmt.Sprintf("${%s} does not name an environment variable", clip(name)),
			"write ${NAME}, ${NAME:-default} or ${file:/path}; a literal ${ is written $${")
		return "", false
	}
	value, set := d.options.LookupEnv(name)
	switch {
	case hasFallback && value == "":
		return fallback, true
	case !set:
		d.report.fail(n.pos, path, fmt.Sprintf("the environment variable %s is not set", name), fmt.Sprintf("set it, or write ${%s:-default}", name))
		return "", false
	}
	return value, true
}

func (d *decoder) secretFile(n *node, path, file string) (string, bool) {
	name := besideFile(n.pos.File, file)
	if file == "" {
		d.report.fail(n.pos, path, "${file:} names no file", "write ${file:/run/secrets/name}")
		return "", false
	}
	content, err := d.readFile(name)
	if err != nil {
		d.report.fail(n.pos, path, fmt.Sprintf("cannot read the secret: %v", err), "")
		return "", false
	}
	if len(content) > SecretFileBytesMax {
		d.report.fail(n.pos, path, fmt.Sprintf("the secret file %s has %d bytes, more than the limit of 64 KiB", name, len(content)), "")
		return "", false
	}
	text := strings.TrimSuffix(string(content), "\n")
	return strings.TrimSuffix(text, "\r"), true
}

// besideFile resolves a path that stands in a configuration file: relative to the folder of that file.
func besideFile(configFile, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(filepath.Dir(configFile), path)
}

func isVariableName(s string) bool {
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for _, c := range []byte(s) {
		if c != '_' && !isAlnum(c) {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
