package config

// traits are what the rest of a configuration has to know about a policy.
type traits struct {
	mode       string
	guards     bool // it refuses requests
	apart      bool // what it finds out about clients tells them apart
	identifies bool // it finds out who they are
	reads      bool // it reads what clients send in Authorization, or what they have signed with it
	verifies   bool // it leaves the access token that it has found to be good for those behind it
}

// traits has a line for each kind. What is not told here about a kind is believed of none: a guard that is missing may stand behind a cache,
// which lets everybody in who asks second. TestKinds of control/compile wants every kind in its table.
func (p Policy) traits() traits {
	const always = "enforce"
	switch {
	case p.Addresses != nil:
		return traits{mode: p.Addresses.Mode, guards: true}
	case p.Countries != nil:
		return traits{mode: p.Countries.Mode, guards: true}
	case p.CSRF != nil:
		return traits{mode: p.CSRF.Mode, guards: true}
	case p.Authorize != nil:
		return traits{mode: p.Authorize.Mode, guards: true}
	case p.ClientCert != nil:
		return traits{mode: p.ClientCert.Mode, guards: true, apart: true, identifies: true}
	case p.OIDC != nil:
		return traits{mode: always, guards: true, apart: true, identifies: true}
	case p.APIKey != nil:
		return traits{mode: p.APIKey.Mode, guards: true, apart: true, identifies: true, reads: true}
	case p.BasicAuth != nil:
		return traits{mode: p.BasicAuth.Mode, guards: true, apart: true, identifies: true, reads: true}
	case p.Signature != nil:
		return traits{mode: p.Signature.Mode, guards: true, apart: true, identifies: true, reads: true}
	case p.JWT != nil:
		return traits{mode: p.JWT.Mode, guards: true, apart: true, identifies: true, reads: true, verifies: true}
	case p.Introspection != nil:
		return traits{mode: p.Introspection.Mode, guards: true, apart: true, identifies: true, reads: true, verifies: true}
	case p.ForwardAuth != nil:
		return traits{mode: p.ForwardAuth.Mode, guards: true, apart: true, identifies: p.ForwardAuth.Identity.Text != "", reads: true}
	// Limits refuse as well, and yet may stand behind a cache: then they count what the service is asked.
	case p.RateLimit != nil, p.Concurrent != nil, p.Quota != nil:
	case p.Headers != nil, p.UpstreamToken != nil, p.Cache != nil, p.Compress != nil, p.SecurityHeaders != nil, p.Cookies != nil:
	}
	return traits{}
}

// Guards reports whether the policy refuses requests: it must see all of them.
func (p Policy) Guards() bool { return p.traits().guards }

// Identifies reports whether the policy proves who the client is, so that what stands behind it in a list may ask: limits per consumer,
// caches for one client. One that does not refuse anybody may have proven nothing.
func (p Policy) Identifies() bool {
	t := p.traits()
	return t.identifies && t.mode == "enforce"
}

// TellsApart reports whether the policy may find out something by which clients are told apart, if not about all of them.
func (p Policy) TellsApart() bool {
	t := p.traits()
	return t.apart && t.mode != "off"
}

// ReadsCredentials reports whether the policy wants what clients send in Authorization as they have sent it.
func (p Policy) ReadsCredentials() bool { return p.traits().reads }

// VerifiesToken reports whether every request that comes past the policy has an access token that is good.
func (p Policy) VerifiesToken() bool {
	t := p.traits()
	return t.verifies && t.mode == "enforce"
}
