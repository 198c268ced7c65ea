package signature

import (
	"errors"

	"sluice/proxy"
)

// What clients are refused with. Nothing tells a key that is unknown from a signature that is wrong; the log has the cause.
var (
	ErrNone = &proxy.Error{Status: 401, Code: "signature_required", Side: proxy.ByClient, Challenge: challenge,
		Detail: "The request has to be signed (RFC 9421), and is not."}
	ErrMalformed = &proxy.Error{Status: 400, Code: "signature_malformed", Side: proxy.ByClient,
		Detail: "The fields Signature-Input and Signature are not what RFC 9421 says, or use something of it that is not supported here."}
	ErrInvalid = &proxy.Error{Status: 401, Code: "signature_invalid", Side: proxy.ByClient, Challenge: challenge,
		Detail: "The signature is not valid here, or no longer."}
	ErrUncovered = &proxy.Error{Status: 401, Code: "signature_insufficient", Side: proxy.ByClient, Challenge: challenge,
		Detail: "The signature does not cover all that it has to: see Accept-Signature."}
	ErrUnsignedBody = &proxy.Error{Status: 401, Code: "signature_insufficient", Side: proxy.ByClient, Challenge: challenge,
		Detail: "The request has a body, and the signature does not cover its Content-Digest."}
	ErrReplayed = &proxy.Error{Status: 401, Code: "signature_replayed", Side: proxy.ByClient, Challenge: challenge,
		Detail: "A request with this nonce was here already."}
	ErrNonces = &proxy.Error{Status: 503, Code: "signature_nonces_full", Side: proxy.ByGateway, RetryAfter: 10,
		Detail: "Too many signed requests come for all of their nonces to be remembered."}
	ErrNonceShare = &proxy.Error{Status: 429, Code: "signature_nonces_exceeded", Side: proxy.ByClient, RetryAfter: 10,
		Detail: "You sign more requests than nonces of yours are remembered."}
	ErrDigest = &proxy.Error{Status: 400, Code: "digest_mismatch", Side: proxy.ByClient,
		Detail: "The body is not what its Content-Digest says, or that has neither sha-256 nor sha-512."}
	ErrInsufficient = &proxy.Error{Status: 403, Code: "insufficient_scope", Side: proxy.ByClient,
		Detail: "Who has signed may not do this."}
)

// challenge is no registered scheme, but an answer 401 has to have one (RFC 9110 section 11.6.1). Accept-Signature says the rest.
const challenge = `Signature realm="sluice"`

// The causes of ErrInvalid.
var (
	errUnknown   = ErrInvalid.With(errors.New("the key is unknown, or the signature is wrong"))
	errAbsent    = ErrInvalid.With(errors.New("something that is signed is not in the request"))
	errAlgorithm = ErrInvalid.With(errors.New("the algorithm is not that of the key"))
	errNoTime    = ErrInvalid.With(errors.New("it does not say when it was made"))
	errOld       = ErrInvalid.With(errors.New("it was made too long ago"))
	errEarly     = ErrInvalid.With(errors.New("it was made in the future"))
	errExpired   = ErrInvalid.With(errors.New("it has expired"))
	errNoKeyID   = ErrInvalid.With(errors.New("it names no key"))
	errTag       = ErrInvalid.With(errors.New("its tag is another"))
	errNoNonce   = ErrInvalid.With(errors.New("it has no nonce"))
	errKeyEnded  = ErrInvalid.With(errors.New("the key has expired"))
	errMany      = ErrMalformed.With(errors.New("there are several signatures, and no label says which one counts"))
	errNoLabel   = ErrNone.With(errors.New("there are signatures, none of them of the label"))
)
