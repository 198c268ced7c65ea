package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestAddressFile changes a list of denied networks under a gateway that serves: each reload takes it as a whole, or leaves everything as
// it was, and no request notices.
func TestAddressFile(t *testing.T) {
	dir := t.TempDir()
	web := freePort(t)
	list := filepath.Join(dir, "blocklist.txt")
	var long strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&long, "%d.%d.%d.0/24\n", 11+i>>16, i>>8&255, i&255)
	}
	const nobody, here = "192.0.2.0/24 # for documentation\n", "127.0.0.1\n"
	writeFile(t, list, nobody)
	g := startGateway(t, writeFile(t, filepath.Join(dir, "sluice.yaml"), listenBlock(web)+
		"policies: { listed: { addresses: { deny: [192.0.2.9], deny_file: blocklist.txt } } }\n"+
		"routes: { ping: { match: /ping, use: [listed], respond: { text: pong } }, pong: { match: /pong, use: [listed], respond: { text: ping } } }\n"))

	var served, broken atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
		for {
			select {
			case <-stop:
				return
			default:
			}
			if res, err := client.Get("http://" + web + "/pong"); err != nil {
				t.Errorf("a request fails: %v", err)
				broken.Add(1)
			} else {
				res.Body.Close()
				served.Add(1)
			}
		}
	}()
	f := func(what, text string, want int, problem string) {
		t.Helper()
		if text == "" {
			must(t, os.Remove(list))
		} else {
			writeFile(t, list, text)
		}
		_, err := g.Reload()
		if problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%s: the reload says %v", what, err)
		}
		if status, _ := get("http://" + web + "/ping"); status != want {
			t.Errorf("%s: a request is answered %d, want %d", what, status, want)
		}
	}
	f("as it was", nobody, 200, "")
	f("a long list", long.String(), 200, "")
	f("a long list with this host", long.String()+here, 403, "")
	f("a line that is no network", nobody+"nonsense\n", 403, list+":2:1")
	f("a file that is gone", "", 403, "cannot read the file")
	f("an empty one", "\n", 403, "holds no network")
	f("another list", nobody, 200, "")
	close(stop)
	<-stopped
	if served.Load() == 0 || broken.Load() > 0 {
		t.Errorf("%d requests were served meanwhile, %d failed", served.Load(), broken.Load())
	}

	w, s := follows(t, filepath.Join(dir, "sluice.yaml"))
	writeFile(t, list, nobody+here)
	expect(t, w, s, "a line more", true)
	must(t, os.Remove(list))
	expect(t, w, s, "removed", true)
}
