package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRun follows one process from its start to its end.
func TestRun(t *testing.T) {
	o := newTestOrigin(t)
	file := o.configured(t, "limits: { drain: 20s }\n")
	good := readText(t, file)
	p := launch(t, "run", "-c", file)
	web, adm := "http://"+p.address("web"), "http://"+p.address("admin")
	f := func(method, url string, want int, wantBody string) {
		t.Helper()
		if status, body := call(method, url); status != want || !strings.Contains(body, wantBody) {
			t.Errorf("%s %s: %d %q, want %d %q", method, url, status, body, want, wantBody)
		}
	}
	f("GET", web+"/items/7", 200, "origin saw GET /items/7")
	f("POST", web+"/api/a/b", 200, "origin saw POST /api/a/b")
	f("POST", web+"/items/7", 405, "urn:sluice:problem:method_not_allowed")
	f("GET", web+"/nowhere", 404, "urn:sluice:problem:no_route")
	f("GET", adm+"/readyz", 200, "ok")
	f("GET", adm+"/v1/status", 200, `"generation": 1`)
	f("GET", adm+"/v1/routes", 200, `"match": "GET /items/{id}"`)
	f("GET", adm+"/v1/services", 200, strings.TrimPrefix(o.url, "http://"))
	f("GET", adm+"/metrics", 200, `sluice_upstream_connections{service="origin",endpoint="`+strings.TrimPrefix(o.url, "http://")+`",state="open"} 1`)
	f("GET", adm+"/metrics", 200, "\nsluice_config_last_reload_successful 1\n")

	// SIGHUP.
	writeFile(t, file, strings.Replace(good, "limits:", "  more: { match: /more, to: origin }\nlimits:", 1))
	f("GET", web+"/more", 404, "no_route")
	p.signal(syscall.SIGHUP)
	eventually(t, "the new route", func() bool { status, _ := get(web + "/more"); return status == 200 })

	// A broken file changes nothing and is reported whole.
	writeFile(t, file, strings.Replace(good, "/items/{id}", "/items/{id", 1)+"nonsense: 1\n")
	f("POST", adm+"/v1/reload", 422, "urn:sluice:problem:broken_configuration")
	_, body := call("POST", adm+"/v1/reload")
	var refusal struct {
		Problems []struct {
			File         string
			Line, Column int
		}
	}
	if err := json.Unmarshal([]byte(body), &refusal); err != nil || len(refusal.Problems) == 0 || refusal.Problems[0].File != file || refusal.Problems[0].Line == 0 {
		t.Errorf("the refusal does not list the problems (%v): %s", err, body)
	}
	p.signal(syscall.SIGHUP)
	f("GET", web+"/more", 200, "origin saw")
	f("GET", adm+"/metrics", 200, "\nsluice_config_last_reload_successful 0\n")
	f("GET", adm+"/metrics", 200, "\nsluice_config_generation 2\n")
	eventually(t, "the failed reloads in the metrics", func() bool {
		_, body := get(adm + "/metrics")
		return strings.Contains(body, "\nsluice_config_reloads_total{result=\"failed\"} 3\n")
	})
	eventually(t, "the log says what is wrong with the file", func() bool { return strings.Contains(p.log(), "nonsense") })

	writeFile(t, file, good)
	f("POST", adm+"/v1/reload", 200, `"generation": 3`)
	f("GET", web+"/more", 404, "no_route")
	f("GET", web+"/items/8", 200, "origin saw")
	f("GET", adm+"/metrics", 200, "\nsluice_config_last_reload_successful 1\n")

	// Drain: readyz fails while clients are still served, and a request under way ends well.
	slow := make(chan string, 1)
	go func() {
		_, body := get(web + "/items/slow")
		slow <- body
	}()
	<-o.reached
	p.signal(syscall.SIGTERM)
	eventually(t, "readyz failing", func() bool { status, body := get(adm + "/readyz"); return status == 503 && body == "draining\n" })
	f("GET", web+"/items/9", 200, "origin saw")
	f("GET", adm+"/healthz", 200, "ok")
	f("POST", adm+"/v1/reload", 503, "going down")
	eventually(t, "the listener closing", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(web, "http://"))
		if err != nil {
			return true
		}
		_ = c.Close() // it was a question only
		return false
	})
	close(o.release)
	if body := <-slow; body != "origin saw GET /items/slow" {
		t.Errorf("the request under way got %q", body)
	}
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestDrainCuts(t *testing.T) {
	f := func(drain string, second bool) {
		t.Helper()
		o := newTestOrigin(t)
		p := launch(t, "run", "-c", o.configured(t, "limits: { drain: "+drain+" }\n"))
		web := "http://" + p.address("web")
		cut := make(chan int, 1)
		go func() {
			status, _ := get(web + "/items/slow")
			cut <- status
		}()
		<-o.reached
		p.signal(syscall.SIGTERM)
		if second {
			// Signals are told apart from when the first one was noticed, not from when it was sent.
			eventually(t, "the drain", func() bool { return strings.Contains(p.log(), `"msg":"draining"`) })
			time.Sleep(2 * sameSignal)
			p.signal(syscall.SIGTERM)
		}
		if code := p.exit(); code != 1 { // in less than the 30 s that a drain takes unless told otherwise, and than 10 minutes
			t.Errorf("drain %s: exit code %d, want 1", drain, code)
		}
		if status := <-cut; status == 200 {
			t.Errorf("drain %s: the request was answered", drain)
		}
	}
	f("300ms", false)
	f("10m", true)
}

