package servicetoken

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/oauth"
	"sluice/proxy/wire"
)

// provider answers in the place of one, without a network: what a test wants, after a while.
type provider struct {
	mu     sync.Mutex
	asked  int
	forms  []url.Values
	life   time.Duration
	takes  time.Duration
	broken error
}

func (p *provider) ask(ctx context.Context, form url.Values) (*oauth.Token, error) {
	p.mu.Lock()
	p.asked++
	n, life, takes, broken := p.asked, p.life, p.takes, p.broken
	p.forms = append(p.forms, form)
	p.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if broken != nil {
		return nil, broken
	}
	access := fmt.Sprint("token-", n)
	if subject := form.Get("subject_token"); subject != "" {
		access += "-for-" + subject
	}
	return &oauth.Token{Access: access, Kind: "bearer", Expires: life}, nil
}

func (p *provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// of counts the questions about a token.
func (p *provider) of(subject string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, form := range p.forms {
		if form.Get("subject_token") == subject {
			n++
		}
	}
	return n
}

var errDown = errors.New("it is down")

func client() *oauth.Client {
	p := oauth.NewProvider(oauth.ProviderOptions{Known: oauth.Metadata{Token: "https://id.example/token"}})
	return oauth.NewClient(p, oauth.Credentials{ID: "gateway", Secret: "planted-secret"})
}

// service answers with a status, and says what it was shown.
type service struct{ status int }

func (s service) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	x.Response.Status = s.status
	x.Response.Head.Add("Shown", x.Request.Head.GetKnown(wire.Authorization))
	return nil
}

// shown is what a service of a status is shown, or the error's status.
func shown(policy proxy.Policy, status int, token string) string {
	x := proxy.Acquire()
	defer x.Release()
	x.ByAuthorization = true
	x.Request.Head.AddString("Authorization", "DPoP client's")
	x.Request.Head.AddString("DPoP", "client's")
	if token != "" {
		x.Token = []byte(token)
	}
	if err := proxy.NewChain(proxy.Link{Name: "p", Policy: policy}, proxy.Link{Name: "s", Policy: service{status}}).Serve(x); err != nil {
		if x.Response.Head.Has("Shown") {
			return "the service was asked"
		}
		return fmt.Sprint(proxy.AsError(err).Status)
	}
	switch {
	case x.ByAuthorization:
		return "it passes for the client's"
	case x.Request.Head.Has("DPoP"):
		return "the proof goes on"
	case x.Request.Head.CountKnown(wire.Authorization) != 1:
		return "not one token goes on"
	}
	return string(x.Response.Head.Get("Shown"))
}
