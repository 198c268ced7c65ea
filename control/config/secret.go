package config

import "log/slog"

// Secret is text that never shows: every way of printing it gives "[secret]". Reveal gives the text.
type Secret struct{ text string }

// Reveal returns the secret.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.text == "" }

func (s Secret) String() string               { return "[secret]" }
func (s Secret) GoString() string             { return "[secret]" }
func (s Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue("[secret]") }

func (s *Secret) decode(d *decoder, n *node, path string, _ field) {
	if n.kind != scalarNode { // scalar would name the kind, never the text
		d.wants(n, path, "a secret", "")
		return
	}
	text, ok := d.scalar(n, path, "a secret")
	switch {
	case !ok:
	case text == "":
		d.report.fail(n.pos, path, "is empty", "")
	default:
		s.text = text
	}
}
