package oidc

import (
	"sluice/proxy/auth/oauth"
	"sluice/proxy/auth/recall"
)

// History is what this host knows of attempts and sessions beside what browsers keep: which are over, and what has become of those that were
// refreshed. A cookie is good for every Sessions of its issuer, client and cookie name that has its secret; so all of them, also those
// that come with a reload, have to have one History, or a session that was ended for some of them would open again for others. It is bounded.
// Safe for concurrent use.
type History struct {
	sums    *recall.Sums
	ended   ended
	used    *recall.Answers[struct{}] // states whose callback has come
	renewed *recall.Answers[*renewal] // by the cookie that was there before
	held    *recall.Answers[struct{}] // sessions whose refresh has failed a moment ago
	trades  oauth.Flights[*session]   // of codes
	renews  oauth.Flights[*renewal]
}

// Bounds of what is remembered, and of questions to the provider that are under way.
const (
	usedMax      = 10000
	renewedMax   = 10000
	heldMax      = 10000
	questionsMax = 256
	renewedBytes = 8 << 10
)

// NewHistory returns one in which nothing has happened.
func NewHistory() *History {
	h := &History{
		sums: recall.NewSums(), ended: ended{max: endedMax},
		used: recall.NewAnswers[struct{}](usedMax, 256), renewed: recall.NewAnswers[*renewal](renewedMax, renewedBytes), held: recall.NewAnswers[struct{}](heldMax, 256),
	}
	h.trades.Max, h.renews.Max = questionsMax, questionsMax
	return h
}

// Start and Stop are there for what lasts longer than a configuration: nothing happens in the background.
func (h *History) Start() {}

// Stop does nothing.
func (h *History) Stop() {}
