package server

import (
	"testing"

	"sluice/proxy/wire/frames"
)

func TestEnded(t *testing.T) {
	const closed = frames.ErrClosed
	var e ended
	f := func(id uint32, want error) {
		t.Helper()
		if got := e.judge(id); got != want {
			t.Errorf("a frame on %d is judged %v, want %v", id, got, want)
		}
	}
	last := uint32(0)
	for _, id := range []uint32{1, 3, 9, 11, 21} {
		e.opens(last, id)
		last = id
	}
	e.reset(3)
	f(1, closed)
	f(3, nil)
	f(5, frames.ErrProtocol)
	f(7, frames.ErrProtocol)
	f(9, closed)
	f(13, frames.ErrProtocol)
	f(21, closed)

	e = ended{}
	e.opens(0, 5) // the first stream may have any id
	f(1, frames.ErrProtocol)
	f(3, frames.ErrProtocol)
	f(5, closed)

	e = ended{}
	for id := uint32(1); id <= 2*cutMax+1; id += 2 {
		f(1, map[bool]error{true: closed}[id == 1])
		e.reset(id)
	}
	f(99999, nil) // too much has happened

	e = ended{}
	last = 1
	for range skippedMax + 1 {
		f(1, closed)
		e.opens(last, last+10)
		last += 10
	}
	f(1, nil)
}
