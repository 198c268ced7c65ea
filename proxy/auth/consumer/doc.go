// Package consumer knows the clients that stand in the configuration, and admits them by what they have been given: a key, or a
// name and a password.
//
// A Group holds consumers with what their secrets hash to, never the secrets. APIKey and Basic are the guards; they say who the client is by
// setting the exchange's Identity, which was made when the configuration was compiled. Keys are random and long, so one SHA-256 is all that a
// request costs. Passwords are what people have thought up: argon2id makes guessing them expensive, for the gateway, too, and so Passwords
// remembers those that were right and bounds how many are tried at a time.
//
// Beside those of the configuration a group may have Live ones, which are edited while requests look for them.
package consumer
