package tlsterm

import (
	"errors"
	"os"
	"testing"
)

// TestReloadTorn: a pair that is replaced while it is read is read again.
func TestReloadTorn(t *testing.T) {
	dir := t.TempDir()
	one := write(t, dir, "1", "a")
	two := write(t, dir, "2", "a")
	readings := 0
	w := watched[string]{files: []string{one, two}}
	read := func() (string, error) {
		readings++
		first, err := os.ReadFile(one)
		if err != nil {
			return "", err
		}
		if readings == 1 {
			write(t, dir, "1", "b")
			write(t, dir, "2", "b")
		}
		second, err := os.ReadFile(two)
		return string(first) + string(second), err
	}
	if changed, err := w.look(read); !changed || err != nil || w.value != "bb" || readings != 2 {
		t.Errorf("%q after %d readings (%v, %v)", w.value, readings, changed, err)
	}
	if changed, err := w.look(read); changed || err != nil || readings != 2 {
		t.Errorf("another reading (%v, %v)", changed, err)
	}
	// What never stands still is read a number of times, and again at the next look.
	restless := func() (string, error) {
		readings++
		write(t, dir, "1", "c")
		return "c", nil
	}
	readings = 0
	write(t, dir, "1", "c")
	for range 3 {
		if _, err := w.look(restless); err != nil {
			t.Fatal(err)
		}
	}
	if readings != 3*readingsMax {
		t.Errorf("%d readings, want %d", readings, 3*readingsMax)
	}
}

// TestRetried: a file that becomes readable is noticed, although neither its size nor its time changes.
func TestRetried(t *testing.T) {
	broken := errors.New("permission denied")
	var err error
	w := watched[int]{files: []string{write(t, t.TempDir(), "a", "")}}
	f := func(e error, changed bool, want error) {
		t.Helper()
		err = e
		if got, told := w.look(func() (int, error) { return 7, err }); got != changed || told != want {
			t.Errorf("%v, %v, want %v, %v", got, told, changed, want)
		}
	}
	f(broken, false, broken)
	f(broken, false, nil)
	f(nil, true, nil)
	f(broken, false, nil) // it is not read again
}
