package wire

import (
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

var processStart = time.Now()

// Now is the monotonic time in nanoseconds since an arbitrary moment. It costs half of time.Now, which also
// reads the wall clock. It is always far above 0, which stands for "never", also in a synctest bubble, where it is the
// year 2000.
func Now() int64 { return int64(time.Since(processStart)) + 1<<60 }

// date caches the value of the Date field for the second it is in.
var date atomic.Pointer[dateLine]

type dateLine struct {
	until int64
	text  []byte
}

// AppendDate appends the current time as the value of a Date field (RFC 9110 section 5.6.7). now is Now().
func AppendDate(dst []byte, now int64) []byte {
	d := date.Load()
	if d == nil || now >= d.until {
		t := time.Now()
		d = &dateLine{
			until: now + int64(time.Second) - int64(t.Nanosecond()),
			text:  fasthttp.AppendHTTPDate(nil, t),
		}
		date.Store(d)
	}
	return append(dst, d.text...)
}
