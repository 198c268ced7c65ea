package ocsp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	answerBytesMax = 32 << 10
	askingMax      = 10 * time.Second
	redirectsMax   = 3
)

// newClient asks without keeping connections: the next question is hours away.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true},
		Timeout:   askingMax,
		CheckRedirect: func(r *http.Request, before []*http.Request) error {
			if len(before) > redirectsMax {
				return fmt.Errorf("more than %d redirects", redirectsMax)
			}
			return nil
		},
	}
}

// ask returns what the certificate's responder says, which may be anything.
func ask(ctx context.Context, client *http.Client, s Subject) ([]byte, error) {
	question, err := ocsp.CreateRequest(s.Leaf, s.Issuer, nil)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, Responder(s.Leaf), bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/ocsp-request")
	r.Header.Set("User-Agent", "Sluice")
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the responder answers %s", response.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, answerBytesMax+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > answerBytesMax {
		return nil, fmt.Errorf("the answer has more than %d bytes", answerBytesMax)
	}
	return raw, nil
}
