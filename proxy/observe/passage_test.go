package observe

import (
	"context"
	"errors"
	"regexp"
	"testing"

	"sluice/proxy"
)

func TestPassageLine(t *testing.T) {
	f := func(p *proxy.Passage, format, want string) {
		t.Helper()
		var out buffer
		l, err := NewAccessLog(AccessLogOptions{Open: to(&out), Sample: 1, Format: format})
		if err != nil {
			t.Fatal(err)
		}
		o := NewPassageObserver(l)
		o.Begin(p)
		o.Moved(p, 1, 1) // a service without metrics is none of its business
		o.Finish(p)
		if err := l.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := regexp.MustCompile(`^\{"time":"[^"]+"`).ReplaceAllString(out.String(), `{"time":""`); got != want+"\n" {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
	db := &proxy.Passage{Listener: "postgres", Service: "db", Endpoint: "10.0.0.5:5432", Attempts: 2, Started: 1e9, ConnectedAt: 1e9 + 2e6, EndedAt: 3e9, Ended: proxy.EndedByOrigin}
	db.Client.Text = []byte("203.0.113.9")
	db.BytesIn.Store(10)
	db.BytesOut.Store(20)
	f(db, "", `{"time":"","kind":"passage","listener":"postgres","client":"203.0.113.9","proto":"TCP","service":"db","endpoint":"10.0.0.5:5432","attempts":2,"bytes_in":10,"bytes_out":20,"duration_ms":2000.000,"connect_ms":2.000,"ended":"origin"}`)
	f(db, "$client.ip $method $service $endpoint $status $bytes_in $bytes_out $duration_ms", `203.0.113.9  db 10.0.0.5:5432 0 10 20 2000.000`)

	odd := &proxy.Passage{Listener: "public", Started: 1e9, EndedAt: 1e9, Ended: proxy.UnrecognizedName, Err: errors.New(`broken "here"` + "\n")}
	odd.Client.ServerName, odd.Client.JA4 = "a\"b\n.example", "t13d"
	f(odd, "", `{"time":"","kind":"passage","listener":"public","sni":"a\"b\u000a.example","tls_fingerprint":"t13d","proto":"TLS","bytes_in":0,"bytes_out":0,"duration_ms":0.000,"ended":"unrecognized_name","cause":"broken \"here\"\u000a"}`)
}
