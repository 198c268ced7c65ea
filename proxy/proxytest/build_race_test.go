//go:build race

package proxytest

func init() { underRace = true }
