package wire

// Intake is what has arrived of a body that comes in frames, and waits for its reader. It holds no buffer while it is empty,
// and fills its last one before it takes another, so that a body that comes in crumbs takes no more memory than its window.
// The zero value is empty. Not safe for concurrent use.
type Intake struct {
	bufs []*Buf
	r, w int // where to read in the first one, and to write in the last
	n    int
}

// Len is how many bytes there are.
func (i *Intake) Len() int { return i.n }

// Detach hands all that there is over in the one buffer that it lies in. It returns nil, changing nothing, if it lies in several
// or a part of it was taken.
func (i *Intake) Detach() (b *Buf, n int) {
	if len(i.bufs) != 1 || i.r > 0 {
		return nil, 0
	}
	b, n = i.bufs[0], i.n
	*i = Intake{}
	return b, n
}

// Put appends a copy of p.
func (i *Intake) Put(p []byte) {
	i.n += len(p)
	for len(p) > 0 {
		if len(i.bufs) == 0 || i.w == Medium {
			i.bufs = append(i.bufs, GetBuf(Medium))
			i.w = 0
		}
		k := copy(i.bufs[len(i.bufs)-1].B[i.w:], p)
		i.w += k
		p = p[k:]
	}
}

// Take moves what is at the front into p, and returns how much that was.
func (i *Intake) Take(p []byte) int {
	n := 0
	for n < len(p) && i.n > 0 {
		end := Medium
		if len(i.bufs) == 1 {
			end = i.w
		}
		k := copy(p[n:], i.bufs[0].B[i.r:end])
		n += k
		i.n -= k
		if i.r += k; i.r == end {
			i.bufs[0].Free()
			i.bufs = i.bufs[1:]
			i.r = 0
		}
	}
	if i.n == 0 {
		i.bufs = nil // its array would go on growing at the other end
	}
	return n
}

// Clear drops everything, and returns how much that was.
func (i *Intake) Clear() int64 {
	n := i.n
	for _, b := range i.bufs {
		b.Free()
	}
	*i = Intake{}
	return int64(n)
}
