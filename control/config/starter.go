package config

import _ "embed"

//go:embed starter.yaml
var starter []byte

// Starter returns the commented file that `sluice init` writes. It can be used as it is.
func Starter() []byte { return append([]byte(nil), starter...) }
