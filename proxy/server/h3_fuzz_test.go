package server_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"sluice/proxy"
	"sluice/proxy/proxytest"
)

// FuzzH3 lets a client say anything, on a stream of a request and on one in which it alone speaks: nothing panics, nothing is left
// behind, and a connection that goes on serves the next request.
func FuzzH3(f *testing.F) {
	head := frame(0x1, section(append(usual("POST", "/a?b"), "x", "y", "content-length", "4")...))
	get := frame(0x1, section(usual("GET", "/")...))
	add := func(uni bool, parts ...[]byte) {
		var all []byte
		for _, p := range parts {
			all = append(all, p...)
		}
		f.Add(uni, all)
	}
	add(false, get)
	add(false, head, frame(0x0, []byte("0123")))
	add(false, head, frame(0x0, []byte("01")), frame(0x21, []byte("x")), frame(0x0, []byte("23")), frame(0x1, section("t", "u")))
	add(false, head, frame(0x0, []byte("01")))
	add(false, get, frame(0x0, []byte("body")), get)
	add(false, frame(0x1, []byte{0, 0, 0xd1, 0xc1, 0x51, 0x83, 'a', 'b', 'c', 0x23, 'x', 'y', 'z', 1, 'v'}))
	add(false, []byte{0xc0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	add(true, number(0), frame(0x4, number(0x6), number(1000), number(0x1), number(0), number(0x33), number(1)), frame(0xd, number(7)), frame(0x7, number(0)))
	add(true, number(2), []byte{0x20, 0x20, 0x3f})
	add(true, number(3), []byte{0x41, 0x7f, 0x80, 0x01, 0x80})
	add(true, number(0x21), []byte("whatever"))

	gw := proxytest.Start(f, own3+"limits: { header_timeout: 200ms, header_bytes: 4KiB, headers: 20, uri_bytes: 1KiB }\n")
	ctx := context.Background()
	var conn *quic.Conn
	f.Fuzz(func(t *testing.T, uni bool, say []byte) {
		if len(say) > 16<<10 {
			return
		}
		before := proxy.Panics.Load()
		var err error
		if conn == nil || conn.Context().Err() != nil {
			if conn, err = quic.DialAddr(ctx, gw.Addr, tls3(), &quic.Config{}); err != nil {
				t.Fatal(err)
			}
		}
		if uni {
			sayAlone(conn, say)
		} else {
			ask(conn, say)
		}
		// A connection that the client has broken may end at any time, and a head may take longer than it may on a busy machine.
		frames, err := ask(conn, get)
		for range 5 {
			if rejected, ok := errors.AsType[*quic.StreamError](err); !ok || rejected.ErrorCode != h3Rejected {
				break
			}
			frames, err = ask(conn, get)
		}
		if ended, ok := errors.AsType[*quic.ApplicationError](err); ok {
			<-conn.Context().Done()
			if ended.ErrorCode == h3Internal {
				t.Error("the gateway has failed")
			}
		} else if err != nil || frames == 0 {
			t.Errorf("the connection goes on, and the next request ends with %d frames and %v", frames, err)
		}
		if uni || conn.Context().Err() != nil {
			_ = conn.CloseWithError(h3NoError, "") // one stream of each kind is all that a connection may have
		}
		if proxy.Panics.Load() != before {
			t.Error("the gateway has panicked")
		}
	})
}

// ask sends bytes on a stream and returns how many frames came back.
func ask(conn *quic.Conn, say []byte) (frames int, err error) {
	str, err := conn.OpenStream()
	if err != nil {
		return 0, err
	}
	_ = str.SetDeadline(time.Now().Add(patience))
	if _, err := str.Write(say); err != nil {
		return 0, err
	}
	str.Close()
	for {
		if _, _, err := readFrame(str); err == io.EOF {
			return frames, nil
		} else if err != nil {
			return frames, err
		}
		frames++
	}
}

func sayAlone(conn *quic.Conn, say []byte) {
	str, err := conn.OpenUniStream()
	if err != nil {
		return
	}
	_ = str.SetWriteDeadline(time.Now().Add(patience))
	_, _ = str.Write(say)
	str.Close()
}
