// Command sluice is an API gateway for the edge.
//
// Each sub-command has a file of its own; run.go is the one that matters. gateway.go holds what a running gateway owns
// and how it takes a new configuration.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	_ "time/tzdata" // for the days and months of quotas, on hosts that have no time zones

	"github.com/alecthomas/kong"
)

// What the process exits with.
const (
	exitFailure = 1 // the work could not be done
	exitUsage   = 2 // the command line makes no sense
)

// commands is the command line.
type commands struct {
	Run       runCommand       `cmd:"" help:"Serve a configuration file."`
	Proxy     proxyCommand     `cmd:"" help:"Serve as a reverse proxy, without a file."`
	Demo      demoCommand      `cmd:"" help:"Serve an example with its own origins, to try things out."`
	Init      initCommand      `cmd:"" help:"Write a commented configuration file to begin with."`
	Check     checkCommand     `cmd:"" help:"Report everything that is wrong with configuration files."`
	Fmt       fmtCommand       `cmd:"" help:"Lay configuration files out the one way."`
	Schema    schemaCommand    `cmd:"" help:"Print the JSON Schema of configuration files, for editors."`
	Explain   explainCommand   `cmd:"" help:"Say what would become of a request, and why."`
	ECH       echCommand       `cmd:"" name:"ech" help:"Make keys for Encrypted Client Hello, and DNS records."`
	Keys      keysCommand      `cmd:"" help:"Make API keys and passwords, or hash them, for the configuration."`
	Consumers consumersCommand `cmd:"" help:"Edit the stored consumers of a running gateway, and their keys."`
	Profile   profileCommand   `cmd:"" help:"Fetch profiles from a running gateway."`
	Version   versionCommand   `cmd:"" help:"Print the version."`
}

// errFailed ends a command that has said itself what is wrong.
var errFailed = errors.New("failed")

func main() {
	os.Exit(execute(os.Args[1:], &terminal{out: os.Stdout, err: os.Stderr, color: colorful(os.Stdout)}))
}

// execute runs a command line and returns the exit code.
func execute(args []string, t *terminal) int {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	var c commands
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("sluice"),
		kong.Description(example("An API gateway for the edge.", "sluice demo\nsluice run -c sluice.yaml")),
		kong.Writers(t.out, t.err),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Bind(t),
	)
	if err != nil {
		panic("BUG: the command line is not well defined: " + err.Error())
	}
	ctx, err := parser.Parse(args)
	if exited >= 0 {
		return exited // help was printed
	}
	if err != nil {
		return t.usage(err)
	}
	switch err := ctx.Run(t); {
	case errors.Is(err, errFailed):
		return exitFailure
	case err != nil:
		t.complain(err)
		return exitFailure
	}
	return 0
}

// usage reports a command line that makes no sense.
func (t *terminal) usage(err error) int {
	t.complain(err)
	hint := "sluice --help"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil && parse.Context.Command() != "" {
		hint = "sluice " + strings.Fields(parse.Context.Command())[0] + " --help"
	}
	t.note("See " + hint + ".")
	return exitUsage
}

// complain writes an error as a sentence.
func (t *terminal) complain(err error) { t.note("sluice: " + err.Error()) }

// note writes a line to stderr. There is nobody to tell if that fails.
func (t *terminal) note(line string) { _, _ = fmt.Fprintln(t.err, line) }

// example is the end of every help text.
func example(text, commands string) string {
	return text + "\n\nExample:\n\n  " + strings.ReplaceAll(strings.TrimSpace(commands), "\n", "\n  ")
}

// write writes a result to stdout; a full disk or a closed pipe is an error.
func (t *terminal) write(text string) error {
	if _, err := io.WriteString(t.out, text); err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	return nil
}
