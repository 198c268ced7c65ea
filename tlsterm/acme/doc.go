// Package acme gets certificates from an authority by itself (RFC 8555) and keeps them fresh.
//
//	options.go    what can be asked for
//	run.go        Run: which host is due, one order at a time
//	renew.go      when a certificate is due (RFC 9773, or a third of its life)
//	order.go      one order, from the account to the certificate
//	account.go    the account and its key
//	challenge.go  what proves that we answer for a host, and who answers
//	failure.go    why an order failed, and how long to wait after it
//	storage.go    the folder; lock.go: one at a time in it
//
// # The folder is all there is
//
// What this package makes is files: a certificate with its chain and key is one file per host, and whoever serves it watches
// that file as any other. So a restart finds what it had, a reload changes nothing, and processes that share a folder, on one
// host during an upgrade or on many behind a balancer, share everything in it: a lock lets one of them order at a time, who
// has got the lock looks again whether the order is still needed, and the answers to challenges are files, too, so that
// whichever process the authority reaches can give them. So are the pauses after failures: a process that is restarted again
// and again does not ask again and again.
//
//	FOLDER/lock
//	FOLDER/challenges/          answers, while an order is under way
//	FOLDER/AUTHORITY/EMAIL.account   the key of the account
//	FOLDER/AUTHORITY/HOST.pem        certificate, chain, key
//	                                 (HOST+rsa, if the key is RSA)
//	FOLDER/AUTHORITY/HOST.retry      the pause after a failure; remove it to try at once
//
// Files are 0600, folders 0700, and a file holds the old content or the new whatever happens.
//
// # Limits
//
// One order at a time in a folder, of five minutes at most. An authority that does not answer is asked by one host a minute. A
// host whose order failed is tried again after 1 minute, 10 minutes, 1, 3, 6 and from then on every 12 hours, each time a tenth
// more or less, and every hour if the authority was not reached; while a certificate lasts, after a quarter of what is left of it at the latest. A new certificate is left alone for
// an hour. A response of the authority has at most 1 MiB. Whoever asks for the answer to a challenge that is not under way gets
// nothing.
package acme
