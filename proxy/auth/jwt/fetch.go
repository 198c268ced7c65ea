package jwt

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/proxy/auth/jose"
	"sluice/proxy/auth/oauth"
)

// fetcher asks an issuer for its keys. What comes back is bounded in size and time, and no redirect is followed: a server that is asked
// for keys says where they are in the document that it is for, or has them.
type fetcher struct {
	options KeysOptions
	client  *http.Client
}

func newFetcher(o KeysOptions) *fetcher {
	return &fetcher{options: o, client: oauth.NewHTTP(o.RootCAs, 0)}
}

// keys returns the issuer's keys, and for how long they hold.
func (f *fetcher) keys(ctx context.Context) (*jose.Set, time.Duration, error) {
	from := f.options.URL
	if from == "" {
		var err error
		if from, err = f.discover(ctx); err != nil {
			return nil, 0, err
		}
	}
	text, fields, err := oauth.Get(ctx, f.client, from, jose.SetBytesMax)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot fetch the keys: %w", err)
	}
	set, err := jose.ParseSet(text)
	if err != nil {
		return nil, 0, err
	}
	return set, holds(fields), nil
}

// discover asks the issuer where its keys are (OpenID Connect Discovery 1.0 section 4).
func (f *fetcher) discover(ctx context.Context) (string, error) {
	m, err := oauth.Discover(ctx, f.client, f.options.Issuer)
	if err != nil {
		return "", fmt.Errorf("cannot ask the issuer where its keys are: %w", err)
	}
	if err := oauth.CheckURL(m.Keys); err != nil {
		return "", fmt.Errorf("where the issuer says that its keys are cannot be: %w", err)
	}
	return m.Keys, nil
}

// holds reads for how long an answer may be kept (RFC 9111 section 5.2.2.1), less the time that it was on its way already.
func holds(h http.Header) time.Duration {
	for _, field := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(field, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			if !strings.EqualFold(name, "max-age") {
				continue
			}
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				age, err := strconv.ParseUint(h.Get("Age"), 10, 31)
				if err != nil || age > seconds {
					age = 0
				}
				return time.Duration(seconds-age) * time.Second
			}
		}
	}
	return refreshDefault
}
