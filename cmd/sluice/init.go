package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"sluice/control/config"
)

type initCommand struct {
	File  string `arg:"" optional:"" default:"sluice.yaml" help:"Where to write it (${default})."`
	Force bool   `help:"Overwrite the file if it exists."`
}

func (initCommand) Help() string {
	return example("The file works as it is; its comments say what else can be done.", "sluice init\nsluice check sluice.yaml\nsluice run -c sluice.yaml")
}

func (c *initCommand) Run(t *terminal) error {
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if c.Force {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(c.File, how, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already: --force overwrites it", c.File)
	}
	if err != nil {
		return fmt.Errorf("cannot write the file: %w", err)
	}
	_, err = f.Write(config.Starter())
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("cannot write the file: %w", err)
	}
	return t.write(fmt.Sprintf("Wrote %s. Next: sluice run -c %s\n", c.File, c.File))
}
