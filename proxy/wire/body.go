package wire

import (
	"bytes"
	"io"
)

// Framing is how a body's end is known.
type Framing uint8

// The framings of RFC 9112 section 6.
const (
	NoBody     Framing = iota
	Length             // Content-Length
	Chunked            // Transfer-Encoding: chunked
	UntilClose         // the end of the connection (responses only)
)

// Body decodes the body of one message from a Reader. Read returns io.EOF only after the whole body was seen as
// its framing announces it; a connection that ends earlier is io.ErrUnexpectedEOF. Not safe for concurrent use.
type Body struct {
	src      *Reader
	framing  Framing
	state    chunkState
	left     int64 // of the body, or of the current chunk
	trailer  *Head // where trailer fields go
	limits   *Limits
	overhead int // bytes of chunk extensions and trailers seen
	err      error
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd
	chunkTrailer
	bodyDone
)

// chunkLineMax bounds a line with a chunk size and its extensions, and chunkOverheadMax what all extensions of a
// body may add up to: they carry nothing that is passed on.
const (
	chunkLineMax     = 256
	chunkOverheadMax = 64 << 10
)

// Init prepares b for a body. Trailer fields of a chunked body are appended to trailer, within limits.
func (b *Body) Init(src *Reader, f Framing, length int64, trailer *Head, limits *Limits) {
	*b = Body{src: src, framing: f, left: length, trailer: trailer, limits: limits}
	if f == NoBody || f == Length && length == 0 {
		b.state = bodyDone
	}
}

// Forget gives up what the body was read for; Done and Err still answer.
func (b *Body) Forget() { b.trailer, b.limits = nil, nil }

// Done reports whether the whole body has been read.
func (b *Body) Done() bool { return b.state == bodyDone }

// Err is what made Read fail, but for the end of the body.
func (b *Body) Err() error { return b.err }

// Resume lets Read go on after an InterruptRead, which consumes nothing. It reports whether the body can be read on.
func (b *Body) Resume() bool {
	if k, ok := b.err.(*KickedError); ok && k.Reason == Canceled {
		b.err = nil
	}
	return b.err == nil
}

// Left is how much of a body with a known length is still to come.
func (b *Body) Left() int64 { return b.left }

// Buffered is how many bytes Read can return without waiting; at the end of the body it is 1 if Read can say so
// without waiting. An edge flushes what it has when this is zero.
func (b *Body) Buffered() int {
	if b.err != nil || b.state == bodyDone {
		return 0
	}
	n := int64(b.src.Buffered())
	switch b.framing {
	case Length:
		return int(min(n, b.left))
	case Chunked:
		if b.state == chunkData {
			return int(min(n, b.left))
		}
		return b.nextChunkBuffered()
	}
	return int(n)
}

// nextChunkBuffered looks past the end of a chunk and the head of the next one.
func (b *Body) nextChunkBuffered() int {
	have := b.src.Bytes()
	if b.state == chunkEnd {
		if len(have) < 2 {
			return 0
		}
		have = have[2:]
	}
	i := bytes.IndexByte(have, '\n')
	if i < 0 {
		return 0
	}
	if b.state == chunkTrailer {
		return boolInt(i == 1)
	}
	size, ok := parseChunkSize(have[:max(i-1, 0)])
	have = have[i+1:]
	switch {
	case !ok:
		return 1 // Read will say what is wrong
	case size == 0:
		return boolInt(bytes.HasPrefix(have, crlf))
	}
	return int(min(int64(len(have)), size))
}

var crlf = []byte("\r\n")

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Read reads decoded bytes.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.state == bodyDone {
		return 0, io.EOF
	}
	var n int
	var err error
	switch b.framing {
	case Length:
		n, err = b.readLength(p)
	case Chunked:
		n, err = b.readChunked(p)
	default:
		n, err = b.src.Read(p)
		if err == io.EOF {
			b.state = bodyDone
			return n, io.EOF
		}
	}
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

