package proxy

import (
	"math"
	"testing"
	"time"
)

func TestParseGRPC(t *testing.T) {
	f := func(contentType string, want GRPCForm, format string) {
		t.Helper()
		form, got := ParseGRPC([]byte(contentType))
		if form != want || string(got) != format {
			t.Errorf("%q: got %d %q, want %d %q", contentType, form, got, want, format)
		}
	}
	f("application/grpc", PlainGRPC, "")
	f("application/grpc+proto", PlainGRPC, "+proto")
	f("Application/gRPC+json; charset=utf-8", PlainGRPC, "+json")
	f("application/grpc;x=y", PlainGRPC, "")
	f("application/grpc-web", WebGRPC, "")
	f("application/grpc-web+proto", WebGRPC, "+proto")
	f("application/grpc-web-text", WebTextGRPC, "")
	f("APPLICATION/GRPC-WEB-TEXT+PROTO ; q=1", WebTextGRPC, "+PROTO")

	f("", NotGRPC, "")
	f("application/grp", NotGRPC, "")
	f("application/grpcx", NotGRPC, "")
	f("application/grpc-webx", NotGRPC, "")
	f("application/grpc-web-texts", NotGRPC, "")
	f("application/grpc-web/proto", NotGRPC, "")
	f("application/grpc+proto,application/grpc", NotGRPC, "")
	f("text/application/grpc", NotGRPC, "")
}

func TestGRPCTimeout(t *testing.T) {
	f := func(value string, want time.Duration, ok bool) {
		t.Helper()
		var r Request
		r.Head.AddString("Grpc-Timeout", value)
		if got, said := r.GRPCTimeout(); said != ok || ok && got != want {
			t.Errorf("%q: got %s %v, want %s %v", value, got, said, want, ok)
		}
	}
	f("1H", time.Hour, true)
	f("2M", 2*time.Minute, true)
	f("30S", 30*time.Second, true)
	f("100m", 100*time.Millisecond, true)
	f("7u", 7*time.Microsecond, true)
	f("99999999n", 99999999, true)
	f("99999999M", 99999999*time.Minute, true)
	f("2562047H", 2562047*time.Hour, true)
	f("0S", 0, true)

	f("2562048H", math.MaxInt64, false)
	f("99999999H", math.MaxInt64, false)
	f("100000000n", 0, false)
	f("", 0, false)
	f("S", 0, false)
	f("1", 0, false)
	f("1s", 0, false)
	f("-1S", 0, false)
	f("1.5S", 0, false)
	f(" 1S", 0, false)

	var none Request
	if _, said := none.GRPCTimeout(); said {
		t.Error("a request without the field has a timeout")
	}
}
