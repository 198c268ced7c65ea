package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sluice/proxy/server"
)

func TestWarm(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		w, err := readWarm([]byte(body))
		if err != nil {
			if got := err.Error(); !strings.HasPrefix(got, want) || want == "" {
				t.Errorf("%s: got the error %s, want %s", body, got, want)
			}
			return
		}
		got := ""
		for _, a := range w.ask(t.Context(), func(_ context.Context, q server.Question) (server.Answer, error) {
			if q.Host == "bad.example" {
				return server.Answer{Status: 200}, errors.New("broken off")
			}
			return server.Answer{Status: 200, Cache: "miss", Bytes: int64(len(q.Target))}, nil
		}) {
			got += fmt.Sprintf("%s %d %s %d %s|", a.URL, a.Status, a.Cache, a.Bytes, a.Error)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", body, got, want)
		}
	}
	f(`{"urls": ["https://a.example/x?y=1", "http://bad.example"]}`, "https://a.example/x?y=1 200 miss 6 |http://bad.example 200  0 broken off|")
	f(``, "the body is no JSON object")
	f(`[]`, "the body is no JSON object")
	f(`{"urls": []}`, "0 URLs are given")
	f(`{"url": "https://a.example"}`, "the body is no JSON object")
	f(`{"urls": ["https://a.example"]} x`, "there is something behind")
	f(`{"urls": [`+strings.Repeat(`"https://a.example/",`, 1000)+`"https://a.example/"]}`, "1001 URLs are given")
	for _, bad := range []string{"", "/x", "a.example/x", "ftp://a.example/", "https://", "https://u:p@a.example/", "https:a", "https://a b/"} {
		f(`{"urls": ["`+bad+`"]}`, fmt.Sprintf("%q is no URL", bad))
	}

	q := func(text, want string) {
		t.Helper()
		q, err := questionOf(text)
		if got := fmt.Sprint(q.Scheme, " ", q.Host, " ", q.Target); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", text, got, err, want)
		}
	}
	q("https://Shop.example:443/a%2Fb?", "https shop.example /a%2Fb?")
	q("http://shop.example:443", "http shop.example:443 /")
	q("http://[::1]:80/x#y", "http [::1] /x")
}
