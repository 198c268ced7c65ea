package cache

import (
	"bytes"
	"testing"

	"sluice/proxy/cache/rules"
)

func TestRecord(t *testing.T) {
	f := func(r record, lines string) {
		t.Helper()
		r.find([]byte(lines))
		b := append(r.append(nil), lines...)
		var got record
		if !got.decode(b) {
			t.Fatalf("%+v is no record", r)
		}
		kept := b[got.headAt:]
		if r.kind == kindObject {
			if string(kept) != lines {
				t.Errorf("the lines are %q, want %q", kept, lines)
			}
			r.headAt = got.headAt
		}
		if !bytes.Equal(got.id, r.id) || !bytes.Equal(got.names, r.names) {
			t.Errorf("got %q %q, want %q %q", got.id, got.names, r.id, r.names)
		}
		got.id, got.names, r.id, r.names = nil, nil, nil, nil
		if got, want := got, r; !equal(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		for cut := range min(len(b), recordLen) {
			got.decode(b[:cut]) // must not panic
		}
	}
	f(record{kind: kindPass}, "")
	f(record{kind: kindVary, id: []byte("12345678"), names: []byte("accept,accept-language")}, "")
	f(record{kind: kindObject, status: 200, born: 1 << 60, via: "1.1 sluice", life: rules.Life{Fresh: 1, StaleWhileRevalidate: 1 << 31, Immutable: true}}, "")
	f(record{
		kind: kindObject, status: 404, via: "2.0 sluice", lastModified: 7, date: -1,
		life: rules.Life{StaleIfError: 3, NoCache: true, MustRevalidate: true, Heuristic: true},
	}, "Date: x\r\nETag:  \"a b\" \r\nLAST-MODIFIED:y\r\n")

	var r record
	lines := []byte("A: etag: no\r\nETAG: W/\"1\"\r\nEtag: \"2\"\r\n")
	r.find(lines)
	if got := string(r.etag(lines)); got != `W/"1"` {
		t.Errorf("the tag is %q", got)
	}
	if got := string(r.modified(lines)); got != "" {
		t.Errorf("modified at %q", got)
	}
}

func equal(a, b record) bool {
	a.names, a.id, b.names, b.id = nil, nil, nil, nil
	return a.kind == b.kind && a.status == b.status && a.life == b.life && a.born == b.born && a.via == b.via &&
		a.lastModified == b.lastModified && a.date == b.date && a.etagAt == b.etagAt && a.etagLen == b.etagLen &&
		a.modifiedAt == b.modifiedAt && a.modLen == b.modLen && a.headAt == b.headAt
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte{1})
	f.Add(append((&record{kind: kindObject, status: 200}).append(nil), "ETag: x\r\n"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r record
		if r.decode(b) && r.kind == kindObject {
			lines := b[r.headAt:]
			r.etag(lines)
			r.modified(lines)
			r.age(1)
		}
	})
}
