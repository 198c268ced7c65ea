// Package auth says who may call: guards that look at what a client has proven about itself, and tell the exchange who it is. Here
// that is the certificate that it has shown when its connection was made; package jwt below is about signed tokens, package jose about
// what those are made of, package oauth asks the providers that make them, package introspect is about tokens that only
// they can judge, package oidc lets people sign in at them with a browser, package dpop is about keys that tokens are bound to, package
// servicetoken gets tokens for services, package consumer is about keys and passwords, package signature about requests that are signed, package
// forward about services that are asked, and package expression about conditions. What several of them find out they
// remember in package recall, and what they do beside requests goes on in package background.
package auth
