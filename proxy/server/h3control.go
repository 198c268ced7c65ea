package server

import (
	"errors"
	"io"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"

	"sluice/proxy"
)

// The kinds of streams in which one side alone speaks (RFC 9114 section 6.2, RFC 9204 section 4.2).
const (
	streamControl = 0
	streamPush    = 1
	streamEncoder = 2
	streamDecoder = 3
)

// The settings (RFC 9114 section 7.2.4.1) that are looked at.
const settingFieldSection = 0x6

// fieldSectionMax is how large a client is told that a head may be: each field counts 32 bytes more than it has.
func fieldSectionMax(lim *proxy.Limits) int { return lim.HeadBytes + 32*lim.Fields }

// greet opens the control stream and sends the settings.
func (c *h3) greet() error {
	str, err := c.conn.OpenUniStream()
	if err != nil {
		return err
	}
	c.control = str
	lim := &c.server.snapshot.Load().Limits
	_ = str.SetWriteDeadline(time.Now().Add(lim.HeadTimeout)) // never fails
	var setting []byte
	setting = quicvarint.Append(setting, settingFieldSection)
	setting = quicvarint.Append(setting, uint64(fieldSectionMax(lim)))
	b := quicvarint.Append(nil, streamControl)
	b = quicvarint.Append(b, frameSettings)
	b = quicvarint.Append(b, uint64(len(setting)))
	_, err = str.Write(append(b, setting...))
	return err
}

func appendGoAway(b []byte, id int64) []byte {
	b = quicvarint.Append(b, frameGoAway)
	b = quicvarint.Append(b, uint64(quicvarint.Len(uint64(id))))
	return quicvarint.Append(b, uint64(id))
}

// takeUniStreams reads the streams in which the client alone speaks.
func (c *h3) takeUniStreams() {
	defer caught()
	for {
		str, err := c.conn.AcceptUniStream(c.conn.Context())
		if err != nil {
			return // the connection has ended
		}
		c.working.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					proxy.Caught(p)
					c.fail(codeInternal)
				}
			}()
			defer str.ReleaseStreamCredit()
			if err := c.takeUniStream(str); err != nil {
				if e, ok := errors.AsType[h3Error](err); ok {
					c.fail(e)
				}
			}
		})
	}
}

// takeUniStream reads one stream to its end. Those that a connection needs may have none (RFC 9114 section 6.2.1).
func (c *h3) takeUniStream(str *quic.ReceiveStream) error {
	in := &h3input{from: str, mem: make([]byte, 64)}
	kind, err := in.number()
	if err != nil {
		return c.judge((*flood).talk) // nobody knows what it was to be, which is allowed
	}
	switch kind {
	case streamControl:
		return c.critical(0, func() error { return c.takeControl(in) })
	case streamEncoder:
		return c.critical(1, func() error { return c.takeEncoder(in) })
	case streamDecoder:
		return c.critical(2, func() error { return c.takeDecoder(in) })
	case streamPush:
		return h3Error(codeStreamCreation) // only servers push
	}
	str.CancelRead(codeStreamCreation)
	return c.judge((*flood).talk)
}

// critical reads a stream of which there is one, to the end of the connection.
func (c *h3) critical(which int, read func() error) error {
	c.mu.Lock()
	twice := c.opened[which]
	c.opened[which] = true
	c.mu.Unlock()
	if twice {
		return h3Error(codeStreamCreation)
	}
	err := read()
	if _, reset := errors.AsType[*quic.StreamError](err); reset || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return h3Error(codeClosedCritical)
	}
	return err
}

// controlFrameMax is how long a frame may be that says something of the connection, also one that nobody knows.
const controlFrameMax = 4 << 10

// h3SettingsMax bounds how many settings a frame has: each is to be there once, and few are known.
const h3SettingsMax = 32

