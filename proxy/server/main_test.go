package server_test

import (
	"flag"
	"os"
	"testing"
)

// atOnce is how many tests run beside each other that say so: they wait most of the time, so that this is no matter of processors.
const atOnce = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
