package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Method is how a client proves to the provider who it is (RFC 6749 section 2.3.1, OpenID Connect Core 1.0 section 9).
type Method string

// The methods.
const (
	AnyMethod  Method = "" // Basic, unless the provider says that it takes Post alone; without a secret None
	Basic      Method = "client_secret_basic"
	Post       Method = "client_secret_post"
	PrivateKey Method = "private_key_jwt"
	None       Method = "none"
)

// Credentials are who the gateway is to a provider.
type Credentials struct {
	ID, Secret string
	Method     Method
	Key        *SigningKey // of PrivateKey
}

// Client posts forms to the endpoints of a provider. All methods are safe for concurrent use.
type Client struct {
	provider    *Provider
	credentials Credentials

	mu       sync.Mutex
	coolTill time.Time
	coolFor  time.Duration
	status   Status
}

// NewClient returns a client of a provider, which others start and stop.
func NewClient(p *Provider, c Credentials) *Client {
	return &Client{provider: p, credentials: c, status: Status{Source: p.Status().Source}}
}

// Apart returns a client with the same credentials that goes by its own questions alone: it asks a provider that c leaves alone for a moment.
func (c *Client) Apart() *Client { return NewClient(c.provider, c.credentials) }

// Provider is whom the client asks.
func (c *Client) Provider() *Provider { return c.provider }

// ID is the client's name.
func (c *Client) ID() string { return c.credentials.ID }

// Status says how asking goes.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Errors of questions, beside those of the network.
var (
	ErrUnknown = errors.New("where the provider's endpoints are is not known yet")
	ErrNone    = errors.New("the provider has no such endpoint")
	// ErrCooling says that the provider is not asked, as it has not answered a moment ago.
	ErrCooling = errors.New("the provider has not answered a moment ago, and is left alone for now")
)

// Refusal is what a provider answers to a form that it does not like (RFC 6749 section 5.2).
type Refusal struct {
	Status      int
	Code        string // invalid_grant; empty: the answer is none of that RFC
	Description string // for people, without anything secret that was sent
}

func (r *Refusal) Error() string {
	text := fmt.Sprintf("the provider answers %d", r.Status)
	if r.Code != "" {
		text += " " + r.Code
	}
	if r.Description != "" {
		text += ": " + r.Description
	}
	return text
}

const (
	// answerBytesMax bounds the answer to a form.
	answerBytesMax = 256 << 10
	// A provider that does not answer is left alone for a moment, so that requests do not wait one after the other.
	coolMin = 250 * time.Millisecond
	coolMax = 5 * time.Second
)

// Endpoint is one of the things that a provider is asked for.
type Endpoint func(*Metadata) (url string, methods []string)

// The endpoints that forms are posted to.
var (
	TokenEndpoint         Endpoint = func(m *Metadata) (string, []string) { return m.Token, m.TokenAuth }
	IntrospectionEndpoint Endpoint = func(m *Metadata) (string, []string) {
		if m.IntrospectionAuth == nil {
			return m.Introspection, m.TokenAuth
		}
		return m.Introspection, m.IntrospectionAuth
	}
)

// Post sends a form and returns the body of the answer, which is 200 then. Everything else is an error: a *Refusal if the provider has
// answered.
func (c *Client) Post(ctx context.Context, to Endpoint, form url.Values) ([]byte, error) {
	m := c.provider.Metadata()
	if m == nil || c.provider.options.Idle {
		return nil, ErrUnknown
	}
	where, methods := to(m)
	if where == "" {
		return nil, ErrNone
	}
	if c.cooling() {
		return nil, ErrCooling
	}
	ctx, cancel := context.WithTimeout(ctx, AnswerMax)
	defer cancel()
	request, sent, err := c.request(ctx, where, methods, form)
	if err != nil {
		return nil, err
	}
	text, err := c.send(request, sent)
	if ctx.Err() == context.Canceled {
		return nil, err // nobody wants the answer: that says nothing about the provider
	}
	c.learn(err)
	return text, err
}

// request makes the request, and returns the whole form that it holds, credentials included.
func (c *Client) request(ctx context.Context, where string, methods []string, form url.Values) (*http.Request, url.Values, error) {
	sent := url.Values{}
	for name, values := range form {
		sent[name] = values
	}
	method := c.method(methods)
	switch method {
	case Post:
		sent.Set("client_id", c.credentials.ID)
		sent.Set("client_secret", c.credentials.Secret)
	case PrivateKey:
		assertion, err := c.credentials.Key.assertion(c.credentials.ID, where, time.Now())
		if err != nil {
			return nil, nil, err
		}
		sent.Set("client_id", c.credentials.ID)
		sent.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		sent.Set("client_assertion", assertion)
	case None:
		sent.Set("client_id", c.credentials.ID)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, where, strings.NewReader(sent.Encode()))
	if err != nil {
		return nil, nil, errors.New("the URL of the endpoint cannot be asked for")
	}
	if method == Basic { // RFC 6749 section 2.3.1: both are encoded as in a form first
		request.SetBasicAuth(url.QueryEscape(c.credentials.ID), url.QueryEscape(c.credentials.Secret))
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "sluice")
	return request, sent, nil
}

