package frames

import (
	"errors"
	"io"

	"golang.org/x/net/http2"
)

const (
	// Max is the largest frame either way: the smallest that the protocol allows for, so that streams take turns.
	Max = 16 << 10
	// Head is the length of a frame's head (section 4.1).
	Head = 9
	// InitialWindow is what every window has before anybody says otherwise (section 6.9.2), WindowMax what it may have.
	InitialWindow = 64<<10 - 1
	WindowMax     = 1<<31 - 1
	// LastID is the highest number that a stream can have.
	LastID = 1<<31 - 1
	// TableSize is of the header compression, either way: its default, 4 KiB each.
	TableSize = 4 << 10
	// SettingsMax is how many settings one frame may have: there are seven, and each may touch every stream.
	SettingsMax = 64
	// BlockFramesMax is of how many frames a block of fields may consist. They hold 16 KiB each, and a head's limit is some of
	// them.
	BlockFramesMax = 64
)

// What ends a connection.
const (
	ErrProtocol    = http2.ConnectionError(http2.ErrCodeProtocol)
	ErrSize        = http2.ConnectionError(http2.ErrCodeFrameSize)
	ErrCompression = http2.ConnectionError(http2.ErrCodeCompression)
	ErrClosed      = http2.ConnectionError(http2.ErrCodeStreamClosed)
	// ErrWindow is a sender's that sends, or lets send, more than is allowed.
	ErrWindow = http2.ConnectionError(http2.ErrCodeFlowControl)
	// ErrCalm is a peer's that costs more than its messages are worth.
	ErrCalm = http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
)

// Malformed is what a message is that breaks its own framing (section 8.1.1).
func Malformed(id uint32) error {
	return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
}

// NewFramer returns a framer whose frames are at most Max, and valid until the next one is read.
func NewFramer(w io.Writer, r io.Reader) *http2.Framer {
	fr := http2.NewFramer(w, r)
	fr.SetMaxReadFrameSize(Max)
	fr.SetReuseFrames()
	return fr
}

// Read reads the next frame. An error is an http2.StreamError, after which reading goes on; or an http2.ConnectionError or what
// the connection says, after which nothing can be read.
func Read(fr *http2.Framer) (http2.Frame, error) {
	h, err := fr.ReadFrameHeader()
	var f http2.Frame
	if err == nil {
		f, err = fr.ReadFrameForHeader(h)
	}
	if err == nil {
		return f, nil
	}
	if _, ok := err.(http2.StreamError); ok && h.Type == http2.FrameHeaders {
		return nil, ErrProtocol // its header block was not decoded: no later one could be understood
	}
	if errors.Is(err, http2.ErrFrameTooLarge) {
		return nil, ErrSize
	}
	return nil, err
}

// EachSetting gives take the settings of a frame, one after the other, if they are valid and not too many.
func EachSetting(f *http2.SettingsFrame, take func(s http2.Setting) error) error {
	if f.NumSettings() > SettingsMax {
		return ErrCalm
	}
	return f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		return take(s)
	})
}
