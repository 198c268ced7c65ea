package upstream

import (
	"context"
	"net"
	"sync"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// busyMax bounds how many endpoints that have no room for another connection are passed over for one that has.
const busyMax = 16

// Connect implements proxy.Carrier. An endpoint that cannot be reached costs up to Options.Connect, and attemptsMax of them are
// tried: nothing that the client has said was given to any of them. One with Options.MaxConns connections is passed over.
func (s *Service) Connect(ctx context.Context, p *proxy.Passage) (net.Conn, func(), error) {
	p.Service = s.options.Name
	set := s.set.Load()
	key := uint64(0)
	if s.options.Balance == Hash {
		key = hashBytes(p.Client.Text) // all that is known
	}
	var passed [attemptsMax + busyMax]*endpoint
	p.Ended = proxy.NoEndpoint
	err := error(errNoEndpoint)
	for n := 0; n < len(passed); n++ {
		e := s.choose(set, key, p.Started, passed[:n])
		if e == nil {
			break
		}
		passed[n] = e
		done, ok := e.claim()
		if !ok {
			if p.Attempts == 0 {
				p.Ended, err = proxy.Busy, errBusy
			}
			continue
		}
		p.Endpoint = e.name
		p.Attempts++
		var c net.Conn
		if c, err = e.open(ctx, &p.Client); err == nil {
			p.ConnectedAt, p.Ended = wire.Now(), ""
			return c, done, nil
		}
		done()
		p.Ended = proxy.Unreachable
		if ctx.Err() != nil || p.Attempts == attemptsMax {
			break
		}
	}
	return nil, nil, err
}

// Silence implements proxy.Carrier.
func (s *Service) Silence() time.Duration { return s.options.Tunnel }

// claim reserves a place for a connection, if there is one, until the function that it returns is called.
func (e *endpoint) claim() (release func(), ok bool) {
	if n := e.inFlight.Add(1); e.options.MaxConns > 0 && n > int64(e.options.MaxConns) {
		e.inFlight.Add(-1)
		return nil, false
	}
	e.requests.Add(1)
	return sync.OnceFunc(func() { e.inFlight.Add(-1) }), true
}

// open opens a connection within Options.Connect. If ctx ends first, that says nothing about the endpoint.
func (e *endpoint) open(ctx context.Context, client *proxy.Client) (net.Conn, error) {
	header, err := e.proxyHeader(client)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, e.options.Connect)
	defer cancel()
	c, err := e.connect(limited, header)
	switch {
	case err == nil:
		e.reached()
		return c, nil
	case ctx.Err() == nil:
		e.failed(err)
	}
	return nil, err
}
