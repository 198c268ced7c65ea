package main

import (
	"fmt"
	"strings"

	"sluice/control/compile"
	"sluice/control/config"
)

type checkCommand struct {
	Files []string `arg:"" name:"file" help:"Configuration files, each complete by itself."`
}

func (checkCommand) Help() string {
	return example("Every problem is printed with file:line:column, what would be valid, and the nearest known word. "+
		"Routes that contradict each other or can never be reached are reported, too. "+
		"The exit code is 1 if there is an error; warnings do not fail.", "sluice check sluice.yaml")
}

func (c *checkCommand) Run(t *terminal) error {
	failed := false
	for _, file := range c.Files {
		_, problems := planDry(file)
		if err := t.write(t.problems(problems)); err != nil {
			return err
		}
		if problems.HasErrors() {
			failed = true
			continue
		}
		if err := t.write(file + ": " + t.paint(green, "ok") + "\n"); err != nil {
			return err
		}
	}
	if failed {
		return errFailed
	}
	return nil
}

// planDry reads and compiles a file without starting anything. The plan is nil if a problem is an error.
func planDry(file string) (*compile.Plan, config.Problems) {
	c, problems := config.Load(file, config.Options{})
	if c == nil {
		return nil, problems
	}
	plan, more := compile.New(compile.Options{Dry: true}).Compile(c)
	return plan, append(problems, more...)
}

// problems writes each problem in a line of its own.
func (t *terminal) problems(problems config.Problems) string {
	var b strings.Builder
	for _, p := range problems {
		kind := t.paint(red, "error")
		if p.Warning {
			kind = t.paint(yellow, "warning")
		}
		fmt.Fprintf(&b, "%s: %s: ", t.paint(bold, p.Pos.String()), kind)
		if p.Path != "" {
			b.WriteString(t.paint(cyan, p.Path) + ": ")
		}
		b.WriteString(p.Message)
		if p.Hint != "" {
			b.WriteString(t.paint(faint, " ("+p.Hint+")"))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
