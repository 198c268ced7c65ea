package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Path is the name of a file or folder, resolved relative to the folder of the configuration file it stands in.
type Path string

func (p *Path) decode(d *decoder, n *node, path string, _ field) {
	if name, ok := d.path(n, path); ok {
		*p = Path(name)
	}
}

func (d *decoder) path(n *node, path string) (string, bool) {
	text, ok := d.scalar(n, path, "a path")
	if !ok {
		return "", false
	}
	if text == "" || strings.ContainsRune(text, 0) {
		d.wants(n, path, "a path", "")
		return "", false
	}
	return besideFile(n.pos.File, text), true
}

// contentBytesMax bounds a file whose content becomes part of the configuration. Larger files belong to an origin.
const contentBytesMax = 8 << 20

// Content is a file that was read with the configuration; it is watched, and read again with it.
type Content struct {
	Name string // resolved like a Path
	Data []byte
	Pos  Pos
}

func (c *Content) decode(d *decoder, n *node, path string, _ field) {
	c.Pos = n.pos
	switch name, data, ok := d.file(n, path); {
	case !ok:
	case len(data) > contentBytesMax:
		d.report.fail(n.pos, path, fmt.Sprintf("the file has %d bytes, more than the limit of 8 MiB", len(data)), "serve it from an origin")
	default:
		c.Name, c.Data = name, data
	}
}

// file reads the file that n names.
func (d *decoder) file(n *node, path string) (name string, data []byte, ok bool) {
	if name, ok = d.path(n, path); !ok {
		return "", nil, false
	}
	data, err := d.readFile(name)
	if err != nil {
		d.report.fail(n.pos, path, fmt.Sprintf("cannot read the file: %v", withoutName(err, n.parts != nil)), "")
	}
	return name, data, err == nil
}

// networksBytesMax bounds a list of networks: a few millions of them.
const networksBytesMax = 64 << 20

// Networks is a file of networks, or a database of what is known about them, which was read with the configuration; it is watched, and read again with it. Its lines are left as they
// are: they may be millions.
type Networks struct {
	Name   string // resolved like a Path
	Data   []byte
	Hidden bool // the name is not to be shown
	Pos    Pos
}

func (l *Networks) decode(d *decoder, n *node, path string, _ field) {
	l.Pos = n.pos
	switch name, data, ok := d.file(n, path); {
	case !ok:
	case len(data) > networksBytesMax:
		d.report.fail(n.pos, path, "the file has more than the limit of 64 MiB", "")
	default:
		l.Name, l.Data, l.Hidden = name, data, n.parts != nil
	}
}

// withoutName takes the name of the file out of an error, where the name is not to be shown: whoever writes
// ${file:ca.pem} instead of ca.pem has made a name out of the content.
func withoutName(err error, hide bool) error {
	var about *fs.PathError
	if hide && errors.As(err, &about) {
		return about.Err
	}
	return err
}

// readFile reads a file and remembers its name, readable or not: a file that appears later is a change.
func (d *decoder) readFile(name string) ([]byte, error) {
	d.files[filepath.Clean(name)] = true
	return d.options.ReadFile(name)
}

// mediaTypes is small and fixed, so that a file has the same type on every host.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8", ".txt": "text/plain; charset=utf-8",
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".csv": "text/csv; charset=utf-8",
	".json": "application/json", ".xml": "application/xml", ".yaml": "application/yaml", ".yml": "application/yaml",
	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
	".webp": "image/webp", ".ico": "image/x-icon", ".pdf": "application/pdf", ".wasm": "application/wasm",
}

func mediaTypeOf(file string) (string, bool) {
	mediaType, ok := mediaTypes[strings.ToLower(filepath.Ext(file))]
	return mediaType, ok
}
