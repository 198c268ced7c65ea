package server

import (
	"errors"

	"sluice/proxy"
)

// caught is deferred at the top of a goroutine: a panic that nobody closer to it has caught is a bug of the gateway, and not the end of the process.
func caught() {
	if p := recover(); p != nil {
		proxy.Caught(p)
	}
}

// recoverAs turns a panic into an error, where there is somebody who knows what to do then.
func recoverAs(err *error) {
	if p := recover(); p != nil {
		proxy.Caught(p)
		*err = errBroken
	}
}

// errBroken stands for a panic.
var errBroken = errors.New("a bug of the gateway")
