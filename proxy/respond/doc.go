// Package respond answers where no origin does. It holds the policies that never hand on:
//
//   - Static answers with a configured status, head and body;
//   - Redirect sends the client to another URL;
//   - HTTPS sends it to the same URL with https.
//
// Problems is the renderer of errors.
//
// The target of a redirect is put together from the request, so it is what an attacker would like to choose. A
// target that names no host never leaves the client's, whatever the values in it are, and a target that names one
// never leaves that; see Redirect.
//
// All of them are immutable, safe for concurrent use, and do not allocate per request, except for a body with
// variables that is far longer than its template.
package respond