// TestOneInterruptInTwo: a terminal sends Ctrl-C to all of a group, and a supervisor in it passes it on.
func TestOneInterruptInTwo(t *testing.T) {
	o := newTestOrigin(t)
	p := launch(t, "run", "-c", o.configured(t, "limits: { drain: 20s }\n"))
	web := "http://" + p.address("web")
	slow := make(chan int, 1)
	go func() {
		status, _ := get(web + "/items/slow")
		slow <- status
	}()
	<-o.reached
	p.signal(syscall.SIGINT)
	p.signal(syscall.SIGINT)
	time.Sleep(2 * sameSignal)
	close(o.release)
	if status := <-slow; status != 200 {
		t.Errorf("the request under way ended with %d", status)
	}
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestRunWatches(t *testing.T) {
	t.Parallel() // it waits most of the time
	o := newTestOrigin(t)
	file := o.configured(t, "")
	p := launch(t, "run", "-c", file, "--watch")
	web := "http://" + p.address("web")
	adm := "http://" + p.address("admin")
	f := func(text, path string, want int) {
		t.Helper()
		writeFile(t, file, text)
		eventually(t, path, func() bool { status, _ := get(web + path); return status == want })
	}
	good := readText(t, file)
	f(good+"  more: { match: /more, to: origin }\n", "/more", 200)
	writeFile(t, file, "broken")
	eventually(t, "the failure being noticed", func() bool {
		_, body := get(adm + "/metrics")
		return strings.Contains(body, "\nsluice_config_last_reload_successful 0\n")
	})
	f(good+"  more: { match: /more, to: origin }\n  evenmore: { match: /evenmore, to: origin }\n", "/evenmore", 200)
	f(good, "/more", 404)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestLastGood(t *testing.T) {
	o := newTestOrigin(t)
	state := filepath.Join(t.TempDir(), "state")
	file := o.configured(t, "  secret: { match: /secret, respond: { text: \"${file:secret.txt}\" } }\nstate: "+state+"\nlimits: { drain: 1s }\ninclude: [conf.d/*.yaml, extra.yaml]\n")
	dir := filepath.Dir(file)
	writeFile(t, filepath.Join(dir, "secret.txt"), "hunter2")
	included := writeFile(t, filepath.Join(dir, "conf.d", "a.yaml"), "routes: { included: { match: /included, to: origin } }\n")
	extra := writeFile(t, filepath.Join(dir, "extra.yaml"), "routes: { extra: { match: /extra, to: origin } }\n")
	good := readText(t, file)

	// ends runs the process until what was asked of it is seen.
	ends := func(checks func(web, adm string), args ...string) *process {
		t.Helper()
		p := launch(t, append([]string{"run", "-c", file}, args...)...)
		checks("http://"+p.address("web"), "http://"+p.address("admin"))
		p.signal(syscall.SIGTERM)
		if code := p.exit(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		return p
	}
	serves := func(lastGood bool) func(web, adm string) {
		return func(web, adm string) {
			t.Helper()
			for _, path := range []string{"/items/1", "/included", "/extra", "/secret"} {
				if status, body := get(web + path); status != 200 {
					t.Errorf("%s: %d %s", path, status, body)
				}
			}
			_, metrics := get(adm + "/metrics")
			if broken := strings.Contains(metrics, "\nsluice_config_last_reload_successful 0\n"); broken != lastGood {
				t.Errorf("the metric says broken: %v, want %v", broken, lastGood)
			}
			_, status := get(adm + "/v1/status")
			if strings.Contains(status, `"last_good": true`) != lastGood {
				t.Errorf("last_good is not %v: %s", lastGood, status)
			}
		}
	}
	ends(serves(false))
	saved := filepath.Join(state, lastGoodFile)
	if info, err := os.Stat(saved); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the last good configuration is not private: %v (%v)", info, err)
	}
	if text := readText(t, saved); strings.Contains(text, "hunter2") || !strings.Contains(text, "/included") || !strings.Contains(text, "/extra") {
		t.Errorf("the last good configuration holds a secret, or not all files:\n%s", text)
	}

	// Broken in any place: the last good one serves, and says so.
	writeFile(t, included, "routes: { included: { match: /included, to: nobody } }\n")
	p := ends(serves(true))
	if !strings.Contains(p.log(), "THE CONFIGURATION IS BROKEN") || !strings.Contains(p.log(), "nobody") {
		t.Error("the log does not say loudly what is wrong")
	}
	for _, name := range []string{included, extra} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	ends(serves(true))
	writeFile(t, file, "nonsense")
	ends(serves(true), "--state", state)

	f := func(text string, args ...string) {
		t.Helper()
		writeFile(t, file, text)
		if _, stderr, code := sluice(t, dir, append([]string{"run", "-c", file}, args...)...); code != 1 {
			t.Errorf("exit code %d, want 1: %s", code, stderr)
		}
	}
	f("nonsense")                                               // nobody knows where to look
	f("nonsense\n", "--state", filepath.Join(dir, "elsewhere")) // nothing there
	writeFile(t, saved, "{")
	f(strings.Replace(good, "routes:", "rotues:", 1)) // what is there is broken, too
	writeFile(t, saved, `{"main":"/other.yaml","files":{"/other.yaml":"version: 1"}}`)
	f(strings.Replace(good, "routes:", "rotues:", 1)) // another file's
}

// newPipe returns a named pipe and its end to read from, without which nobody can open it to write.
func newPipe(t *testing.T) (name string, reader *os.File) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "access.log")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	return name, reader
}

