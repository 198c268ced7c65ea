package config

// Cache is the memory that all policies of the kind cache share.
type Cache struct {
	Memory Size `cfg:"memory" default:"64MiB" min:"1MiB" max:"1TiB" doc:"what the response cache may hold; taken when a route uses a cache policy. Objects up to 1/16 of it are stored"`
}
