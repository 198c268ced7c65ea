package proxytest

import (
	"strconv"
	"sync"
	"testing"
)

// atOnce runs the cases of a test beside each other, because they wait most of the time, and returns when all are over: the test itself has
// the process for itself, and may look at what they leave behind.
func atOnce(t *testing.T, cases ...func(t *testing.T)) {
	t.Helper()
	var all sync.WaitGroup
	for i, c := range cases {
		all.Go(func() { t.Run(strconv.Itoa(i), c) })
	}
	all.Wait()
}
