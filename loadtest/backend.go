package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"

	"sluice/loadtest/origin"
)

// startOrigin starts the server behind the proxies, which is this program again.
func startOrigin(ctx context.Context, cores, scratch string) (string, *process, error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, fmt.Errorf("cannot find this program: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	backend, err := start("origin", cores, scratch, nil, self, "origin", address)
	if err != nil {
		return "", nil, err
	}
	if err := backend.listening(ctx, address); err != nil {
		backend.stop()
		return "", nil, err
	}
	return address, backend, nil
}

// originCommand is that server.
type originCommand struct {
	Address netip.AddrPort `arg:""`
}

func (c *originCommand) Run() error {
	signal.Reset() // it has nothing to clean up
	return origin.Serve(c.Address)
}
