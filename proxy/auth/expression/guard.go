package expression

import (
	"errors"
	"strings"
	"sync/atomic"

	"cel.dev/cel-go/common/types"

	"sluice/proxy"
)

// ErrRefused refuses what the expression does not admit.
var ErrRefused = &proxy.Error{Status: 403, Code: "not_authorized", Side: proxy.ByClient, Detail: "This request is not allowed."}

// Those that could not be decided look the same from outside; the log has the cause. It is one of these: a message of CEL may hold what a
// client has sent.
var (
	errMissing = failing("the expression asks for something that is not there")
	errRepeats = failing("the expression asks for something that is there more than once")
	errParts   = failing("the expression asks for a parameter beside a semicolon, which ends one to some services only")
	errKind    = failing("the expression compares or combines what does not go together")
	errCost    = failing("the expression costs more than one may")
	errFailed  = failing("the expression has failed")
)

func failing(cause string) *proxy.Error { return ErrRefused.With(errors.New(cause)) }

// Guard admits requests that an expression is true for.
type Guard struct {
	program *Program
	counts  *Counts
}

// Counts are of requests that were not admitted. They may be shared by guards.
type Counts struct{ Refused, Failed atomic.Uint64 }

// New returns a guard.
func New(p *Program, c *Counts) *Guard { return &Guard{p, c} }

// Check returns nil, or an error 403. An evaluation that fails refuses.
func (g *Guard) Check(x *proxy.Exchange) error {
	yes, err := g.program.eval(x)
	switch {
	case err != nil:
		g.counts.Failed.Add(1)
		return err
	case !yes:
		g.counts.Refused.Add(1)
		return ErrRefused
	}
	return nil
}

func (p *Program) eval(x *proxy.Exchange) (yes bool, refused *proxy.Error) {
	v := pool.Get().(*values)
	v.x = x
	out, _, err := p.program.Eval(v)
	v.x = nil
	pool.Put(v)
	if err != nil {
		return false, causeOf(err)
	}
	yes, ok := out.Value().(bool)
	if !ok {
		return false, errKind
	}
	return yes, nil
}

// causeOf tells apart what evaluations fail from.
func causeOf(err error) *proxy.Error {
	var e *types.Err
	if errors.As(err, &e) {
		switch e.Error() {
		case errTwice.(*types.Err).Error():
			return errRepeats
		case errUnsure.(*types.Err).Error():
			return errParts
		case errNobody.(*types.Err).Error(), errNoCertificate.(*types.Err).Error():
			return errMissing
		}
	}
	switch text := err.Error(); {
	case strings.HasPrefix(text, "no such key"), strings.HasPrefix(text, "no such attribute"), strings.HasPrefix(text, "index out of bounds"):
		return errMissing
	case strings.HasPrefix(text, "no such overload"):
		return errKind
	case strings.Contains(text, "cost limit"):
		return errCost
	}
	return errFailed
}
