package browser

import (
	"errors"
	"fmt"
	"strings"

	"sluice/proxy"
)

// call is an exchange as an edge would hand it to a route: fields are "Name: value; Name: value".
func call(method, fields string) *proxy.Exchange {
	x := proxy.Acquire()
	x.Request.Method = method
	x.Request.Scheme = "https"
	x.Request.Host = []byte("api.example")
	add(fields, x.Request.Head.AddString)
	return x
}

func add(fields string, to func(name, value string)) {
	for field := range strings.SplitSeq(fields, "; ") {
		if name, value, ok := strings.Cut(field, ": "); ok {
			to(name, value)
		}
	}
}

// service is what answers behind the policy.
type service func(x *proxy.Exchange) error

func (s service) Serve(x *proxy.Exchange, _ *proxy.Chain) error { return s(x) }

// answers is a service that answers with these fields, and status 200.
func answers(fields string) service {
	return func(x *proxy.Exchange) error {
		x.Response.Status = 200
		add(fields, x.Response.Head.AddString)
		return nil
	}
}

// outcome serves x by p and s, and says what comes of it: the status or the code of the error, and the fields of the response.
func outcome(x *proxy.Exchange, p proxy.Policy, s service) string {
	err := proxy.NewChain(proxy.Link{Name: "p", Policy: p}, proxy.Link{Name: "service", Policy: s}).Serve(x)
	x.EditHead()
	what := fmt.Sprint(x.Response.Status)
	var e *proxy.Error
	if errors.As(err, &e) {
		what = e.Code
	}
	return what + " " + strings.ReplaceAll(strings.TrimSuffix(string(x.Response.Head.AppendTo(nil)), "\r\n"), "\r\n", "; ")
}
