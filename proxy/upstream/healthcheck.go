package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// check asks an endpoint once whether it is well: nil if it is. It is a request like any other, but over a connection of its own, and
// nothing of the answer is read beyond what says how the endpoint is. Whatever the endpoint does, it ends within the timeout.
func (e *endpoint) check(life context.Context, h *Health) (err error) {
	// The exchange is not pooled: the cancellation below may still run after it has ended.
	x := &proxy.Exchange{Edge: proxy.Nobody{}, Started: wire.Now(), UpstreamAt: wire.Now()}
	x.Deadline = x.Started + int64(h.Timeout)
	ctx, cancel := context.WithTimeout(life, h.Timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		defer caught()
		x.Cancel(errTimeout)
	})
	defer stop()
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
			err = proxy.ErrInternal
		}
	}()
	r := &x.Request
	r.Scheme, r.Host = "http", []byte(e.target.authority())
	if e.tls != nil {
		r.Scheme = "https"
	}
	r.Head.AddString("User-Agent", "sluice-health")
	if !e.target.H2 {
		r.Head.AddString("Connection", "close") // the endpoint need not wait for more
	}
	judge := h.judgeHTTP
	if h.Kind == HealthGRPC {
		judge = judgeGRPC
		h.askGRPC(r)
	} else {
		path, query, hasQuery := strings.Cut(h.Path, "?")
		r.Method, r.Path, r.Query, r.HasQuery = "GET", []byte(path), []byte(query), hasQuery
	}
	if err := e.serve(x); err != nil {
		return err
	}
	err = judge(x)
	if t := x.Response.Tunnel; t != nil {
		_ = t.Close()
	}
	_ = x.Response.Body.Close() // most of it was not read: what counts is known
	x.FreeOut()
	return err
}

func (h *Health) judgeHTTP(x *proxy.Exchange) error {
	for _, r := range h.Statuses {
		if r.From <= x.Response.Status && x.Response.Status <= r.To {
			return nil
		}
	}
	return fmt.Errorf("the status is %d", x.Response.Status)
}

// askGRPC makes the call of gRPC's health checking protocol.
func (h *Health) askGRPC(r *proxy.Request) {
	r.Method, r.Path = "POST", []byte("/grpc.health.v1.Health/Check")
	r.Head.AddString("Content-Type", "application/grpc")
	r.Head.AddString("grpc-timeout", strconv.FormatInt(min(h.Timeout.Milliseconds(), 99999999), 10)+"m")
	r.TakesTrailers = true
	r.Body.SetWhole(healthRequest(h.Service))
}

// healthRequest is the message HealthCheckRequest { string service = 1; }, framed.
func healthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = append(message, 1<<3|2)
		message = binary.AppendUvarint(message, uint64(len(service)))
		message = append(message, service...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// probeBodyMax is how much of an answer is read: it has two bytes, and five around them.
const probeBodyMax = 1 << 10

var (
	errNotHealthGRPC = errors.New("the answer is not one of gRPC")
	errHealthMessage = errors.New("the answer is no message of grpc.health.v1")
)

// judgeGRPC wants SERVING and a call that has ended with status OK. A server that does not implement the protocol counts as unhealthy: the
// operator has asked for this check, and a server that cannot answer it has not passed.
func judgeGRPC(x *proxy.Exchange) error {
	r := &x.Response
	if form, _ := proxy.ParseGRPC(r.Head.GetKnown(wire.ContentType)); r.Status != 200 || form != proxy.PlainGRPC {
		return fmt.Errorf("%w, and its status is %d of HTTP", errNotHealthGRPC, r.Status)
	}
	body, err := io.ReadAll(io.LimitReader(&r.Body, probeBodyMax+1))
	switch {
	case err != nil:
		return err
	case len(body) > probeBodyMax:
		return errHealthMessage
	}
	status := r.Trailers.Get("grpc-status")
	if status == nil {
		status = r.Head.Get("grpc-status")
	}
	switch code := string(status); code {
	case "0":
	case "5":
		return errors.New("the server does not know the service (NOT_FOUND)")
	case "12":
		return errors.New("the server does not know grpc.health.v1.Health (UNIMPLEMENTED)")
	case "":
		return errors.New("the call ended without a status of gRPC")
	default:
		return fmt.Errorf("the call ended with the status %.10q of gRPC", code)
	}
	state, ok := parseHealth(body)
	switch {
	case !ok:
		return errHealthMessage
	case state == 1:
		return nil
	case state < uint64(len(servingStates)):
		return errors.New("the server says " + servingStates[state])
	}
	return fmt.Errorf("the server says %d", state)
}

var servingStates = [...]string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

// parseHealth reads one framed message HealthCheckResponse { ServingStatus status = 1; }. Fields that it does not know it passes over.
func parseHealth(p []byte) (state uint64, ok bool) {
	const head = 5
	if len(p) < head || p[0] != 0 || uint64(binary.BigEndian.Uint32(p[1:])) != uint64(len(p)-head) {
		return 0, false
	}
	for p = p[head:]; len(p) > 0; {
		tag, n := binary.Uvarint(p)
		if n <= 0 || tag>>3 == 0 {
			return 0, false
		}
		p = p[n:]
		size := uint64(0)
		switch tag & 7 {
		case 0:
			value, n := binary.Uvarint(p)
			if n <= 0 {
				return 0, false
			}
			if tag>>3 == 1 {
				state = value
			}
			size = uint64(n)
		case 1:
			size = 8
		case 2:
			length, n := binary.Uvarint(p)
			if n <= 0 {
				return 0, false
			}
			p, size = p[n:], length
		case 5:
			size = 4
		default:
			return 0, false
		}
		if tag>>3 == 1 && tag&7 != 0 || size > uint64(len(p)) {
			return 0, false
		}
		p = p[size:]
	}
	return state, true
}
