package main

import (
	"context"
	"embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// The configurations are files that one can read beside each other; each says what its peer does and does not.
//
//go:embed peers
var configurations embed.FS

// peer is a proxy that can be measured.
type peer struct {
	name    string
	program string // found in PATH and the folders of system programs
	file    string // in peers/
	command []string
	version []string // arguments that make it print its version

	same  bool // writes all the fields that Sluice writes, too
	tuned bool // for large bodies: nginx with 64 KiB buffers instead of its own 4 and 8, HAProxy with splice for all
}

// peers in the order of the table. In command, CONF is the file, DIR its folder, LISTEN the address.
//
// nginx and haproxy are as one finds them in most places: they write X-Forwarded-For and nothing else, so that they do
// a little less than Sluice. nginx-same and haproxy-same write what Sluice writes.
var peers = []peer{
	{name: "nginx", program: "nginx", file: "nginx.conf", command: nginxCommand, version: []string{"-v"}},
	{name: "nginx-64k", program: "nginx", file: "nginx.conf", command: nginxCommand, version: []string{"-v"}, tuned: true},
	{name: "nginx-same", program: "nginx", file: "nginx.conf", command: nginxCommand, version: []string{"-v"}, same: true},
	{name: "haproxy", program: "haproxy", file: "haproxy.cfg", command: haproxyCommand, version: []string{"-v"}},
	{name: "haproxy-splice", program: "haproxy", file: "haproxy.cfg", command: haproxyCommand, version: []string{"-v"}, tuned: true},
	{name: "haproxy-same", program: "haproxy", file: "haproxy.cfg", command: haproxyCommand, version: []string{"-v"}, same: true},
	{name: "varnish", program: "varnishd", file: "varnish.vcl", version: []string{"-V"},
		command: []string{"-F", "-f", "CONF", "-a", "LISTEN", "-n", "DIR", "-p", "thread_pools=1", "-p", "timeout_idle=300", "-s", "malloc,64m"}},
}

var (
	nginxCommand   = []string{"-p", "DIR", "-e", "DIR/nginx.err", "-c", "CONF"}
	haproxyCommand = []string{"-db", "-f", "CONF"}
)

// sluice is a build of Sluice as a peer.
func sluice(name, program string) peer {
	return peer{name: name, program: program, file: "sluice.yaml", command: []string{"run", "-c", "CONF"}, version: []string{"version"}}
}

// settings are what a configuration can depend on.
type settings struct {
	Listen, Admin          string
	Origin                 string
	OriginHost, OriginPort string
	Dir                    string
	Threads                int
	With                   string // the words of the scenario, between +
	Same, Tuned            bool
}

// Has tells whether a word is among those of the scenario.
func (s settings) Has(word string) bool { return slices.Contains(strings.Split(s.With, "+"), word) }

// Routes are the numbers of the routes beside the one for everything: 10,000 with the word routes, N with routes=N.
func (s settings) Routes() []int {
	n := 0
	for word := range strings.SplitSeq(s.With, "+") {
		if word == "routes" {
			n = 10_000
		} else if digits, ok := strings.CutPrefix(word, "routes="); ok {
			n, _ = strconv.Atoi(digits) // it stands in this program
		}
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// running is a peer that serves.
type running struct {
	*process
	peer
	listen, admin string
	dir           string
	words         settings // With alone
	store         *process // of limits that hosts share, or nil
}

// stop ends it, and what was started for it.
func (r *running) stop() {
	r.process.stop()
	r.store.stop()
}

func (r *running) has(word string) bool { return r.words.Has(word) }

// base is what its URLs begin with.
func (r *running) base() string {
	if r.has("tls") {
		return "https://" + r.listen
	}
	return "http://" + r.listen
}

// launch writes the peer's configuration and starts it.
func (p peer) launch(ctx context.Context, dir string, cores string, s settings) (*running, error) {
	program, err := p.find()
	if err != nil {
		return nil, err
	}
	if s, err = p.complete(dir, s); err != nil {
		return nil, err
	}
	conf, err := p.configure(s)
	if err != nil {
		return nil, err
	}
	place := strings.NewReplacer("CONF", conf, "DIR", dir, "LISTEN", s.Listen)
	command := []string{program}
	for _, word := range p.command {
		command = append(command, place.Replace(word))
	}
	// GOMAXPROCS is Sluice's number of threads; the others have it in their configuration.
	child, err := start(p.name, cores, dir, []string{fmt.Sprintf("GOMAXPROCS=%d", s.Threads)}, command...)
	if err != nil {
		return nil, err
	}
	if err := child.listening(ctx, s.Listen); err != nil {
		child.stop()
		return nil, err
	}
	return &running{process: child, peer: p, listen: s.Listen, admin: s.Admin, dir: dir, words: settings{With: s.With}}, nil
}

// complete fills in what depends on the peer.
func (p peer) complete(dir string, s settings) (settings, error) {
	listen, err := freePort()
	if err != nil {
		return s, err
	}
	admin, err := freePort()
	if err != nil {
		return s, err
	}
	s.Listen, s.Admin = fmt.Sprintf("127.0.0.1:%d", listen), fmt.Sprintf("127.0.0.1:%d", admin)
	s.OriginHost, s.OriginPort, err = net.SplitHostPort(s.Origin)
	s.Dir, s.Same, s.Tuned = dir, p.same, p.tuned
	return s, err
}

// configure writes the configuration, and what belongs to it, into its folder.
func (p peer) configure(s settings) (string, error) {
	text, err := template.ParseFS(configurations, "peers/"+p.file)
	if err != nil {
		return "", fmt.Errorf("cannot read the configuration of %s: %w", p.name, err)
	}
	conf := filepath.Join(s.Dir, p.file)
	file, err := os.Create(conf)
	if err != nil {
		return "", fmt.Errorf("cannot configure %s: %w", p.name, err)
	}
	err = text.Execute(file, s)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", fmt.Errorf("cannot configure %s: %w", p.name, err)
	}
	if s.Has("tls") {
		if err := writeCertificate(filepath.Join(s.Dir, "pair.pem")); err != nil {
			return "", fmt.Errorf("cannot configure %s: %w", p.name, err)
		}
	}
	if s.Has("jwt") {
		if err := os.WriteFile(filepath.Join(s.Dir, "keys.json"), issuer.Set(), 0o644); err != nil {
			return "", fmt.Errorf("cannot configure %s: %w", p.name, err)
		}
	}
	if len(s.Routes()) > 0 && p.program == "haproxy" {
		var table strings.Builder
		for _, n := range s.Routes() {
			fmt.Fprintf(&table, "/tenants/t%d/items/ origin\n", n)
		}
		if err := os.WriteFile(filepath.Join(s.Dir, "routes.map"), []byte(table.String()), 0o644); err != nil {
			return "", fmt.Errorf("cannot configure %s: %w", p.name, err)
		}
	}
	return conf, nil
}

// find is the program's path. System programs are not in everybody's PATH.
func (p peer) find() (string, error) {
	if path, err := exec.LookPath(p.program); err == nil {
		return filepath.Abs(path)
	}
	for _, folder := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(folder, p.program)); err == nil {
			return path, nil
		}
	}
	if p.file == "sluice.yaml" {
		return "", fmt.Errorf("there is no %s: `make build` makes it, or say where Sluice is (--sluice)", p.program)
	}
	return "", fmt.Errorf("there is no %s for the peer %s: `make load-tools` installs it, or leave the peer out (--peers)", p.program, p.name)
}

// tells is the version that the program prints.
func (p peer) tells() (string, error) {
	program, err := p.find()
	if err != nil {
		return "", err
	}
	out, err := exec.Command(program, p.version...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot ask %s for its version: %w", p.name, err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line, nil
}

// scrapePath is where the peer tells its metrics.
func (r *running) metrics() string {
	if r.file == "sluice.yaml" {
		return "http://" + r.admin + "/metrics"
	}
	return r.base() + "/metrics"
}

// choose finds peers by their names.
func choose(known []peer, names []string) ([]peer, error) {
	var chosen []peer
	for _, name := range names {
		i := slices.IndexFunc(known, func(p peer) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no peer %q (there are %s)", name, strings.Join(namesOf(known), ", "))
		}
		chosen = append(chosen, known[i])
	}
	return chosen, nil
}

func namesOf(all []peer) []string {
	var names []string
	for _, p := range all {
		names = append(names, p.name)
	}
	return names
}
