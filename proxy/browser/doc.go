// Package browser holds what concerns browsers alone: they do for any page what it asks for, with the cookies of whoever
// looks at it, unless they are told otherwise.
//
//   - CORS tells them which pages of other origins may call a route, and read the answers.
//   - Headers tells them to be careful with what they get.
//   - Cookies completes the cookies of origins that forget who must not see them.
//   - CSRF refuses what a page of another site makes them send.
//
// Read cors.go first, then origins.go (which pages those are); the others stand for themselves.
package browser
