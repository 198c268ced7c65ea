package openloop

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// Request is what is sent each time.
type Request struct {
	URL      *url.URL // http or https
	Method   string
	Fields   [][2]string // names and values; Host is one, too
	Body     []byte
	Connect  string // host:port to connect to instead of the URL's
	Insecure bool   // any certificate is accepted
}

// answerMax bounds an answer. Larger ones are a failure.
const answerMax = 64 << 20

// Client makes a request again and again over HTTP/1.1, each worker with memory of its own. Connections are kept, and there are
// as many as there were requests at the same time.
type Client struct {
	host     *fasthttp.HostClient
	requests []fasthttp.Request
	answers  []fasthttp.Response
}

// NewClient makes a client for so many workers.
func NewClient(r Request, workers int) *Client {
	address := r.Connect
	if address == "" {
		port := r.URL.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[r.URL.Scheme]
		}
		address = net.JoinHostPort(r.URL.Hostname(), port)
	}
	c := &Client{requests: make([]fasthttp.Request, workers), answers: make([]fasthttp.Response, workers)}
	c.host = &fasthttp.HostClient{
		Addr:  address,
		IsTLS: r.URL.Scheme == "https",
		TLSConfig: &tls.Config{
			ServerName: r.URL.Hostname(), InsecureSkipVerify: r.Insecure,
			ClientSessionCache: tls.NewLRUClientSessionCache(workers),
		},
		DialTimeout:              fasthttp.DialDualStackTimeout,
		MaxConns:                 workers,
		MaxResponseBodySize:      answerMax,
		NoDefaultUserAgentHeader: true,
		DisablePathNormalizing:   true,
		// A request that is sent again behind our back would hide what became of the first.
		RetryIfErr: func(*fasthttp.Request, int, error) (bool, bool) { return false, false },
	}
	for i := range c.requests {
		q := &c.requests[i]
		q.Header.DisableNormalizing()
		q.SetRequestURI(r.URL.String())
		q.Header.SetMethod(r.Method)
		q.SetBodyRaw(r.Body)
		for _, field := range r.Fields {
			if strings.EqualFold(field[0], "Host") {
				q.UseHostHeader = true
				q.Header.SetHost(field[1])
				continue
			}
			q.Header.Add(field[0], field[1])
		}
		if len(q.Header.UserAgent()) == 0 {
			q.Header.SetUserAgent("sluice-loadtest")
		}
	}
	return c
}

// Do makes the request as one of the workers. It fits Options.
func (c *Client) Do(worker int, deadline time.Time) Outcome {
	answer := &c.answers[worker]
	if err := c.host.DoDeadline(&c.requests[worker], answer, deadline); err != nil {
		return failure(err)
	}
	if status := answer.StatusCode(); status >= 400 {
		return Outcome{Failure: fmt.Sprintf("status %d", status), Err: fmt.Errorf("%.200q", answer.Body())}
	}
	return Outcome{}
}

// Close closes the connections.
func (c *Client) Close() { c.host.CloseIdleConnections() }

// failure sorts errors by what an operator would do about them.
func failure(err error) Outcome {
	o := Outcome{Failure: "other errors", Err: err}
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		o.Failure, o.Own = "the generator has no file descriptor left", true
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		o.Failure, o.Own = "the generator has no local port left", true
	case errors.Is(err, fasthttp.ErrNoFreeConns):
		o.Failure, o.Own = "the generator has no connection left", true
	case errors.As(err, &dns):
		o.Failure = "name not found"
	case isTLS(err):
		o.Failure = "TLS failed"
	case errors.Is(err, syscall.ECONNREFUSED):
		o.Failure = "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		o.Failure = "connection reset"
	case errors.Is(err, fasthttp.ErrConnectionClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		o.Failure = "connection closed"
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		o.Failure = "answer too large"
	case errors.Is(err, fasthttp.ErrDialTimeout), errors.As(err, &timeout) && timeout.Timeout():
		o.Failure, o.Unanswered = "timeout", true
	}
	return o
}

func isTLS(err error) bool {
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	return errors.As(err, &certificate) || errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &record) || errors.As(err, &alert)
}
