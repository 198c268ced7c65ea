package config

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInputLimits wants a clear refusal, in time, of texts that are made to be expensive.
func TestInputLimits(t *testing.T) {
	f := func(src, message string) {
		t.Helper()
		start := spent()
		c, problems := Parse("f", []byte(src), Options{})
		if c != nil || !strings.Contains(problems.Error(), message) {
			t.Errorf("the problems are %.300s, want %q", problems.Error(), message)
		}
		if took := spent() - start; took > 20*time.Second {
			t.Errorf("took %v", took)
		}
		if len(problems) > problemsMax+1 {
			t.Errorf("there are %d problems", len(problems))
		}
	}
	f(strings.Repeat("#", fileBytesMax+1), "more than the limit of 8 MiB")
	f(strings.Repeat("[", 1<<20), "nests deeper than 64 levels")
	f(strings.Repeat("{a: ", 1<<18), "nests deeper than 64 levels")
	f(strings.Repeat("- ", 1<<18), "nests deeper than 64 levels")
	f(strings.Repeat("a:\n ", 1<<18), "the mapping has more than 20000 keys")
	f(strings.Repeat("- a: 1\n  b:\n", 1<<17), "the list has more than 100000 entries")
	f(strings.Repeat("-\n", 1<<18), "the list has an empty entry")
	f("a: ["+strings.Repeat("a,", 1<<20)+"]", "more than 2000000 words and signs")
	f(strings.Repeat("x", 5000)+": 1\n", "the key is longer than 1024 bytes")
	f(strings.Repeat("a: 1\n", 2000), "unknown key")

	var wide strings.Builder
	for i := range 2000 {
		wide.WriteString("zz" + strings.Repeat("x", i%50) + string(rune('a'+i%26)) + ": 1\n")
	}
	f(wide.String(), "more problems are not shown")

	f("\xff", "not UTF-8")
	f("a: \x00", "the control character 0x00")
	f("a: 1\rb: 2", "a carriage return stands alone")
}

// TestManyRoutes wants the routes of a large installation within a few seconds, -race included.
func TestManyRoutes(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\nlisten: { web: { address: \":80\" } }\nservices: { origin: http://h }\nroutes:\n")
	const routes = 10_000
	for i := range routes {
		name := "r" + strings.Repeat("x", i%7) + "-" + time.Duration(i).String()
		b.WriteString("  " + strings.ReplaceAll(name, "µ", "u") + ":\n    match: \"GET /items/{id}\"\n    to: origin\n")
	}
	start := spent()
	c := mustParse(t, b.String(), Options{})
	if len(c.Routes) != routes {
		t.Errorf("there are %d routes", len(c.Routes))
	}
	if took := spent() - start; took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

// spent is how long the process has had a core, user and system together: unlike the clock, it does not go on while others have them all.
func spent() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
