package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice/control/config"
)

// lastGoodFile is the name of the file in the state folder.
const lastGoodFile = "last-good.json"

// lastGood is a configuration that worked, as its YAML text. Only the YAML is kept: secrets, certificates and bodies
// that it takes from other files are read from there again, and so are variables of the environment.
type lastGood struct {
	Main     string              `json:"main"` // absolute, as are all names here
	Saved    time.Time           `json:"saved"`
	Files    map[string]string   `json:"files"`    // text by name
	Patterns map[string][]string `json:"patterns"` // what include patterns matched
}

// saveLastGood writes what c was loaded from into its state folder. It does nothing without one.
func saveLastGood(s *source, c *config.Config, r *reading) error {
	if c.State == "" || s.text != nil {
		return nil
	}
	main, err := filepath.Abs(s.name)
	if err != nil {
		return fmt.Errorf("cannot save the last good configuration: %w", err)
	}
	g := lastGood{Main: main, Saved: time.Now().UTC(), Files: map[string]string{}, Patterns: map[string][]string{}}
	for _, name := range c.Documents() { // all else that was read may be a secret
		if file, ok := r.files[filepath.Clean(name)]; ok && file.err == nil {
			g.Files[absolute(name)] = string(file.data)
		}
	}
	for pattern, names := range r.globs {
		for _, name := range names {
			g.Patterns[absolute(pattern)] = append(g.Patterns[absolute(pattern)], absolute(name))
		}
	}
	text, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot save the last good configuration: %w", err)
	}
	if err := os.MkdirAll(string(c.State), 0o700); err != nil {
		return fmt.Errorf("cannot save the last good configuration: %w", err)
	}
	return writeAtomically(filepath.Join(string(c.State), lastGoodFile), text, 0o600)
}

// absolute names a file independently of the folder that the process runs in.
func absolute(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return filepath.Clean(name) // the current folder is gone: then nothing relative can be found either
}

var errNoLastGood = errors.New("there is no last good configuration")

// loadLastGood loads the configuration that was saved last for the same file. folder overrides where it is looked for.
func loadLastGood(s *source, folder string) (*config.Config, config.Problems, time.Time, error) {
	if folder == "" {
		folder = stateFolder(s)
	}
	if folder == "" || s.text != nil {
		return nil, nil, time.Time{}, errNoLastGood
	}
	file := filepath.Join(folder, lastGoodFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, time.Time{}, fmt.Errorf("%w in %s", errNoLastGood, folder)
	}
	if err != nil {
		return nil, nil, time.Time{}, fmt.Errorf("cannot read the last good configuration: %w", err)
	}
	var g lastGood
	if err := json.Unmarshal(text, &g); err != nil {
		return nil, nil, time.Time{}, fmt.Errorf("cannot read the last good configuration from %s: %w", file, err)
	}
	if g.Main != absolute(s.name) {
		return nil, nil, time.Time{}, fmt.Errorf("the last good configuration in %s belongs to %s", folder, g.Main)
	}
	c, problems := config.Load(s.name, g.options(s))
	if c == nil {
		return nil, nil, time.Time{}, fmt.Errorf("the last good configuration in %s cannot be used any more: %w", folder, problems)
	}
	return c, problems, g.Saved, nil
}

// options read the saved text in the place of the files.
func (g *lastGood) options(s *source) config.Options {
	return config.Options{
		LookupEnv: s.lookup,
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := g.Files[absolute(name)]; ok {
				return []byte(text), nil
			}
			return readFile(name)
		},
		Glob: func(pattern string) ([]string, error) { return g.Patterns[absolute(pattern)], nil },
	}
}

// stateFolder finds out what a file that is broken elsewhere says about its state folder, or "". The line is read as
// part of a file in which nothing else can be wrong.
func stateFolder(s *source) string {
	text, err := readFile(s.name)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "state:") {
			continue
		}
		const rest = "version: 1\nlisten: { l: { address: \"127.0.0.1:1\" } }\nadmin: off\nroutes: { r: { match: /r, respond: { status: 204 } } }\n"
		if c, _ := config.Parse(s.name, []byte(rest+line), config.Options{LookupEnv: s.lookup}); c != nil {
			return string(c.State)
		}
	}
	return ""
}