// TestSignalWhileClosing: who has lost patience with what is left, an access log that nobody reads here, does not wait for it.
func TestSignalWhileClosing(t *testing.T) {
	t.Parallel()
	o := newTestOrigin(t)
	pipe, reader := newPipe(t)
	defer reader.Close()
	raw, err := reader.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		for err == nil { // until it is full
			_, err = syscall.Write(int(fd), make([]byte, 4096))
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Fatal(err)
	}
	p := launch(t, "run", "-c", o.configured(t, "log: { access: { to: "+pipe+" } }\nlimits: { drain: 1s }\n"))
	if status, body := get("http://" + p.address("web") + "/items/1"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	begin := time.Now()
	for ended := false; !ended; {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		select {
		case code := <-p.done:
			if ended = true; code != 1 {
				t.Errorf("exit code %d, want 1: lines of the access log were lost", code)
			}
		case <-time.After(20 * time.Millisecond):
			if time.Since(begin) > patience {
				t.Fatal("the process does not end")
			}
		}
	}
	if !strings.Contains(p.log(), "in time: context canceled") {
		t.Error("the process did not end by the signal")
	}
}

func TestProxyCommand(t *testing.T) {
	o := newTestOrigin(t)
	p := launch(t, "proxy", "--to", o.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	if status, body := get("http://" + p.address("proxy") + "/any/thing"); status != 200 || body != "origin saw GET /any/thing" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := get("http://" + p.address("admin") + "/readyz"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestSignalWhileReopening: a log that cannot be opened, because nobody reads the pipe any more, does not keep a signal from ending the process.
func TestSignalWhileReopening(t *testing.T) {
	t.Parallel()
	o := newTestOrigin(t)
	pipe, reader := newPipe(t)
	p := launch(t, "run", "-c", o.configured(t, "log: { access: { to: "+pipe+" } }\nlimits: { drain: 1s }\n"))
	p.address("web")
	adm := "http://" + p.address("admin")
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	eventually(t, "the signal", func() bool { return strings.Contains(p.log(), `"signal":"hangup"`) })
	if status, body := get(adm + "/readyz"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}
