// Overlay prints the flag that makes the go command build Sluice with two small changes to Go's own code:
//
//	go build $(go run ./profiles/overlay bin/overlay) ./cmd/sluice
//
// Connections are served in the order in which they became ready (netpoll.go), and session tickets say that they live for a
// day (tickets.go). A copy of each file that changes is put into the folder, and the flag (-overlay, see `go help build`) makes
// the compiler read it in the place of the original. The toolchain itself is left alone. If a file is not as expected, which a
// later version of Go may bring about, it is not replaced, and a line on standard error says so: the build is as good, and
// lacks what the change would have brought.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// change is one to a file of Go's.
type change struct {
	file    string // below GOROOT/src
	without string // what is so without it
	apply   func(text string) (string, error)
}

var changes = []change{
	{"runtime/netpoll_epoll.go", "ready connections will be served in the order of Go's own poller", turn},
	{"crypto/tls/handshake_server_tls13.go", "session tickets will say that they live for seven days", shorten},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: overlay FOLDER")
		os.Exit(2)
	}
	flag, problems := overlay(os.Args[1])
	for _, problem := range problems {
		fmt.Fprintf(os.Stderr, "overlay: %v\n", problem)
	}
	fmt.Println(flag)
}

// overlay writes the changed files and what names them to the compiler into dir, and returns the flag, or nothing if there is
// none.
func overlay(dir string) (flag string, problems []error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	var goroot []byte
	if err == nil {
		goroot, err = exec.Command("go", "env", "GOROOT").Output()
	}
	if err != nil {
		return "", []error{err}
	}
	replace := map[string]string{}
	for _, c := range changes {
		original := filepath.Join(strings.TrimSpace(string(goroot)), "src", filepath.FromSlash(c.file))
		replacement := filepath.Join(dir, "_"+filepath.Base(c.file)) // no package of whatever module the folder is in
		if err := c.copy(original, replacement); err != nil {
			problems = append(problems, fmt.Errorf("%s: %s: %w", c.without, c.file, err))
			continue
		}
		replace[original] = replacement
	}
	names, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	list := filepath.Join(dir, "overlay.json")
	if err == nil {
		err = os.WriteFile(list, names, 0o644)
	}
	if err != nil {
		return "", append(problems, err)
	}
	return "-overlay=" + list, problems
}

func (c change) copy(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	changed, err := c.apply(string(text))
	if err != nil {
		return err
	}
	return os.WriteFile(to, []byte(changed), 0o644)
}
