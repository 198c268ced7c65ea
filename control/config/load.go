package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"time"
)

// Options are the ways in which a configuration reaches outside of its text.
type Options struct {
	LookupEnv func(string) (string, bool)            // os.LookupEnv when nil
	ReadFile  func(string) ([]byte, error)           // reads the file system when nil
	Glob      func(pattern string) ([]string, error) // filepath.Glob when nil
	Now       func() time.Time                       // time.Now when nil
}

func (o Options) withDefaults() Options {
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	if o.ReadFile == nil {
		o.ReadFile = readBounded
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Glob == nil {
		o.Glob = filepath.Glob
	}
	return o
}

// readBounded reads a file up to one byte more than any limit allows: enough to refuse /dev/zero.
func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, max(fileBytesMax, contentBytesMax, networksBytesMax)+1))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return data, err
}

// Load reads a configuration file and everything it includes. It returns all problems at once, sorted by file and
// position. The Config is nil if one of them is an error, and complete otherwise.
func Load(path string, o Options) (*Config, Problems) {
	o = o.withDefaults()
	src, err := o.ReadFile(path)
	if err != nil {
		return nil, Problems{{Pos: Pos{File: path}, Message: fmt.Sprintf("cannot read the configuration: %v", err)}}
	}
	return Parse(path, src, o)
}

// Parse is Load for a text that is in memory; name stands for the file in positions, and the folder of name is where
// relative paths begin.
func Parse(name string, src []byte, o Options) (*Config, Problems) {
	r := newReport()
	d := &decoder{
		options: o.withDefaults(), report: r,
		at: map[string]Pos{}, substituted: map[Pos]bool{},
		files: map[string]bool{}, patterns: map[string]bool{},
		structs: map[reflect.Type]structInfo{},
	}
	root := parseYAML(name, src, r)
	if root == nil {
		if r.errors {
			return nil, r.sorted()
		}
		root = &node{kind: mapNode, pos: Pos{name, 1, 1}}
	}
	if root.kind != mapNode {
		d.wants(root, "", "a mapping of sections such as version, listen and routes", "")
		return nil, r.sorted()
	}
	d.include(root, name)

	c := &Config{}
	d.value(root, "", reflect.ValueOf(c).Elem(), field{})
	c.finish(d, name)
	c.validate(r)
	if r.errors {
		return nil, r.sorted()
	}
	c.inherit()
	return c, r.sorted()
}
