package oauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// AnswerMax is how long an answer is waited for, all of it.
const AnswerMax = 10 * time.Second

// NewHTTP returns a client for servers that are asked about clients. It follows no redirect: a server that is asked says where its endpoints
// are in the document that it is for, or has them. roots are whom to trust as that server; nil: whom the system trusts. connections are how
// many are kept open for the next question; 0: none.
func NewHTTP(roots *x509.CertPool, connections int) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout: AnswerMax, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
			DisableKeepAlives: connections == 0, MaxIdleConnsPerHost: connections, IdleConnTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// StatusError says that the answer to a question is not 200.
type StatusError struct{ Status int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("the answer is %d %s", e.Status, http.StatusText(e.Status))
}

// Get fetches a document of a bounded size.
func Get(ctx context.Context, client *http.Client, from string, bytesMax int64) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, nil, errors.New("the URL cannot be asked for")
	}
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	request.Header.Set("User-Agent", "sluice")
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, withoutURL(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, nil, &StatusError{response.StatusCode}
	}
	text, err := readAll(response.Body, bytesMax)
	return text, response.Header, err
}

func readAll(body io.Reader, bytesMax int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(body, bytesMax+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer broke off: %w", withoutURL(err))
	case int64(len(text)) > bytesMax:
		return nil, fmt.Errorf("the answer is longer than %d bytes", bytesMax)
	}
	return text, nil
}

// withoutURL takes the URL out of an error: it may hold a secret, and who reads the log knows which one it is.
func withoutURL(err error) error {
	var about *url.Error
	if errors.As(err, &about) {
		return about.Err
	}
	return err
}

// CheckURL wants a URL whose answers can be trusted: of https, or http on this machine.
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
	return errors.New("http is for this machine alone: over a network anybody could answer in its place")
}

// ShownURL is a URL for people: what follows a question mark may be a secret.
func ShownURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
