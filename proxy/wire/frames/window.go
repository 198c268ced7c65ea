package frames

// SendWindow is how much the other side lets us send: of a connection, or of a stream. It is below 0 when the other side has made
// it smaller than what is on its way (section 6.9.2).
type SendWindow int64

// Grow adds what the other side says, and reports whether the window is still one that may be.
func (w *SendWindow) Grow(by int64) bool {
	*w += SendWindow(by)
	return *w <= WindowMax
}

// Sent takes n bytes off.
func (w *SendWindow) Sent(n int) { *w -= SendWindow(n) }

// Share is how much of p fits: into the windows of a stream and of its connection, into one frame, and into room. It is 0 if
// nothing does.
func Share(p []byte, stream, connection SendWindow, room int) int {
	return int(max(min(int64(len(p)), int64(stream), int64(connection), Max, int64(room)), 0))
}

// RecvWindow is how much the other side may send: of a connection, or of a stream.
type RecvWindow struct {
	left int64
	used int64 // was used up by now, and not given back yet
}

// NewRecvWindow returns a window of size bytes.
func NewRecvWindow(size int64) RecvWindow { return RecvWindow{left: size} }

// Take notes that n bytes came, padding included, and reports whether they were allowed.
func (w *RecvWindow) Take(n int64) bool {
	w.left -= n
	return w.left >= 0
}

// Open reports whether anything may be sent.
func (w *RecvWindow) Open() bool { return w.left > 0 }

// Use notes that there is room for n bytes more: that so many of what came need none any more, or that the window is to be wider.
func (w *RecvWindow) Use(n int64) { w.used += n }

// GiveBack returns what to tell the other side in a WINDOW_UPDATE: everything that was used up, if that is at least enough, or if
// less than low is left; else 0, for not each read is worth a frame.
func (w *RecvWindow) GiveBack(enough, low int64) uint32 {
	if w.used <= 0 || w.used < enough && w.left >= low {
		return 0
	}
	n := w.used
	w.left += n
	w.used = 0
	return uint32(n)
}
