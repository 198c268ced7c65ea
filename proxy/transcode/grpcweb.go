package transcode

import (
	"fmt"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// GRPCWeb translates calls of gRPC-Web (PROTOCOL-WEB.md of gRPC) to gRPC, and their answers back. It is the first policy of its
// route, so that all others see gRPC. Requests that are no such calls pass as they are: the same route serves clients of gRPC.
//
// Which pages of other origins may call is for another policy to say, before this one.
type GRPCWeb struct{}

// Serve translates the request, hands on, and translates the response. What fails beyond it is rendered as an error of gRPC-Web, since
// the exchange says that its client speaks that.
func (GRPCWeb) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	r := &x.Request
	form, format := proxy.ParseGRPC(r.Head.GetKnown(wire.ContentType))
	if r.Method != "POST" || form != proxy.WebGRPC && form != proxy.WebTextGRPC {
		return next.Serve(x)
	}
	x.GRPCWeb = answersIn(r, form)
	if err := translate(x, form, format); err != nil {
		return err
	}
	if err := next.Serve(x); err != nil {
		return err
	}
	return translateBack(x, format)
}

// answersIn is the form of the answer: the one that the client accepts, else that of the call. A client asks for text because it
// cannot read binary bodies as they come.
func answersIn(r *proxy.Request, form proxy.GRPCForm) proxy.GRPCForm {
	for value := range r.Head.ValuesKnown(wire.Accept) {
		for item := range wire.Items(value) {
			if accepted, _ := proxy.ParseGRPC(item); accepted == proxy.WebGRPC || accepted == proxy.WebTextGRPC {
				return accepted
			}
		}
	}
	return form
}

// notForService are fields that are between the client and whoever translates. The messages of an answer that is compressed as a whole
// could not be told apart, and servers of gRPC do not do that: they compress each message, if grpc-accept-encoding says so.
// x-user-agent is left: it is what the service would know its client by, since browsers do not let go of user-agent.
var notForService = []string{"x-grpc-web", "accept", "accept-encoding"}

// translate makes the request a call of gRPC.
func translate(x *proxy.Exchange, form proxy.GRPCForm, format []byte) error {
	r := &x.Request
	contentType := append(append(x.Scratch(), "application/grpc"...), format...)
	r.Head.Set("Content-Type", contentType)
	for _, name := range notForService {
		r.Head.Del(name)
	}
	r.TakesTrailers = true
	if form == proxy.WebTextGRPC {
		return decodeBody(x)
	}
	return nil
}

// translateBack makes the response one of gRPC-Web.
func translateBack(x *proxy.Exchange, format []byte) error {
	r := &x.Response
	form, answered := proxy.ParseGRPC(r.Head.GetKnown(wire.ContentType))
	told := r.Head.Has("grpc-status")
	switch {
	case r.Tunnel != nil, form != proxy.PlainGRPC:
		return notGRPC(r.Status)
	case r.Status != 200 && !told:
		return notGRPC(r.Status)
	case encoded(r):
		return errEncoded
	}
	if len(answered) == 0 {
		answered = format
	}
	if len(answered) == 0 {
		answered = proto
	}
	contentType := append(x.Scratch(), "application/grpc-web"...)
	if x.GRPCWeb == proxy.WebTextGRPC {
		contentType = append(contentType, "-text"...)
	}
	r.Head.Set("Content-Type", append(contentType, answered...))
	r.Status, r.Reason = 200, nil
	if told && !r.Body.Flowing() && len(r.Body.Prefix()) == 0 {
		// A status in a head that nothing follows: gRPC-Web knows that as well.
		r.Body.SetWhole(nil)
		return nil
	}
	a := &answer{x: x, messages: r.Body, told: told}
	if x.GRPCWeb == proxy.WebTextGRPC {
		r.Body.SetFlow(nil, &textAnswer{answer: a}, -1)
	} else {
		r.Body.SetFlow(nil, a, -1)
	}
	return nil
}

var proto = []byte("+proto")

// encoded reports a response that is compressed as a whole.
func encoded(r *proxy.Response) bool {
	v := r.Head.Get("content-encoding")
	return len(v) > 0 && !wire.EqualFold(v, "identity")
}

var errEncoded = &proxy.Error{
	Status: 502, Code: "upstream_encoded", Detail: "The origin has compressed its answer as a whole.", Side: proxy.ByUpstream, GRPC: 13,
}

var errNotGRPC = &proxy.Error{Status: 502, Code: "upstream_not_grpc", Detail: "The origin's answer is not one of gRPC.", Side: proxy.ByUpstream, GRPC: 2}

// notGRPCWith are the errors of calls that something else than a service of gRPC has answered, by what its status means to a client
// of gRPC (http-grpc-status-mapping.md of gRPC).
var notGRPCWith = func() map[int]*proxy.Error {
	known := make(map[int]*proxy.Error)
	for status, code := range map[int]uint8{400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14} {
		e := *errNotGRPC
		e.GRPC = code
		e.Detail = fmt.Sprintf("The origin answered with status %d of HTTP and none of gRPC.", status)
		known[status] = &e
	}
	return known
}()

// notGRPC leaves the answer itself out: it is for people, and may say more than a client should know.
func notGRPC(status int) error {
	if e := notGRPCWith[status]; e != nil {
		return e
	}
	return errNotGRPC
}
