package proxytest

import (
	"flag"
	"os"
	"testing"
)

// parallel is how many tests run beside each other that say they may: most of them wait, for what a gateway does after a while.
const parallel = "3"

func TestMain(m *testing.M) {
	given := false
	flag.Parse()
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", parallel); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// TestWaiting is the tests that wait most of the time, beside each other. What they leave behind is looked at when all have ended.
func TestWaiting(t *testing.T) {
	checkLeaks(t)
	for name, test := range map[string]func(*testing.T){
		"SlowHead":         testSlowHead,
		"SlowUpload":       testSlowUpload,
		"SteadyUpload":     testSteadyUpload,
		"SlowReader":       testSlowReader,
		"SteadyReader":     testSteadyReader,
		"SilentBody":       testSilentBody,
		"Timeouts":         testTimeouts,
		"HalfClosedClient": testHalfClosedClient,
		"TruncatedUpload":  testTruncatedUpload,
		"TunnelHalfClose":  testTunnelHalfClose,
		"TunnelSilence":    testTunnelSilence,
		"PassageIdle":      testPassageIdle,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}
