// Package auth says who may call: guards that look at what a client has proven about itself. So far that is the certificate
// that it has shown when its connection was made.
package auth
