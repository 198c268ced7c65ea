package jwt

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/proxy/auth/jose"
)

// fetcher asks an issuer for its keys. What comes back is bounded in size and time, and no redirect is followed: a server that is asked
// for keys says where they are in the document that it is for, or has them.
type fetcher struct {
	options KeysOptions
	client  *http.Client
}

func newFetcher(o KeysOptions) *fetcher {
	return &fetcher{options: o, client: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
			TLSHandshakeTimeout: fetchMax, MaxResponseHeaderBytes: 64 << 10, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// discoveryBytesMax bounds the document of an issuer.
const discoveryBytesMax = 256 << 10

// keys returns the issuer's keys, and for how long they hold.
func (f *fetcher) keys(ctx context.Context) (*jose.Set, time.Duration, error) {
	from := f.options.URL
	if from == "" {
		var err error
		if from, err = f.discover(ctx); err != nil {
			return nil, 0, err
		}
	}
	text, hold, err := f.get(ctx, from, jose.SetBytesMax)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot fetch the keys: %w", err)
	}
	set, err := jose.ParseSet(text)
	if err != nil {
		return nil, 0, err
	}
	return set, hold, nil
}

// discover asks the issuer where its keys are (OpenID Connect Discovery 1.0 section 4).
func (f *fetcher) discover(ctx context.Context) (string, error) {
	text, _, err := f.get(ctx, sourceName(f.options.Issuer)+"/.well-known/openid-configuration", discoveryBytesMax)
	if err != nil {
		return "", fmt.Errorf("cannot ask the issuer where its keys are: %w", err)
	}
	var document struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return "", errors.New("cannot ask the issuer where its keys are: its answer is not the document that it should be")
	}
	if document.Issuer != f.options.Issuer {
		// Section 4.3: one issuer must not speak for another.
		return "", fmt.Errorf("the issuer calls itself %.100q, the configuration %.100q", document.Issuer, f.options.Issuer)
	}
	if err := CheckURL(document.Keys); err != nil {
		return "", fmt.Errorf("where the issuer says that its keys are cannot be: %w", err)
	}
	return document.Keys, nil
}

// CheckURL wants a URL that keys can be trusted from: of https, or http on this machine.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("it is no URL of https")
	case u.User != nil:
		return errors.New("it holds a user name")
	case u.Fragment != "":
		return errors.New("it holds a fragment, which no server is asked for")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return errors.New("it is no URL of https")
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsLoopback() || u.Hostname() == "localhost" {
		return nil
	}
	return errors.New("http is for this machine alone: over a network anybody could answer with keys")
}

// get fetches a document of a bounded size, and returns for how long it holds.
func (f *fetcher) get(ctx context.Context, from string, bytesMax int64) ([]byte, time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, 0, errors.New("the URL cannot be asked for")
	}
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	request.Header.Set("User-Agent", "sluice")
	response, err := f.client.Do(request)
	if err != nil {
		return nil, 0, withoutURL(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("the answer is %d %s", response.StatusCode, http.StatusText(response.StatusCode))
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, bytesMax+1))
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("the answer broke off: %w", withoutURL(err))
	case int64(len(text)) > bytesMax:
		return nil, 0, fmt.Errorf("the answer is longer than %d bytes", bytesMax)
	}
	return text, holds(response.Header), nil
}

// withoutURL takes the URL out of an error: it may hold a secret, and who reads the log knows which one it is.
func withoutURL(err error) error {
	var about *url.Error
	if errors.As(err, &about) {
		return about.Err
	}
	return err
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
