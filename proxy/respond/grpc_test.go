package respond

import (
	"testing"

	"sluice/proxy"
)

// TestGRPC: a call of gRPC is told a status of gRPC, and nothing else.
func TestGRPC(t *testing.T) {
	f := func(contentType string, status int, detail, want string) {
		t.Helper()
		x := proxy.Acquire()
		defer x.Release()
		x.ID = []byte("7")
		x.Request.Head.AddString("Content-Type", contentType)
		x.Response.Status = status
		bodies := map[string]ErrorBody{"4xx": {ContentType: "text/plain", Fixed: []byte("own")}}
		NewProblems(HTMLPage, bodies).Render(x, &proxy.Error{Status: status, Code: "code", Detail: detail})
		got := string(x.Response.Head.AppendTo(nil)) + string(x.Response.Body.Prefix())
		if got != "Content-Type: application/grpc\r\n"+want || x.Response.Status != 200 {
			t.Errorf("%d: got %d %q, want %q", status, x.Response.Status, got, want)
		}
	}
	says := func(status string) string {
		return "grpc-status: " + status + "\r\ngrpc-message: No. (code, request 7)\r\n"
	}
	for status, code := range map[int]string{
		400: "13", 401: "16", 403: "7", 404: "12", 405: "2", 408: "4", 413: "8", 414: "2", 429: "8", 431: "2", 499: "1", 500: "13",
		502: "14", 503: "14", 504: "4",
	} {
		f("application/grpc", status, "No.", says(code))
	}
	f("application/grpc+proto", 403, "No.", says("7"))
	f("Application/GRPC; x=y", 403, "No.", says("7"))
	f("application/grpc", 403, "50 % of\tmöre\n~ ", "grpc-status: 7\r\ngrpc-message: 50 %25 of%09m%C3%B6re%0A~  (code, request 7)\r\n")
}

// TestGRPCForms: the answer is of the kind that the client speaks, also when its call was translated by then, and says what the
// error says of gRPC.
func TestGRPCForms(t *testing.T) {
	f := func(contentType string, translated proxy.GRPCForm, e proxy.Error, want string) {
		t.Helper()
		x := proxy.Acquire()
		defer x.Release()
		x.ID, x.GRPCWeb = []byte("7"), translated
		x.Request.Head.AddString("Content-Type", contentType)
		NewProblems(Auto, nil).Render(x, &e)
		got := string(x.Response.Head.Get("content-type")) + " " + string(x.Response.Head.Get("grpc-status"))
		if got != want || x.Response.Body.Size() != 0 {
			t.Errorf("%s, %d: got %s, want %s", contentType, translated, got, want)
		}
	}
	denied := proxy.Error{Status: 403}
	f("application/grpc-web", proxy.NotGRPC, denied, "application/grpc-web+proto 7")
	f("application/grpc-web-text+proto", proxy.NotGRPC, denied, "application/grpc-web-text+proto 7")
	f("application/grpc", proxy.WebGRPC, denied, "application/grpc-web+proto 7")
	f("changed/by-a-policy", proxy.WebGRPC, denied, "application/grpc-web+proto 7")
	f("application/grpc", proxy.WebTextGRPC, denied, "application/grpc-web-text+proto 7")
	f("application/grpc+proto", proxy.NotGRPC, denied, "application/grpc 7")
	f("application/grpc-kin", proxy.NotGRPC, denied, "application/grpc 7")
	f("application/grpc", proxy.NotGRPC, proxy.Error{Status: 502, GRPC: 1}, "application/grpc 1")
}

// TestNotGRPC: every other request gets what it got.
func TestNotGRPC(t *testing.T) {
	f := func(contentType string) {
		t.Helper()
		x := proxy.Acquire()
		defer x.Release()
		x.Request.Head.AddString("Content-Type", contentType)
		x.Response.Status = 403
		NewProblems(Auto, nil).Render(x, &proxy.Error{Status: 403, Code: "code"})
		if got := string(x.Response.Head.Get("Content-Type")); got != "application/problem+json" || x.Response.Status != 403 {
			t.Errorf("%s: got %d %s", contentType, x.Response.Status, got)
		}
	}
	f("application/grp")
	f("application/json")
	f("text/application/grpc")
	f("")
}
