// Netpoll prints the flag that makes the go command build with connections served in the order in which they became ready:
//
//	go build $(go run ./profiles/netpoll bin/netpoll) ./cmd/sluice
//
// The poller of Go's runtime collects the goroutines that a call of epoll_wait has made ready on a stack, so that within
// a batch the one whose bytes came last runs first. On a busy core that is unfair: the unlucky wait for two batches, and p99 of
// 64 connections on one core was a third higher than with the batch in order; the CPU time per request is the same.
//
// So a copy of one file of the runtime, with the loop over the batch turned round, is put into the folder, and the flag
// (-overlay, see `go help build`) makes the compiler read it in the place of the original. The toolchain itself is left alone. If its
// file is not as expected, which a later version of Go may bring about, nothing is replaced, and a line on standard error
// says so: the build is as good, and its p99 is not.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	ascending  = "\tfor i := int32(0); i < n; i++ {\n\t\tev := events[i]\n"
	descending = "\tfor i := n - 1; i >= 0; i-- {\n\t\tev := events[i]\n"
	pushes     = "delta += netpollready(&toRun, pd, mode)"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: netpoll FOLDER")
		os.Exit(2)
	}
	flag, err := overlay(os.Args[1])
	if err != nil {
		fmt.Fprintf(os.Stderr, "netpoll: ready connections will be served in the order of Go's own poller: %v\n", err)
		return
	}
	fmt.Println(flag)
}

// overlay writes the changed file and what names it to the compiler into dir, and returns the flag.
func overlay(dir string) (string, error) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	original := filepath.Join(strings.TrimSpace(string(goroot)), "src", "runtime", "netpoll_epoll.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	changed, err := turn(string(text))
	if err != nil {
		return "", fmt.Errorf("%s: %w", original, err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	replacement := filepath.Join(dir, "_netpoll_epoll.go") // no package of whatever module the folder is in
	names, err := json.Marshal(map[string]map[string]string{"Replace": {original: replacement}})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	for name, text := range map[string]string{replacement: changed, list: string(names)} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return "-overlay=" + list, nil
}

// turn makes the poller go through its events from the last to the first, so that the first ends up on top of the stack.
func turn(text string) (string, error) {
	if strings.Count(text, ascending) != 1 || strings.Count(text, pushes) != 1 {
		return "", fmt.Errorf("it does not collect what is ready as it did in Go 1.26")
	}
	return strings.Replace(text, ascending, descending, 1), nil
}