// method is how the client proves who it is, to a provider that takes any of methods; nil: it has not said.
func (c *Client) method(methods []string) Method {
	switch {
	case c.credentials.Method != AnyMethod:
		return c.credentials.Method
	case c.credentials.Key != nil:
		return PrivateKey
	case c.credentials.Secret == "":
		return None
	case !slices.Contains(methods, string(Basic)) && slices.Contains(methods, string(Post)):
		return Post
	}
	return Basic
}

func (c *Client) send(request *http.Request, sent url.Values) ([]byte, error) {
	response, err := c.provider.http.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer response.Body.Close()
	text, err := readAll(response.Body, answerBytesMax)
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode != http.StatusOK:
		return nil, c.refusal(response.StatusCode, text, c.secrets(request, sent))
	}
	return text, nil
}

// secrets are what an error must not repeat, the longest first, so that none is torn by another that it holds: all that was sent but the
// client's name, and what the client proves that it is with, as it is and as it was written.
func (c *Client) secrets(request *http.Request, sent url.Values) []string {
	var all []string
	for name, values := range sent {
		if name == "client_id" {
			continue
		}
		for _, v := range values {
			if len(v) >= 4 {
				all = append(all, v)
			}
		}
	}
	if secret := c.credentials.Secret; secret != "" {
		all = append(all, secret, url.QueryEscape(secret))
	}
	if _, basic, ok := strings.Cut(request.Header.Get("Authorization"), " "); ok {
		all = append(all, basic)
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}

// refusal reads an answer that is none. What the provider says may repeat what was sent, and is for the log: no secret gets through.
func (c *Client) refusal(status int, text []byte, secrets []string) *Refusal {
	var said struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	r := &Refusal{Status: status}
	if json.Unmarshal(text, &said) != nil {
		return r
	}
	clean := func(s string, max int) string {
		for _, secret := range secrets {
			s = strings.ReplaceAll(s, secret, "***")
		}
		s = strings.Map(func(c rune) rune {
			if c < ' ' || c > '~' {
				return -1
			}
			return c
		}, s)
		return s[:min(len(s), max)]
	}
	r.Code = clean(said.Error, 64)
	if r.Code == "" || strings.ContainsAny(r.Code, " \"\\") {
		r.Code = ""
	}
	r.Description = clean(said.Description, 200)
	return r
}

func (c *Client) cooling() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Before(c.coolTill)
}

// learn counts, and lets a provider cool down that has not answered, or says that it cannot. One that has refused is there: what somebody has
// sent must not close the way for others.
func (c *Client) learn(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Asked++
	var refusal *Refusal
	switch answered := errors.As(err, &refusal); {
	case err == nil:
		c.coolFor, c.status.Problem = 0, ""
	case answered && refusal.Status != http.StatusTooManyRequests && refusal.Status != http.StatusServiceUnavailable:
		c.status.Failed++
		c.coolFor, c.status.Problem = 0, err.Error()
	default:
		c.status.Failed++
		c.status.Problem = err.Error()
		c.coolFor = min(max(2*c.coolFor, coolMin), coolMax)
		c.coolTill = time.Now().Add(c.coolFor)
	}
}

// Token is what the token endpoint hands out (RFC 6749 section 5.1).
type Token struct {
	Access, Kind, Refresh, ID, Scope string
	Expires                          time.Duration // from now on; 0: it was not said
}

// Token asks the token endpoint.
func (c *Client) Token(ctx context.Context, form url.Values) (*Token, error) {
	text, err := c.Post(ctx, TokenEndpoint, form)
	if err != nil {
		return nil, err
	}
	return parseToken(text)
}

// expiresMax bounds what a provider says about how long a token lasts.
const expiresMax = 366 * 24 * time.Hour

func parseToken(text []byte) (*Token, error) {
	var said struct {
		Access  string          `json:"access_token"`
		Kind    string          `json:"token_type"`
		Refresh string          `json:"refresh_token"`
		ID      string          `json:"id_token"`
		Scope   string          `json:"scope"`
		Expires json.RawMessage `json:"expires_in"`
	}
	if json.Unmarshal(text, &said) != nil {
		return nil, errors.New("the answer of the token endpoint is not the object that it should be")
	}
	if said.Access == "" {
		return nil, errors.New("the answer of the token endpoint has no access_token")
	}
	t := &Token{Access: said.Access, Kind: said.Kind, Refresh: said.Refresh, ID: said.ID, Scope: said.Scope}
	if number := string(bytes.Trim(said.Expires, `"`)); number != "" && number != "null" { // some write it as text
		seconds, err := strconv.ParseFloat(number, 64)
		if err != nil || !(seconds >= 0) {
			return nil, errors.New("the answer of the token endpoint says not in seconds when the token expires")
		}
		t.Expires = time.Duration(min(seconds, expiresMax.Seconds()) * float64(time.Second))
	}
	return t, nil
}
