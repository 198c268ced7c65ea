package proxy

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

type policyFunc func(x *Exchange, next *Chain) error

func (f policyFunc) Serve(x *Exchange, next *Chain) error { return f(x, next) }

type guardFunc func(x *Exchange) error

func (f guardFunc) Check(x *Exchange) error { return f(x) }

var answers = policyFunc(func(x *Exchange, _ *Chain) error {
	x.Response.Status = 200
	return nil
})

func TestChain(t *testing.T) {
	var trace []string
	passes := func(name string) Link {
		return Link{name, policyFunc(func(x *Exchange, next *Chain) error {
			trace = append(trace, name)
			err := next.Serve(x)
			trace = append(trace, "/"+name)
			return err
		})}
	}
	refuses := func(name string) Link {
		return Link{name, policyFunc(func(*Exchange, *Chain) error { return ErrDraining })}
	}
	hides := func(name string) Link {
		return Link{name, policyFunc(func(x *Exchange, next *Chain) error {
			if err := next.Serve(x); err != nil {
				return ErrInternal
			}
			return nil
		})}
	}
	f := func(links []Link, want error, failedAt string, wantTrace ...string) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		trace = nil
		c := NewChain(links...)
		if err := c.Serve(x); err != want || x.FailedAt != failedAt || !slices.Equal(trace, wantTrace) {
			t.Fatalf("got %v at %q after %q", err, x.FailedAt, trace)
		}
		var names []string
		for _, l := range links {
			names = append(names, l.Name)
		}
		if !slices.Equal(c.Names(), names) {
			t.Fatalf("%q", c.Names())
		}
	}
	f([]Link{{"last", answers}}, nil, "")
	f([]Link{passes("a"), passes("b"), {"last", answers}}, nil, "", "a", "b", "/b", "/a")
	f([]Link{passes("a"), refuses("b"), passes("c"), {"last", answers}}, ErrDraining, "b", "a", "/a")
	// It is the one that failed that is named, not those it failed through.
	f([]Link{hides("a"), passes("b"), refuses("c")}, ErrInternal, "c", "b", "/b")

	defer func() {
		if recover() == nil {
			t.Fatal("a chain without a policy was linked")
		}
	}()
	NewChain()
}

func TestGuarded(t *testing.T) {
	refusal := &Error{Status: 403, Code: "no"}
	f := func(m Mode, says error, want error, would string, refusals ...string) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		var told []string
		asked := false
		g := guardFunc(func(*Exchange) error { asked = true; return says })
		tell := func(_ *Exchange, reported bool) { told = append(told, fmt.Sprint(reported)) }
		err := NewChain(Link{"guard", Guarded("guard", g, m, tell)}, Link{"last", answers}).Serve(x)
		if err != want || x.WouldRefuse != would || !slices.Equal(told, refusals) || asked != (m != Off) || (x.Response.Status == 200) != (want == nil) {
			t.Fatalf("%s: got %v, would %q, told %q, asked %v", m, err, x.WouldRefuse, told, asked)
		}
		y := Acquire()
		defer y.Release()
		if err := NewChain(Link{"guard", Guarded("guard", g, m, nil)}, Link{"last", answers}).Serve(y); err != want {
			t.Fatalf("%s, untold: %v", m, err)
		}
	}
	f(Enforce, nil, nil, "")
	f(Enforce, refusal, refusal, "", "false")
	f(Report, nil, nil, "")
	f(Report, refusal, nil, "guard", "true")
	f(Off, refusal, nil, "")
}

// preparing is a guard that admits nobody and marks every request.
type preparing struct{ guardFunc }

func (preparing) Prepare(x *Exchange) { x.Request.Head.Del("X-User") }

// TestPrepare tries that what a guard does to every request is done in every mode, and before it judges.
func TestPrepare(t *testing.T) {
	for _, m := range []Mode{Enforce, Report, Off} {
		x := Acquire()
		x.Request.Head.AddString("X-User", "admin")
		g := preparing{func(x *Exchange) error {
			if x.Request.Head.Has("X-User") {
				t.Errorf("%s: it has judged first", m)
			}
			return ErrDraining
		}}
		err := NewChain(Link{"guard", Guarded("guard", g, m, nil)}, Link{"last", answers}).Serve(x)
		if x.Request.Head.Has("X-User") || (err == nil) != (m != Enforce) {
			t.Errorf("%s: got %v, and X-User is %q", m, err, x.Request.Head.Get("X-User"))
		}
		x.Release()
	}
}

func TestAsError(t *testing.T) {
	own := ErrTimeout.With(errors.New("cause"))
	f := func(err error, code string, status int) {
		t.Helper()
		if e := AsError(err); e.Code != code || e.Status != status {
			t.Fatalf("%v: %+v", err, e)
		}
	}
	f(own, "timeout", 504)
	f(fmt.Errorf("wrapped: %w", own), "timeout", 504)
	f(errors.New("anything"), "internal", 500)
	if ErrTimeout.Cause != nil || own.Cause == nil || errors.Unwrap(own) != own.Cause {
		t.Fatal("With changed the error that everybody shares")
	}
}

// ownAnswer is a no that is an answer.
type ownAnswer struct{ err error }

func (ownAnswer) Error() string { return "no" }
func (a ownAnswer) Answer(x *Exchange) error {
	x.Response.Status = 302
	return a.err
}

// TestGuardAnswers: a guard may refuse with an answer of its own, which nobody is told who is admitted.
func TestGuardAnswers(t *testing.T) {
	f := func(mode Mode, err, want error, status int, failedAt, wouldRefuse string) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		g := Guarded("login", guardFunc(func(*Exchange) error { return ownAnswer{err} }), mode, nil)
		if got := NewChain(Link{"login", g}, Link{"answer", answers}).Serve(x); got != want {
			t.Errorf("%s: %v", mode, got)
		}
		if x.Response.Status != status || x.FailedAt != failedAt || x.WouldRefuse != wouldRefuse {
			t.Errorf("%s: status %d, failed at %q, would refuse %q", mode, x.Response.Status, x.FailedAt, x.WouldRefuse)
		}
	}
	f(Enforce, nil, nil, 302, "login", "")
	f(Enforce, ErrDraining, ErrDraining, 302, "login", "")
	f(Report, nil, nil, 200, "", "login")
	f(Off, nil, nil, 200, "", "")
}
