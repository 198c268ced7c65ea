// Package browser holds what concerns browsers alone: they do for any page what it asks for, with the cookies of whoever
// looks at it, unless they are told otherwise.
//
//   - CORS tells them which pages of other origins may call a route, and read the answers.
//
// Read cors.go first, then origins.go (which pages those are).
package browser