// takeControl reads what the client says of the connection. Nothing of it changes what the gateway does: pushes are not made, and
// priorities are advice.
func (c *h3) takeControl(in *h3input) error {
	pushes, away := uint64(0), uint64(1<<62)
	for first := true; ; first = false {
		kind, size, err := in.frame()
		if err != nil {
			return err
		}
		switch {
		case first != (kind == frameSettings):
			if first {
				return h3Error(codeMissingSettings)
			}
			return h3Error(codeFrameUnexpected)
		case kind == frameData || kind == frameHeaders || kind == framePushPromise || isReserved(kind):
			return h3Error(codeFrameUnexpected)
		case size > controlFrameMax:
			return h3Error(codeExcessiveLoad)
		case kind == frameSettings:
			err = takeSettings3(in, size)
		case kind == frameMaxPushID:
			if pushes, err = takeID(in, size, pushes, 1<<62); err == nil {
				err = c.judge((*flood).talk)
			}
		case kind == frameGoAway:
			if away, err = takeID(in, size, 0, away); err == nil {
				err = c.judge((*flood).talk)
			}
		case kind == frameCancelPush, kind == framePriorityPush:
			return h3Error(codeID) // nothing was pushed
		default:
			in.pass(size)
			err = c.judge((*flood).talk)
		}
		if err != nil {
			return err
		}
	}
}

// takeSettings3 checks the client's settings: each of them once, and none of HTTP/2 (RFC 9114 section 7.2.4.1).
func takeSettings3(in *h3input, size int64) error {
	payload := make([]byte, size)
	if err := in.full(payload); err != nil {
		return err
	}
	seen := map[uint64]bool{}
	for len(payload) > 0 {
		id, n, err := quicvarint.Parse(payload)
		if err != nil {
			return h3Error(codeFrame)
		}
		_, m, err := quicvarint.Parse(payload[n:])
		if err != nil {
			return h3Error(codeFrame)
		}
		payload = payload[n+m:]
		if seen[id] || id >= 0x2 && id <= 0x5 || len(seen) >= h3SettingsMax {
			return h3Error(codeSettings)
		}
		seen[id] = true
	}
	return nil
}

// takeID reads a frame that holds one id, from least to most: what has been said is not taken back.
func takeID(in *h3input, size int64, least, most uint64) (uint64, error) {
	if size > 8 {
		return 0, h3Error(codeFrame)
	}
	var payload [8]byte
	if err := in.full(payload[:size]); err != nil {
		return 0, err
	}
	id, n, err := quicvarint.Parse(payload[:size])
	if err != nil || int64(n) != size {
		return 0, h3Error(codeFrame)
	}
	if id < least || id > most {
		return 0, h3Error(codeID)
	}
	return id, nil
}

// takeEncoder reads what the client's compression says: that its table has no room, which is all that it may have.
func (c *h3) takeEncoder(in *h3input) error {
	const capacityZero = 0x20 // RFC 9204 section 4.3.1
	for {
		if len(in.buffered()) == 0 {
			if err := in.fill(); err != nil {
				return err
			}
		}
		if in.buffered()[0] != capacityZero {
			return h3Error(codeEncoderStream)
		}
		in.skip(1)
		if err := c.judge((*flood).talk); err != nil {
			return err
		}
	}
}

// takeDecoder reads what the client says about the compression of responses: at most that it has given a stream up. It has nothing to
// confirm, since no response refers to a table that grows.
func (c *h3) takeDecoder(in *h3input) error {
	for {
		if len(in.buffered()) == 0 {
			if err := in.fill(); err != nil {
				return err
			}
		}
		b := in.buffered()[0]
		in.skip(1)
		if b&0xc0 != 0x40 { // RFC 9204 section 4.4.2
			return h3Error(codeDecoderStream)
		}
		if b&0x3f == 0x3f {
			if err := passPrefixed(in); err != nil {
				return err
			}
		}
		if err := c.judge((*flood).talk); err != nil {
			return err
		}
	}
}

// passPrefixed passes over the rest of an integer that does not fit its prefix (RFC 7541 section 5.1): nine bytes hold any stream's.
func passPrefixed(in *h3input) error {
	for range 9 {
		if len(in.buffered()) == 0 {
			if err := in.fill(); err != nil {
				return err
			}
		}
		b := in.buffered()[0]
		in.skip(1)
		if b < 0x80 {
			return nil
		}
	}
	return h3Error(codeDecoderStream)
}
