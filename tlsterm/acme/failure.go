package acme

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// Reasons are why orders fail, as metrics tell them.
var Reasons = [...]string{"account", "challenge", "dns", "caa", "rate_limited", "rejected", "server", "storage", "other"}

const (
	becauseAccount = iota
	becauseChallenge
	becauseDNS
	becauseCAA
	becauseRate
	becauseRejected
	becauseServer
	becauseStorage
	becauseOther
)

// Counts are what became of orders. The zero value is ready to use.
type Counts struct {
	Issued  atomic.Uint64 // for hosts that had no certificate
	Renewed atomic.Uint64
	Failed  [len(Reasons)]atomic.Uint64
}

var problems = map[string]int{
	acme.ProblemTypeAccountDoesNotExist:     becauseAccount,
	acme.ProblemTypeExternalAccountRequired: becauseAccount,
	acme.ProblemTypeUserActionRequired:      becauseAccount,
	acme.ProblemTypeInvalidContact:          becauseAccount,
	acme.ProblemTypeUnsupportedContact:      becauseAccount,
	acme.ProblemTypeBadPublicKey:            becauseAccount,
	acme.ProblemTypeBadSignatureAlgorithm:   becauseAccount,
	acme.ProblemTypeUnauthorized:            becauseChallenge,
	acme.ProblemTypeIncorrectResponse:       becauseChallenge,
	acme.ProblemTypeConnection:              becauseChallenge,
	acme.ProblemTypeTLS:                     becauseChallenge,
	acme.ProblemTypeDNS:                     becauseDNS,
	acme.ProblemTypeCAA:                     becauseCAA,
	acme.ProblemTypeRateLimited:             becauseRate,
	acme.ProblemTypeRejectedIdentifier:      becauseRejected,
	acme.ProblemTypeUnsupportedIdentifier:   becauseRejected,
	acme.ProblemTypeBadCSR:                  becauseRejected,
	acme.ProblemTypeServerInternal:          becauseServer,
}

// accountError is that of registering: whatever the authority does not like then is about the account.
type accountError struct{ error }

func (e accountError) Unwrap() error { return e.error }

// storageError is one of our folder.
type storageError struct{ error }

func (e storageError) Unwrap() error { return e.error }

// because says which of Reasons an error is.
func because(err error) int {
	if _, ok := errors.AsType[storageError](err); ok {
		return becauseStorage
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return becauseStorage
	}
	if _, ok := errors.AsType[*os.LinkError](err); ok {
		return becauseStorage
	}
	_, registering := errors.AsType[accountError](err)
	problem, ok := errors.AsType[acme.Problem](err)
	if !ok {
		if pointer, is := errors.AsType[*acme.Problem](err); is && pointer != nil {
			problem, ok = *pointer, true
		}
	}
	if ok {
		reason, known := problems[problem.Type]
		switch {
		case known && (!registering || reason == becauseRate || reason == becauseServer):
			return reason
		case registering:
			return becauseAccount
		case problem.Status >= 500:
			return becauseServer
		}
		return becauseOther
	}
	if isNetwork(err) {
		return becauseServer
	}
	return becauseOther
}

// isNetwork tells that the authority was not reached, or did not say what it should.
func isNetwork(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var timeout interface{ Timeout() bool } // of net.Error, url.Error and those of TLS
	return errors.As(err, &timeout)
}

// pauses after so many failures in a row. Let's Encrypt allows for five failed validations of a host in an hour.
var pauses = [...]time.Duration{time.Minute, 10 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour}

// pauseAfter is a tenth longer or shorter at random, so that hosts that failed together do not come back together.
func pauseAfter(failures int) time.Duration {
	pause := pauses[min(max(failures, 1), len(pauses))-1]
	return pause + time.Duration((rand.Float64()-0.5)*0.2*float64(pause))
}
