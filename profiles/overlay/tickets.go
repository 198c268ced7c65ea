package main

import (
	"errors"
	"strings"
)

const (
	week = "m.lifetime = uint32(maxSessionTicketLifetime / time.Second)"
	day  = "m.lifetime = uint32(24 * time.Hour / time.Second)"
)

// shorten makes a session ticket of TLS 1.3 say that it may be used for a day.
//
// A server says how long (RFC 8446 section 4.6.1), and crypto/tls says the most that is allowed, a week, without an option. Whoever
// steals a ticket from a client, or the key that opens it, has that long to pass for one side of the session. Visitors that return
// after more than a day pay for a full handshake, as most servers have it.
func shorten(text string) (string, error) {
	if strings.Count(text, week) != 1 {
		return "", errors.New("it does not say how long a ticket lives as it did in Go 1.26")
	}
	return strings.Replace(text, week, day, 1), nil
}
