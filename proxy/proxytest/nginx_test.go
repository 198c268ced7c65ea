package proxytest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nginx is a second reader of HTTP, by other people, in another language.
type nginx struct {
	t    testing.TB
	path string // of its socket
}

// nginxConf makes the outer server hand each request, with its body unwrapped and counted, to the inner one, which
// answers what it has understood: the method, target and host as the outer one read them, and the size of the body.
const nginxConf = `
daemon off;
master_process off;
pid nginx.pid;
error_log error.log info;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
	client_max_body_size 0;
	client_header_buffer_size 4k;
	large_client_header_buffers 8 32k;
	keepalive_requests 1000000;
	server {
		listen unix:%[1]s/outer;
		location / {
			proxy_pass http://unix:%[1]s/inner:;
			proxy_ignore_client_abort on;
			proxy_set_header X-Seen "$request_method $request_uri $http_host";
			proxy_set_header Expect "";
		}
	}
	server {
		listen unix:%[1]s/inner;
		add_header X-Seen "$http_x_seen $content_length" always;
		location / { return 204; }
	}
	server {
		listen unix:%[1]s/proxied proxy_protocol;
		location / { return 200 $proxy_protocol_addr:$proxy_protocol_port; }
	}
}
`

func startNginx(t testing.TB) *nginx {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Fatal("nginx, the second reader of this test, is missing: `make test` installs it (package nginx-light)")
		}
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(program, "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", conf)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // it ends with a test that does not
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is ended by a signal
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		<-ended
	})
	n := &nginx{t: t, path: filepath.Join(dir, "outer")}
	inner := filepath.Join(dir, "inner")
	for deadline := time.Now().Add(30 * time.Second); ; {
		if reachable(n.path) && reachable(inner) && reachable(filepath.Join(dir, "proxied")) {
			return n
		}
		select {
		case <-ended:
			t.Fatalf("nginx ended: %s", said.String())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("nginx does not listen after 30 seconds")
		}
	}
}

func reachable(path string) bool {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// sentinel follows what is to be read: only a reader that has found the end of everything before it sees it.
const sentinel = "GET /sentinel HTTP/1.1\r\nHost: sentinel\r\nConnection: close\r\n\r\n"

// read sends bytes and returns what nginx took them for, "METHOD target host size" per request; a request that it
// refused is just the status.
func (n *nginx) read(sent []byte) []string {
	n.t.Helper()
	c, err := net.Dial("unix", n.path)
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		n.t.Fatal(err)
	}
	go func() {
		// nginx may refuse and close before it has read everything.
		_, _ = c.Write(sent)
		_ = c.(*net.UnixConn).CloseWrite()
	}()
	var seen []string
	in := bufio.NewReader(c)
	for {
		// Every answer of interest is one without a body, whatever the method was.
		resp, err := http.ReadResponse(in, &http.Request{Method: "HEAD"})
		if err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF && !strings.Contains(err.Error(), "connection reset") {
				n.t.Fatalf("nginx answers to %q: %v", sent, err)
			}
			return seen
		}
		switch {
		case resp.StatusCode < 200:
		case resp.Header.Get("X-Seen") == "":
			return append(seen, fmt.Sprint(resp.StatusCode))
		default:
			seen = append(seen, resp.Header.Get("X-Seen"))
		}
	}
}
