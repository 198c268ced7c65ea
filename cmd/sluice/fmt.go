package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sluice/control/config"
)

type fmtCommand struct {
	Files []string `arg:"" name:"file" help:"Configuration files."`
	Write bool     `short:"w" xor:"where" help:"Write the result back into the file."`
	Check bool     `xor:"where" help:"Write nothing; name the files that are laid out otherwise, and exit with 1."`
}

func (fmtCommand) Help() string {
	return example("Sections come in the order of the documentation, blocks are indented by two spaces; comments and values stay as they are. "+
		"The result goes to the standard output unless a flag says otherwise.", "sluice fmt -w sluice.yaml")
}

func (c *fmtCommand) Run(t *terminal) error {
	failed := false
	for _, file := range c.Files {
		ok, err := c.file(t, file)
		if err != nil {
			return err
		}
		failed = failed || !ok
	}
	if failed {
		return errFailed
	}
	return nil
}

// file formats one file; it reports false if the file is not as it should be, which it has said.
func (c *fmtCommand) file(t *terminal, file string) (bool, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return false, fmt.Errorf("cannot read the file: %w", err)
	}
	out, err := config.Format(src)
	var problems config.Problems
	if errors.As(err, &problems) {
		for i := range problems {
			problems[i].Pos.File = file
		}
		return false, t.write(t.problems(problems))
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", file, err)
	}
	same := bytes.Equal(src, out)
	switch {
	case c.Check && !same:
		return false, t.write(file + "\n")
	case c.Check || c.Write && same:
		return true, nil
	case c.Write:
		return true, replaceFile(file, out)
	}
	return true, t.write(string(out))
}

// replaceFile puts new content in the place of a file, its permissions kept, in one step: whoever reads it, such as a
// gateway that watches it, sees the old content or the new. A link stays a link.
func replaceFile(name string, content []byte) error {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return fmt.Errorf("cannot write the file: %w", err)
	}
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("cannot write the file: %w", err)
	}
	return writeAtomically(name, content, info.Mode().Perm())
}
