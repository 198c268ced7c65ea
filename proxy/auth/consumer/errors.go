package consumer

import (
	"errors"

	"sluice/proxy"
)

// What clients are refused with. Nothing tells a secret that is unknown from one that has expired, nor a name from a password that is wrong.
// The log has the cause.
var (
	ErrNoKey = &proxy.Error{Status: 401, Code: "key_required", Side: proxy.ByClient, Challenge: keyChallenge,
		Detail: "An API key is needed here, and none was sent."}
	ErrKey = &proxy.Error{Status: 401, Code: "key_invalid", Side: proxy.ByClient, Challenge: keyChallenge,
		Detail: "The API key is not valid here, or no longer."}
	ErrKeys = &proxy.Error{Status: 400, Code: "key_ambiguous", Side: proxy.ByClient,
		Detail: "There is more than one API key in the request."}
	ErrNoPassword = &proxy.Error{Status: 401, Code: "password_required", Side: proxy.ByClient, Challenge: basicChallenge,
		Detail: "A name and a password are needed here, and none were sent."}
	ErrPassword = &proxy.Error{Status: 401, Code: "password_invalid", Side: proxy.ByClient, Challenge: basicChallenge,
		Detail: "The name or the password is not valid here, or no longer."}
	ErrPasswords = &proxy.Error{Status: 400, Code: "password_ambiguous", Side: proxy.ByClient,
		Detail: "There is more than one name and password in the request."}
	ErrBusy = &proxy.Error{Status: 503, Code: "passwords_busy", Side: proxy.ByGateway, RetryAfter: 2,
		Detail: "Too many passwords are being checked at the moment."}
	ErrClosed = &proxy.Error{Status: 503, Code: "consumers_unavailable", Side: proxy.ByGateway, RetryAfter: 5,
		Detail: "Nobody can be told apart here at the moment: the consumers cannot be read."}
	ErrInsufficient = &proxy.Error{Status: 403, Code: "insufficient_scope", Side: proxy.ByClient,
		Detail: "What was shown does not allow this."}
)

// The challenges are of RFC 9110 section 11.6.1. ApiKey is no registered scheme, but an answer 401 has to have one.
const (
	keyChallenge   = `ApiKey realm="sluice"`
	basicChallenge = `Basic realm="sluice", charset="UTF-8"`
)

// What has expired is refused with the same answers; only the log can tell.
var (
	errKeyExpired      = ErrKey.With(errors.New("the key has expired"))
	errPasswordExpired = ErrPassword.With(errors.New("the password has expired"))
)
