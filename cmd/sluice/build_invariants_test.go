//go:build invariants

package main

func init() { buildFlags = append(buildFlags, "-tags=invariants") }
