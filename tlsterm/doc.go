// Package tlsterm turns options into a TLS server configuration that stays up to date by itself.
//
//	options.go     what can be asked for; preset.go: versions, suites and key exchanges
//	terminator.go  Open, Config, Run
//	check.go       everything that is wrong with options, without using them; problem.go: one thing that is
//	pair.go        a certificate with its key; selfsigned.go: one for development
//	folder.go      which files of a folder are pairs; file.go: reading one of a bounded size
//	ordered.go     certificates that are ordered: see package acme
//	stapling.go    OCSP answers along with certificates: see package ocsp
//	store.go       all pairs of a set, and the table that is made of them
//	table.go       which certificate is for whom
//	watch.go       reading files again when they change
//	tickets.go     the keys of session tickets
//	hello.go       what a client says first, for those who do not end TLS; ja4.go: its fingerprint
//	clientcert.go  authorities of clients; crl.go: what these have revoked; namerules.go: which names they are for
//	ech.go         keys with which clients encrypt the name that they ask for; echkey.go: one of them
//
// # Certificates
//
// A handshake looks its certificate up in an immutable table behind an atomic pointer: by the exact name of SNI (RFC 6066
// section 3), then by a wildcard of one label (RFC 9525 section 6.3), by the local address if there is no name, and else takes
// the first certificate. Where there are several kinds of keys for one name, the first of ECDSA, Ed25519 and RSA that the client
// supports is taken.
//
// Run looks at all files once a second. A pair that changed is read, parsed and matched, and only then a new table is
// published: a pair that is wrong, or half written, costs a line in the log, and the one before stays in force. The other pairs
// are not held up by it. Certificates that are ordered come the same way: package acme writes files, and knows nothing of tables. Until
// there is a file, handshakes for its host are refused and others are not.
//
// # Session tickets
//
// With a secret, the keys are derived by HKDF-SHA256 (RFC 5869) from it and the number of the rotation period, which is the
// Unix time divided by its length. Hosts that share the secret resume each other's sessions without talking; a clock may be
// wrong by up to a period. The current key encrypts. It decrypts for a day more, which is what tickets of TLS 1.3 say that they live
// (RFC 8446 section 4.6.1), until its period is over, and is accepted no longer.
//
// What that costs: a ticket of TLS 1.2 (RFC 5077) holds the keys of its session, so that whoever gets hold of a key reads what
// was recorded of every connection that began with a ticket under it, or was given one. With TLS 1.3 a resumed connection has
// an ephemeral key exchange of its own (RFC 8446 section 2.2, psk_dhe_ke) and stays closed, but who has the key can pass for
// either side of a session that is resumed. What one derived key opens is therefore bounded by one period. The secret itself
// derives the keys of all periods, past ones as well: it belongs into a file that few can read, and should be replaced now and
// then. Keys for other purposes derive from it as well (Tickets.Derive), such as those by which hosts believe each other's address
// tokens of QUIC. Nothing prints the secret or a key. Without a secret, keys are random, never leave the process, and are replaced daily.
//
// # Client certificates
//
// The authorities and their revocation lists (RFC 5280 section 5) are read again like certificates are. Both are applied to
// full handshakes and to resumed ones, so that revoking a certificate ends its sessions' resumption, too. Revocation lists fail
// closed: one that is overdue refuses everybody it is responsible for.
//
// Which of them hold may depend on the name that a client asks for. A session is resumed under the rule alone that it began with:
// crypto/tls would resume that of one name for any other, and does not ask for a certificate then. SNI proves nothing about the
// requests that follow, so that a server has to compare their hosts with NameRules and refuse those that another rule is for; a
// wildcard stands for any number of labels, as in the hosts of routes. Rules by name cost a handshake one look-up.
//
// # Encrypted Client Hello
//
// The keys for ECH (RFC 9849) are files (RFC 9934) in a folder, and not derived from a secret by time as those of tickets are: who
// has such a secret reads the names out of every handshake that was ever recorded, and a file that was deleted opens nothing any
// more. Other servers read the files as well. Hosts behind one balancer get the folder as they get their certificates; while one
// of them lacks a key, its clients are told another one and come again, which is all that it costs.
//
// The last key in the order of the files' names is the current one: the DNS publishes it, and clients with another are told it
// (retry_configs), under the public name and its certificate. The one before it decrypts for as long as the options say after the
// current one has come. A key whose file is gone is not used any more, the only one included: it was deleted so that nobody opens
// anything with it, and then names are asked for in the open. Each key is tried, whatever the config_id says, which costs a multiplication on X25519: there are 8 at most.
// A server that limits handshakes should count from GetEncryptedClientHelloKeys on, which is called before a key is tried.
//
// What crypto/tls does is not decided here: with keys in force, a hello whose encryption is damaged in form, or names algorithms of
// HPKE that crypto/tls does not know, ends in an alert. Those of browsers, made up ones (GREASE) as well, name the usual ones. Its
// documentation wants a server with keys to speak TLS 1.3 alone, which it does not rely on: what was encrypted is refused any other
// version, and clients of TLS 1.2 go on asking in the open, which a test holds on to.
//
// ECH hides the name from who looks on and changes nothing else: the name inside is not proven, as SNI is not, and the answers still
// have their sizes and their times. It is nothing to TLS 1.2.
//
// # Limits
//
// A PEM file has at most 1 MiB, a revocation list 16 MiB, a chain 10 certificates, a folder 10,000 pairs, a file of authorities
// 1,000; more is an error. Versions below TLS 1.2 (RFC 8996) and RSA keys below 2048 bits are refused.
package tlsterm
