package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

//go:embed scripts
var scripts embed.FS

// wrk is a closed loop: each connection sends its next request when it has the answer to the last.
type wrk struct {
	connections int      // 64 if zero
	body        int      // bytes of a POST, 0 is a GET
	fields      []string // NAME=VALUE, added to the head
}

func (w wrk) run(ctx context.Context, t target) (outcome, error) {
	script := filepath.Join(t.scratch, "report.lua")
	text, err := scripts.ReadFile("scripts/report.lua")
	if err != nil {
		return outcome{}, fmt.Errorf("cannot read the script of wrk: %w", err)
	}
	if err := os.WriteFile(script, text, 0o644); err != nil {
		return outcome{}, fmt.Errorf("cannot write the script of wrk: %w", err)
	}
	connections := w.connections
	if connections == 0 {
		connections = 64
	}
	command := []string{"wrk", "-t1", "-c", strconv.Itoa(connections), "-d", strconv.Itoa(t.seconds), "-s", script, t.url, "--", strconv.Itoa(w.body)}
	printed, err := generate(ctx, t, append(command, w.fields...)...)
	if err != nil {
		return outcome{}, err
	}
	return parseReport(printed)
}
