package main

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/valyala/fasthttp"
)

//go:embed demo.yaml
var demoConfiguration []byte

type demoCommand struct {
	Listen string `default:"127.0.0.1:8080" placeholder:"ADDR" help:"Where to listen (${default}); a free port if it is taken."`
	Admin  string `default:"127.0.0.1:9180" placeholder:"ADDR" help:"Where to serve health and metrics (${default}); a free port if it is taken."`
}

func (demoCommand) Help() string {
	return example("Starts two small origins in the same process and a gateway in front of them, and prints what to try: "+
		"path parameters, a split of 90 to 10 that remembers its clients, rewriting, a redirect, server-sent events, a WebSocket.",
		"sluice demo\nsluice demo --listen 127.0.0.1:8888")
}

func (c *demoCommand) Run(t *terminal) error {
	startLog(t)
	blue, err := startOrigin("blue")
	if err != nil {
		return err
	}
	defer blue.stop()
	green, err := startOrigin("green")
	if err != nil {
		return err
	}
	defer green.stop()

	values := map[string]string{"BLUE": blue.url, "GREEN": green.url}
	for name, address := range map[string]string{"LISTEN": c.Listen, "ADMIN": c.Admin} {
		free, err := freeAddress(address)
		if err != nil {
			return err
		}
		if free != address {
			t.note(address + " is taken: using a free port instead.")
		}
		values[name] = free
	}
	g := newGateway(source{name: "demo", text: demoConfiguration, lookup: func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}})
	var announced error
	err = serve(g, false, func() { announced = t.write(t.demoTour(g.Status().Listen[0], g.adminAddress())) })
	return errors.Join(err, announced)
}

// freeAddress returns the address, or one with port 0 if it is taken. Somebody may take it between this question and
// the answer's use; then the start fails and says so.
func freeAddress(address string) (string, error) {
	nl, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return "", fmt.Errorf("cannot listen on %q: %w", address, err)
		}
		return net.JoinHostPort(host, "0"), nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot listen on %q: %w", address, err)
	}
	return address, nl.Close()
}

// demoTour says what to try.
func (t *terminal) demoTour(address, admin string) string {
	web := "http://" + address
	rows := [][]string{
		{"curl " + web + "/items/7", "a path parameter, seen by the origin as X-Item"},
		{"curl -i " + web + "/split", "90 % blue, 10 % green, with a cookie to stay there"},
		{"curl '" + web + "/api/users?page=2'", "rewritten: the origin sees /v1/users"},
		{"curl -i " + web + "/teapot", "answered by the gateway"},
		{"curl -iL " + web + "/old/users", "a redirect"},
		{"curl -N " + web + "/events", "server-sent events, one per second"},
		{"websocat ws://" + address + "/socket", "a WebSocket that echoes"},
		{"curl -i " + web + "/nowhere", "an error: problem+json"},
		{"curl http://" + admin + "/metrics", "metrics"},
		{"curl http://" + admin + "/v1/routes", "the routes"},
	}
	return "\n" + t.paint(bold, "Sluice is serving its demo on "+web) + " (admin: http://" + admin + ")\n\n" +
		t.table([]string{cyan, faint}, rows) + "\nCtrl-C ends it.\n"
}

// origin is a small server to be proxied to.
type origin struct {
	url  string
	http *fasthttp.Server
	done chan struct{}
}

// startOrigin serves on a free loopback port.
func startOrigin(name string) (*origin, error) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot start the demo's origins: %w", err)
	}
	o := &origin{
		url:  "http://" + nl.Addr().String(),
		http: &fasthttp.Server{Handler: originHandler(name), Name: name, StreamRequestBody: true},
		done: make(chan struct{}),
	}
	go func() {
		defer close(o.done)
		if err := o.http.Serve(nl); err != nil {
			panic("BUG: a demo origin ended: " + err.Error())
		}
	}()
	return o, nil
}
