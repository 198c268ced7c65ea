// Package proxytest runs a whole gateway inside a test: a configuration in, sockets out. Tests of the data plane speak
// to it as clients and origins do, over real connections.
package proxytest

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/control/compile"
	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/observe"
	"sluice/proxy/server"
	"sluice/proxy/upstream"
	"sluice/proxy/wire"
)

// Gateway is a running gateway.
type Gateway struct {
	Addr    string // of its first listener
	Server  *server.Server
	Runtime *compile.Runtime
	Metrics *observe.Metrics
	Sweeper *wire.Sweeper

	t         testing.TB
	listener  *server.Listener
	listening proxy.Listening
	h3        bool // the first listener speaks it
	keys      server.PacketKeys
	mu        sync.Mutex
	stopped   sync.Once
}

// Start runs a gateway with the given configuration until the test ends. It listens on a loopback port of its own
// choosing, with the settings of the first listener; version, listen and admin may be left out.
func Start(t testing.TB, yaml string) *Gateway {
	t.Helper()
	nl, pc := listenBoth(t)
	g := start(t, yaml, nl, nil)
	g.servePackets(pc)
	return g
}

// listenBoth listens on a port of TCP and the same of UDP.
func listenBoth(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 20 {
		nl, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if pc, err := net.ListenPacket("udp", nl.Addr().String()); err == nil {
			return nl, pc
		}
		nl.Close()
	}
	t.Fatal("no port is free for both TCP and UDP")
	return nil, nil
}

// servePackets lets the gateway speak HTTP/3, if its configuration says so.
func (g *Gateway) servePackets(pc net.PacketConn) {
	g.t.Helper()
	if !g.h3 {
		pc.Close()
		return
	}
	if err := g.listener.ServePackets(pc, g.keys); err != nil {
		g.t.Fatal(err)
	}
}

func start(t testing.TB, yaml string, nl net.Listener, dial upstream.Dial) *Gateway {
	t.Helper()
	g := &Gateway{t: t, Sweeper: wire.NewSweeper(), Metrics: observe.New()}
	g.Runtime = compile.New(compile.Options{Sweeper: g.Sweeper, Metrics: g.Metrics, Dial: dial})
	plan := g.plan(yaml)
	g.Runtime.Prepare(plan)
	g.Server = server.New(g.Sweeper, plan.Snapshot)
	g.Runtime.Commit(plan)
	g.Addr = nl.Addr().String()
	g.h3, g.keys = plan.Listeners[0].H3, server.PacketKeys{Token: plan.Listeners[0].TokenKey, Reset: plan.Listeners[0].ResetKey}
	g.listening = plan.Listeners[0].Listening
	g.listener = g.Server.Listen(plan.Listeners[0].Name, nl, g.listening)
	t.Cleanup(g.Stop)
	return g
}

func (g *Gateway) plan(yaml string) *compile.Plan {
	g.t.Helper()
	c, problems := config.Parse("test.yaml", []byte(complete(yaml)), config.Options{})
	if c == nil {
		g.t.Fatalf("the configuration of the test is wrong:\n%v", problems)
	}
	plan, problems := g.Runtime.Compile(c)
	if plan == nil {
		g.t.Fatalf("the configuration of the test does not compile:\n%v", problems)
	}
	return plan
}

// complete adds what every configuration needs and no test cares about.
func complete(yaml string) string {
	for _, line := range []string{"version: 1", "listen: { web: { address: \"127.0.0.1:8080\" } }", "admin: off"} {
		key, _, _ := strings.Cut(line, ":")
		if !strings.HasPrefix(yaml, key+":") && !strings.Contains(yaml, "\n"+key+":") {
			yaml = line + "\n" + yaml
		}
	}
	return yaml
}

// Reload publishes another configuration, as a reload does.
func (g *Gateway) Reload(yaml string) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	plan := g.plan(yaml)
	g.Runtime.Prepare(plan)
	g.listener.Set(plan.Listeners[0].Listening)
	g.Server.Publish(plan.Snapshot)
	g.Runtime.Commit(plan)
}

// Listening returns how the listener takes connections, for another one.
func (g *Gateway) Listening() proxy.Listening { return g.listening }

// Snapshot returns what is being served.
func (g *Gateway) Snapshot() *proxy.Snapshot { return g.Server.Snapshot() }

// Stop ends the gateway, as the end of the test does: afterwards its access log is written out.
func (g *Gateway) Stop() { g.stopped.Do(g.stop) }

func (g *Gateway) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := g.Server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		g.t.Error(err)
	}
	// What the drain has taken is not missing for the rest of the access log.
	flush, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.Runtime.Close(flush); err != nil {
		g.t.Error(err)
	}
	g.Sweeper.Stop()
}

// Dial opens a connection to the gateway that the test's end closes.
func (g *Gateway) Dial() *Client {
	g.t.Helper()
	return g.DialFrom("127.0.0.1")
}

// DialFrom is Dial from another address of the loopback network.
func (g *Gateway) DialFrom(ip string) *Client {
	g.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.Dial("tcp", g.Addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	return &Client{TCPConn: c.(*net.TCPConn), R: bufio.NewReader(c), t: g.t}
}

// Client is a raw connection.
type Client struct {
	*net.TCPConn
	R *bufio.Reader
	t testing.TB
}

// Send writes bytes as they are.
func (c *Client) Send(s string) {
	c.t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		c.t.Fatal(err)
	}
}