func (b *Body) readLength(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.src.Read(p)
	if b.left -= int64(n); b.left == 0 {
		b.state = bodyDone
		return n, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (b *Body) readChunked(p []byte) (int, error) {
	for {
		switch b.state {
		case chunkSize:
			line, err := b.line(chunkLineMax)
			if err != nil {
				return 0, err
			}
			size, ok := parseChunkSize(line)
			if !ok {
				return 0, ErrBadChunk
			}
			if b.overhead += len(line); b.overhead > chunkOverheadMax && len(line) > 18 {
				return 0, ErrBadChunk
			}
			b.src.Skip(len(line) + 2)
			b.left, b.state = size, chunkData
			if size == 0 {
				b.state, b.overhead = chunkTrailer, 0
			}
		case chunkData:
			if int64(len(p)) > b.left {
				p = p[:b.left]
			}
			if b.src.Buffered() == 0 && b.left < Small/2 {
				// One read then brings the data, the end of the chunk and often the next one.
				if err := b.fill(); err != nil {
					return 0, err
				}
			}
			n, err := b.src.Read(p)
			if b.left -= int64(n); b.left == 0 {
				b.state = chunkEnd
			}
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		case chunkEnd:
			line, err := b.line(0)
			if err != nil {
				return 0, err
			}
			b.src.Skip(len(line) + 2)
			b.state = chunkSize
		case chunkTrailer:
			done, err := b.readTrailer()
			if err != nil {
				return 0, err
			}
			if done {
				b.state = bodyDone
				return 0, io.EOF
			}
		case bodyDone:
			return 0, io.EOF
		}
	}
}

// line returns the next line without its CRLF; limit bounds its length. It is not consumed.
func (b *Body) line(limit int) ([]byte, error) {
	for {
		have := b.src.Bytes()
		if i := bytes.IndexByte(have, '\n'); i >= 0 {
			if i == 0 || have[i-1] != '\r' || i-1 > limit || !clean(have[:i-1]) {
				return nil, ErrBadChunk
			}
			return have[:i-1], nil
		}
		if len(have) > limit+1 {
			return nil, ErrBadChunk
		}
		if err := b.fill(); err != nil {
			return nil, err
		}
	}
}

func (b *Body) fill() error {
	ok, err := b.src.FillMore(b.limits.HeadBytes + chunkLineMax)
	if !ok {
		return ErrBadChunk
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// forbiddenInTrailers would change how a message is framed, routed or whom it is from (RFC 9110 section 6.5.1).
const forbiddenInTrailers = HopByHop | 1<<Host | 1<<Authorization | 1<<Cookie | 1<<SetCookie | 1<<ContentType | 1<<Expect |
	1<<Forwarded | 1<<XForwardedFor | 1<<XForwardedHost | 1<<XForwardedProto | 1<<XForwardedOther |
	1<<XRealIP | 1<<XRequestID | 1<<Via | 1<<ClientCert | 1<<ClientCertChain

// readTrailer reads one line of the trailer section and reports whether it was the empty one.
func (b *Body) readTrailer() (bool, error) {
	line, err := b.line(b.limits.HeadBytes)
	if err != nil {
		if err == ErrBadChunk {
			err = ErrBadTrailer
		}
		return false, err
	}
	if len(line) == 0 {
		b.src.Skip(2)
		return true, nil
	}
	if b.overhead += len(line); b.overhead > b.limits.HeadBytes || b.trailer.Len() >= b.limits.Fields {
		return false, ErrBadTrailer
	}
	var m Message
	m.Reset()
	var one Head
	one.block = line
	if err := scanField(line, 0, &m, &one); err != nil {
		return false, ErrBadTrailer
	}
	f := &one.fields[0]
	if uint64(1)<<f.known&forbiddenInTrailers != 0 {
		return false, ErrBadTrailer
	}
	b.trailer.Add(string(one.name(f)), one.value(f))
	b.src.Skip(len(line) + 2)
	return false, nil
}

// parseChunkSize reads 1*HEXDIG and looks away from extensions, which must begin with ";".
func parseChunkSize(line []byte) (int64, bool) {
	var n int64
	i := 0
	for ; i < len(line); i++ {
		c := lower[line[i]]
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | int64(c-'0')
		case 'a' <= c && c <= 'f':
			n = n<<4 | int64(c-'a'+10)
		default:
			goto extension
		}
		if i >= 15 {
			return 0, false
		}
	}
	return n, i > 0
extension:
	return n, i > 0 && line[i] == ';'
}

// ChunkHeadMax is room enough for the line that begins a chunk, however long the buffer that follows.
const ChunkHeadMax = 10

// PutChunkHead writes the line for a chunk of n bytes right before b[at:] and returns where it begins. There must
// be ChunkHeadMax bytes of room.
func PutChunkHead(b []byte, at, n int) int {
	const digits = "0123456789abcdef"
	i := at - 2
	b[i], b[i+1] = '\r', '\n'
	for {
		i--
		b[i] = digits[n&15]
		if n >>= 4; n == 0 {
			return i
		}
	}
}
