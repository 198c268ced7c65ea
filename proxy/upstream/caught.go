package upstream

import "sluice/proxy"

// caught is deferred at the top of a goroutine, or of one turn of its loop: a panic that nobody closer to it has caught is a bug of the gateway, and
// not the end of the process.
func caught() {
	if p := recover(); p != nil {
		proxy.Caught(p)
	}
}
