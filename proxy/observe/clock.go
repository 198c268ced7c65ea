package observe

import (
	"sync/atomic"
	"time"

	"sluice/proxy/wire"
)

// clock writes the time of day, formatting once per second. The zero value works; safe for concurrent use.
type clock struct {
	second atomic.Pointer[second]
}

type second struct {
	start int64  // wire.Now when it began
	text  string // up to the point before the milliseconds
}

// append appends now (wire.Now, of this moment) as RFC 3339 in UTC with milliseconds. A wall clock that is set is
// followed within a second.
func (c *clock) append(dst []byte, now int64) []byte {
	s := c.second.Load()
	if s == nil || now-s.start >= int64(time.Second) {
		t := time.Now().UTC()
		s = &second{start: wire.Now() - int64(t.Nanosecond()), text: t.Format("2006-01-02T15:04:05.")}
		c.second.Store(s)
	}
	// Now was read a little before: it may lie in the second before, which is not worth formatting again.
	ms := min(max(now-s.start, 0)/int64(time.Millisecond), 999)
	dst = append(dst, s.text...)
	return append(dst, byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}
