package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Limits of include.
const (
	includeDepthMax = 4
	includeFilesMax = 1000
)

// mergedSections are the sections that several files may fill together, by name. All others belong to one file.
var mergedSections = []string{"stores", "listen", "tls", "services", "consumers", "policies", "routes"}

// include adds the sections of included files to root, the tree of the file called name.
func (d *decoder) include(root *node, name string) {
	in := includer{decoder: d, root: root, loaded: map[string]Pos{}}
	in.loaded[identity(name)] = Pos{File: name}
	in.follow(root, []string{name})
}

type includer struct {
	*decoder
	root   *node
	loaded map[string]Pos // every file and where it was included
}

// follow reads what tree includes. stack holds the files that lead to it, tree's own last.
func (in *includer) follow(tree *node, stack []string) {
	for _, e := range tree.entries {
		if e.key != "include" {
			continue
		}
		var patterns List[Text]
		patterns.decode(in.decoder, e.value, "include", field{})
		for _, pattern := range patterns {
			if pattern.Text == "" {
				continue // not text, reported
			}
			for _, file := range in.expandPattern(besideFile(stack[len(stack)-1], pattern.Text), pattern.Pos) {
				in.file(file, pattern.Pos, stack)
			}
		}
	}
}

// expandPattern gives the files of a pattern in alphabetical order. A name without wildcards must exist; a pattern
// may match nothing, which is worth a warning.
func (in *includer) expandPattern(pattern string, pos Pos) []string {
	if !strings.ContainsAny(pattern, "*?[") {
		return []string{pattern}
	}
	in.patterns[pattern] = true
	files, err := in.options.Glob(pattern)
	if err != nil {
		in.report.fail(pos, "include", fmt.Sprintf("is not a valid pattern: %v", err), "* and ? stand for text within a name")
		return nil
	}
	if len(files) == 0 {
		in.report.warn(pos, "include", "no file matches the pattern", "")
	}
	slices.Sort(files)
	return files
}

func (in *includer) file(name string, pos Pos, stack []string) {
	for i, open := range stack {
		if identity(open) == identity(name) {
			in.report.fail(pos, "include", "the files include each other", strings.Join(append(slices.Clone(stack[i:]), name), " → "))
			return
		}
	}
	if first, twice := in.loaded[identity(name)]; twice {
		in.report.fail(pos, "include", "the file is included twice", fmt.Sprintf("first at %s", first))
		return
	}
	if len(stack) > includeDepthMax {
		in.report.fail(pos, "include", fmt.Sprintf("files include each other more than %d levels deep", includeDepthMax), "")
		return
	}
	if len(in.loaded) > includeFilesMax {
		in.report.fail(pos, "include", fmt.Sprintf("more than %d files are included", includeFilesMax), "")
		return
	}
	in.loaded[identity(name)] = pos
	src, err := in.readFile(name)
	if err != nil {
		in.report.fail(pos, "include", fmt.Sprintf("cannot read the file: %v", withoutName(err, in.substituted[pos])), "")
		return
	}
	in.included = append(in.included, filepath.Clean(name)) // as it is called among the files
	tree := parseYAML(name, src, in.report)
	if tree == nil {
		return
	}
	if tree.kind != mapNode {
		in.wants(tree, "", "a mapping of sections", "")
		return
	}
	in.merge(tree)
	in.follow(tree, append(slices.Clone(stack), name))
}

// merge adds the sections of tree to the root.
func (in *includer) merge(tree *node) {
	first := map[string]Pos{}
	for _, e := range tree.entries {
		if pos, twice := first[e.key]; twice {
			in.report.fail(e.pos, joinPath("", e.key), "the key stands here twice", fmt.Sprintf("first at %s", pos))
			continue
		}
		first[e.key] = e.pos
		switch e.key {
		case "include":
		case "version":
			in.report.fail(e.pos, "version", "stands in the first file only", "remove it here")
		default:
			in.section(e)
		}
	}
}

func (in *includer) section(e nodeEntry) {
	for i := range in.root.entries {
		there := &in.root.entries[i]
		if there.key != e.key {
			continue
		}
		if !slices.Contains(mergedSections, e.key) {
			in.report.fail(e.pos, joinPath("", e.key), "the section belongs to one file", fmt.Sprintf("it is also at %s", there.pos))
			return
		}
		if e.value.kind != mapNode {
			if e.value.kind != nullNode {
				in.wants(e.value, joinPath("", e.key), "a mapping (name: value)", "")
			}
			return
		}
		if there.value.kind == nullNode {
			there.value = &node{kind: mapNode, pos: there.value.pos}
		}
		there.value.entries = append(there.value.entries, e.value.entries...)
		return
	}
	in.root.entries = append(in.root.entries, e)
}

// identity is one name per file, as far as names tell: a relative and an absolute name of one file are the same.
func identity(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return filepath.Clean(name)
}
