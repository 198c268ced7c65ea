package main

import (
	"errors"
	"strings"
)

const (
	ascending  = "\tfor i := int32(0); i < n; i++ {\n\t\tev := events[i]\n"
	descending = "\tfor i := n - 1; i >= 0; i-- {\n\t\tev := events[i]\n"
	pushes     = "delta += netpollready(&toRun, pd, mode)"
)

// turn makes the poller go through its events from the last to the first.
//
// It collects the goroutines that a call of epoll_wait has made ready on a stack, so that within a batch the one whose bytes
// came last runs first. On a busy core that is unfair: the unlucky wait for two batches, and p99 of 64 connections on one core
// was a third higher than with the batch in order; the CPU time per request is the same.
func turn(text string) (string, error) {
	if strings.Count(text, ascending) != 1 || strings.Count(text, pushes) != 1 {
		return "", errors.New("it does not collect what is ready as it did in Go 1.26")
	}
	return strings.Replace(text, ascending, descending, 1), nil
}
