package config

import (
	"path/filepath"
	"strings"
	"time"
)

// ECH lets clients encrypt which name they ask for (RFC 9849).
type ECH struct {
	PublicName Text     `cfg:"public_name" required:"true" doc:"the name that an observer sees in its place; a certificate has to be for it"`
	Keys       Path     `cfg:"keys" doc:"the folder of the keys, which sluice ech makes and replaces; by default ech/NAME in state"`
	Rotate     Duration `cfg:"rotate" default:"7d" doc:"after how long sluice ech makes another key"`
	Keep       Duration `cfg:"keep" default:"1d" doc:"how long a key decrypts after the next one has come: what the DNS may remember of it"`
	Pos        Pos
}

func (e *ECH) decodeShort(d *decoder, n *node, path string) bool {
	e.PublicName.decode(d, n, path, field{})
	return true
}

// echFolder is the folder in state that has one folder of keys for each set.
const echFolder = "ech"

func (c *Config) inheritECH() {
	for i := range c.TLS {
		if e := c.TLS[i].Value.ECH; e != nil && e.Keys == "" && c.State != "" {
			e.Keys = Path(filepath.Join(string(c.State), echFolder, c.TLS[i].Name))
		}
	}
}

const (
	echRotateMin = Duration(time.Hour)
	// echKeptMax is how many former keys may decrypt: each of them is tried with a ClientHello.
	echKeptMax = 6
)

func (v *validator) ech(e *ECH, path string) {
	name := strings.ToLower(e.PublicName.Text)
	if last := name[strings.LastIndexByte(name, '.')+1:]; name != "" &&
		(!isHostPattern(name) || strings.ContainsAny(name, "*_") || last == name || last[0] >= '0' && last[0] <= '9') {
		at := joinPath(path, "public_name")
		if !v.written(at) {
			at = path
		}
		v.failAt(e.PublicName.Pos, at, "wants a host name with a dot, got "+v.show(e.PublicName.Text, e.PublicName.Pos), "cdn.example")
	}
	if e.Keys == "" && v.config.State == "" {
		v.fail(path, "has no folder for the keys", "add state: /var/lib/sluice, or keys: /etc/sluice/ech")
	}
	switch {
	case e.Rotate < echRotateMin:
		v.fail(joinPath(path, "rotate"), "is shorter than 1h", "")
	case e.Keep > echKeptMax*e.Rotate:
		v.fail(joinPath(path, "keep"), "is longer than six times rotate", "each key that decrypts is tried with every encrypted ClientHello")
	}
}
