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

// FuzzGRPCTimeout: whatever a client sends is a time, or none; written again it is the same, or a little less.
func FuzzGRPCTimeout(f *testing.F) {
	for _, seed := range []string{"1H", "99999999M", "0S", "100m", "7u", "99999999n", "1752000H", "1752001H", "", "1", "-1S", "1.5S", "999999999S"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var r, again Request
		r.Head.AddString("grpc-timeout", value)
		d, ok := r.GRPCTimeout()
		if !ok {
			return
		}
		again.Head.Add("grpc-timeout", AppendGRPCTimeout(nil, d))
		if got, ok := again.GRPCTimeout(); d < 0 || !ok || got > d || d-got > d/1_000_000 {
			t.Errorf("%q is %s, and written again %q, which is %s", value, d, again.Head.Get("grpc-timeout"), got)
		}
	})
}

// readBack is what a value of grpc-timeout stands for, as the time package reads it.
func readBack(value string) time.Duration {
	unit := map[byte]string{'H': "h", 'M': "m", 'S': "s", 'm': "ms", 'u': "us", 'n': "ns"}[value[len(value)-1]]
	d, err := time.ParseDuration(value[:len(value)-1] + unit)
	if err != nil {
		panic(err)
	}
	return d
}

// TestBeginCall: only a call of gRPC has an end that its client gives it, and only one that says so as it should.
func TestBeginCall(t *testing.T) {
	f := func(method, contentType, timeout string, want int64) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		x.Started = 1000
		x.Request.Method = method
		x.Request.Head.AddString("Content-Type", contentType)
		x.Request.Head.AddString("Grpc-Timeout", timeout)
		if x.BeginCall(); x.CallBy != want {
			t.Errorf("%s %s %q: until %d, want %d", method, contentType, timeout, x.CallBy, want)
		}
	}
	f("POST", "application/grpc", "7n", 1007)
	f("POST", "application/grpc+proto", "0S", 1000)
	f("POST", "application/grpc-web-text", "1u", 2000)
	f("POST", "application/grpc", "1752000H", 1000+int64(1752000*time.Hour))
	f("POST", "application/grpc", "1752001H", 0) // would leave no room for what is added to it

	f("GET", "application/grpc", "7n", 0)
	f("POST", "application/json", "7n", 0)
	f("POST", "application/grpc", "7", 0)
	f("POST", "application/grpc", "", 0)
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
	f("1752000H", 1752000*time.Hour, true)
	f("0S", 0, true)

	f("1752001H", math.MaxInt64, false)
	f("99999999H", math.MaxInt64, false)
	f("100000000n", 0, false)
	f("", 0, false)
	f("S", 0, false)
	f("1", 0, false)
	f("1s", 0, false)
	f("-1S", 0, false)
	f("1.5S", 0, false)
	f(" 1S", 0, false)

	// What is written is read as the same time, or as a little less.
	written := func(d time.Duration, want string) {
		t.Helper()
		got := AppendGRPCTimeout(nil, d)
		if string(got) != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
		f(string(got), readBack(want), true)
	}
	written(-1, "0n")
	written(0, "0n")
	written(1, "1n")
	written(99999999, "99999999n")
	written(100000000, "100000u")
	written(100000999, "100000u")
	written(99999999*time.Microsecond, "99999999u")
	written(100*time.Second, "100000m")
	written(99999999*time.Millisecond+1, "99999999m")
	written(100000*time.Second, "100000S")
	written(99999999*time.Second, "99999999S")
	written(100000000*time.Second, "1666666M")
	written(99999999*time.Minute, "99999999M")
	written(1752000*time.Hour, "1752000H")

	var none Request
	if _, said := none.GRPCTimeout(); said {
		t.Error("a request without the field has a timeout")
	}
}
