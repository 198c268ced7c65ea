package config

// Admin is the listener for health, metrics and the admin API.
type Admin struct {
	Off       bool       // admin: off
	Address   Address    `cfg:"address" default:"127.0.0.1:9180" doc:"where it listens: host:port or unix:/path"`
	Token     Secret     `cfg:"token" doc:"what callers send as Authorization: Bearer; needed when others than this machine can connect"`
	Profiling *Profiling `cfg:"profiling" doc:"profiles that are taken without being asked for; off by default, on writes them to the folder profiles in state"`
	Pos       Pos
}

func (a *Admin) decodeShort(d *decoder, n *node, path string) bool {
	text, ok := d.scalar(n, path, "address and token, or off")
	if ok && text != "off" {
		d.wants(n, path, "address and token, or off", `write admin: { address: "127.0.0.1:9180" }`)
	}
	a.Off = text == "off"
	return true
}

// tokenBytesMin is about what a random token needs so that it cannot be guessed.
const tokenBytesMin = 16

func (v *validator) admin(a Admin) {
	if a.Off {
		return
	}
	v.profiling(a)
	if a.Address.Network == "" {
		return
	}
	if a.Token.IsZero() && !v.written("admin.token") && !a.Address.Private() {
		v.fail("admin.address", "others than this machine can connect, and there is no admin.token", "add a token, or listen on 127.0.0.1 or a unix: socket")
	}
	if !a.Token.IsZero() && len(a.Token.Reveal()) < tokenBytesMin {
		v.warn("admin.token", "the token is short enough to be guessed", "16 random characters or more")
	}
}
