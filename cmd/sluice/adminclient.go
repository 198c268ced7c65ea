package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// adminClient asks the admin listener of a running gateway. What the other side sends is bounded and, where it is shown,
// freed of control characters: it may be something else that listens there.
type adminClient struct {
	shown string // the address as the user gave it
	base  string // of URLs
	token string
	http  *http.Client
}

const (
	adminDialMax    = 5 * time.Second
	adminAnswerMax  = 30 * time.Second // beyond the time that a profile takes by itself
	adminJSONMax    = 4 << 20
	adminBodyMax    = 128 << 20
	adminTokenMax   = 4 << 10
	adminProblemMax = 64 << 10
)

// adminTokenVariable holds the token where no file does. There is no flag for the token itself: others see the command
// line of a process.
const adminTokenVariable = "SLUICE_ADMIN_TOKEN"

// reachAdmin returns the client for a command whose flags name the listener and the file with its token, and warns of a token that others can see.
func reachAdmin(t *terminal, address, tokenFile string) (*adminClient, error) {
	token, err := readToken(tokenFile)
	if err != nil {
		return nil, err
	}
	client, err := newAdminClient(address, token)
	if err != nil {
		return nil, err
	}
	if client.exposed() {
		t.note("Careful: the token crosses the network as plain text; --admin https://... or an ssh tunnel hides it.")
	}
	return client, nil
}

// newAdminClient takes host:port, http://host:port, https://host:port or unix:/path.
func newAdminClient(address, token string) (*adminClient, error) {
	c := &adminClient{shown: address, token: token}
	dialer := &net.Dialer{Timeout: adminDialMax}
	// No proxy of the environment: it would see the token. No redirect either, see below.
	t := &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: adminDialMax, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		c.base = "http://localhost"
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
	} else {
		if !strings.Contains(address, "://") {
			address = "http://" + address
		}
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Port() == "" && u.Scheme == "http" || u.Hostname() == "" ||
			u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, errors.New("--admin wants host:port, http://host:port, https://host or unix:/path")
		}
		c.base = u.Scheme + "://" + u.Host
	}
	c.http = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// exposed reports whether the token would cross a network that others can read.
func (c *adminClient) exposed() bool {
	u, err := url.Parse(c.base)
	if err != nil || c.token == "" || u.Scheme != "http" || u.Hostname() == "localhost" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err != nil || !ip.IsLoopback()
}

// readToken reads the token from a file, the standard input, or the environment.
func readToken(file string) (string, error) {
	if file == "" {
		return strings.TrimSpace(os.Getenv(adminTokenVariable)), nil
	}
	f := os.Stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("cannot read the token: %w", err)
		}
		defer opened.Close()
		f = opened
	}
	text, err := io.ReadAll(io.LimitReader(f, adminTokenMax+1))
	token := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot read the token: %w", err)
	case token == "":
		return "", fmt.Errorf("there is no token in %s", file)
	case len(text) > adminTokenMax || strings.ContainsFunc(token, unicode.IsControl):
		return "", fmt.Errorf("what is in %s is no token", file) // and is not shown
	}
	return token, nil
}

// busy is the error of a gateway that takes another profile.
type busy struct{ after time.Duration }

func (b *busy) Error() string {
	return fmt.Sprintf("another profile is being taken; try again in %v", b.after.Round(time.Second))
}

// errNotFound is for a path that the other side does not have.
var errNotFound = errors.New("not found")

// get copies an answer to w. took is how long the other side needs by itself.
func (c *adminClient) get(ctx context.Context, path string, took time.Duration, bytesMax int64, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, took+adminAnswerMax)
	defer cancel()
	return c.ask(ctx, http.MethodGet, path, nil, bytesMax, w)
}

// getJSON reads an answer into v.
func (c *adminClient) getJSON(ctx context.Context, path string, v any) error {
	var b bytes.Buffer
	if err := c.get(ctx, path, 0, adminJSONMax, &b); err != nil {
		return err
	}
	return c.read(b.Bytes(), v)
}

// sendJSON sends body, if there is one, and reads the answer into v, if that is wanted.
func (c *adminClient) sendJSON(ctx context.Context, method, path string, body, v any) error {
	ctx, cancel := context.WithTimeout(ctx, adminAnswerMax)
	defer cancel()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("cannot ask %s: %w", c.shown, err)
		}
		content = bytes.NewReader(text)
	}
	var b bytes.Buffer
	if err := c.ask(ctx, method, path, content, adminJSONMax, &b); err != nil || v == nil {
		return err
	}
	return c.read(b.Bytes(), v)
}

// ask copies the answer to a request to w, if it is a good one.
func (c *adminClient) ask(ctx context.Context, method, path string, content io.Reader, bytesMax int64, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return fmt.Errorf("cannot ask %s: %w", c.shown, err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 || method == http.MethodGet && res.StatusCode != http.StatusOK {
		return c.refused(res)
	}
	n, err := io.Copy(w, io.LimitReader(res.Body, bytesMax+1))
	switch {
	case err != nil:
		return fmt.Errorf("the answer of %s broke off after %d bytes: %w", c.shown, n, err)
	case n > bytesMax:
		return fmt.Errorf("the answer of %s is larger than %d bytes", c.shown, bytesMax)
	}
	return nil
}

// read reads an answer in JSON into v.
func (c *adminClient) read(text []byte, v any) error {
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("the answer of %s is not what an admin listener of Sluice sends: %w", c.shown, err)
	}
	return nil
}

// unreachable says what can be done about it.
func (c *adminClient) unreachable(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // which does not repeat the URL
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("it does not answer in time")
	}
	return fmt.Errorf("cannot reach the admin listener at %s: %w; --admin names another address", c.shown, err)
}

// refused turns an answer that is none into an error.
func (c *adminClient) refused(res *http.Response) error {
	var p struct{ Type, Detail string }
	text, err := io.ReadAll(io.LimitReader(res.Body, adminProblemMax))
	ours := err == nil && json.Unmarshal(text, &p) == nil && strings.HasPrefix(p.Type, "urn:sluice:problem:")
	detail := strings.TrimSuffix(printable(p.Detail), ".")
	switch {
	case !ours && res.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s has no such page, and may be no admin listener of Sluice: %w", c.shown, errNotFound)
	case !ours:
		return fmt.Errorf("%s answers %d, and may be no admin listener of Sluice", c.shown, res.StatusCode)
	case res.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s: %s: %w", c.shown, detail, errNotFound)
	case res.StatusCode == http.StatusUnauthorized && c.token == "":
		return fmt.Errorf("the admin listener at %s wants a token: --token-file FILE, or %s in the environment", c.shown, adminTokenVariable)
	case res.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("the admin listener at %s does not take this token", c.shown)
	case strings.HasSuffix(p.Type, ":profile_running"):
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if err != nil || seconds < 1 {
			seconds = 10
		}
		return &busy{after: time.Duration(min(seconds, 3600)) * time.Second}
	}
	return fmt.Errorf("the admin listener at %s answers %d: %s", c.shown, res.StatusCode, cmp.Or(detail, "no reason"))
}

// printable makes a text of others fit for a terminal.
func printable(s string) string {
	const bytesMax = 500
	if len(s) > bytesMax {
		s = s[:bytesMax] + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
