package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"sluice/control/config"
)

// TestReadmeBlocks checks what README shows of configurations: each indented block that begins with a section, as part of a whole one. Files that
// it names are made. Services, policies and the like that it only refers to are added, and nothing else is: a block
// that lacks more than that does not work for a reader either.
func TestReadmeBlocks(t *testing.T) {
	blocks := configBlocks(readme(t))
	if len(blocks) < 25 {
		t.Fatalf("README has only %d blocks of configuration", len(blocks))
	}
	dir := t.TempDir()
	made := map[string]bool{}
	for _, b := range blocks {
		text := ownPlaces.ReplaceAllStringFunc(b.text, func(name string) string {
			file := filepath.Join(dir, name)
			if !made[file] {
				made[file] = true
				makeNamed(t, file)
			}
			return file
		})
		for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)\}`).FindAllStringSubmatch(text, -1) {
			t.Setenv(m[1], strings.Repeat("secret", 10))
		}
		text = "version: 1\ninclude: more.yaml\n" + text
		if !strings.Contains(text, "\nadmin:") {
			text += "\nadmin: off\n"
		}
		file := writeFile(t, filepath.Join(dir, "sluice.yaml"), text)
		var said strings.Builder
		for _, problem := range checkWithAdditions(t, file, filepath.Join(dir, "more.yaml")) {
			if !problem.Warning {
				fmt.Fprintf(&said, "line %d: %s\n", b.line+problem.Pos.Line-3, problem)
			}
		}
		if said.Len() > 0 {
			t.Errorf("README line %d: the block does not pass check:\n%s", b.line, said.String())
		}
	}
}

// ownPlaces are the files and folders that blocks name.
var ownPlaces = regexp.MustCompile(`/(etc|run|mnt|var/lib|var/log)/[A-Za-z0-9._/-]+`)

type configBlock struct {
	line int
	text string
}

// configBlocks finds the indented blocks, in lists too, whose first line is a section of a configuration.
func configBlocks(readme string) (blocks []configBlock) {
	var sections []string
	for f := range reflect.TypeFor[config.Config]().Fields() {
		if key := f.Tag.Get("cfg"); key != "" {
			sections = append(sections, key)
		}
	}
	first := regexp.MustCompile(`^( {4,})(` + strings.Join(sections, "|") + `):`)
	lines := strings.Split(readme, "\n")
	fenced := false
	for i := 0; i < len(lines); i++ {
		if strings.HasPrefix(lines[i], "```") {
			fenced = !fenced
		}
		m := first.FindStringSubmatch(lines[i])
		if m == nil || fenced || lines[i-1] != "" {
			continue
		}
		b := configBlock{line: i + 1}
		for ; i < len(lines) && strings.HasPrefix(lines[i], m[1]); i++ {
			b.text += strings.TrimPrefix(lines[i], m[1]) + "\n"
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// checkWithAdditions checks a configuration that includes more, into which it puts what the rest refers to and does not have.
func checkWithAdditions(t *testing.T, file, more string) config.Problems {
	t.Helper()
	missing := regexp.MustCompile(`^there is no ([A-Za-z ]+) "([^"]+)"`)
	added := map[string][]string{
		"listen": {`more: { address: "127.0.0.1:1" }`},
		"routes": {"more: { match: more.example/**, respond: {} }"},
	}
	for {
		var text strings.Builder
		for section, entries := range added {
			fmt.Fprintf(&text, "%s:\n  %s\n", section, strings.Join(entries, "\n  "))
		}
		writeFile(t, more, text.String())
		_, problems := planDry(file)
		again := false
		for _, p := range problems {
			m := missing.FindStringSubmatch(p.Message)
			if m == nil {
				continue
			}
			section, entry := addition(m[1], m[2], p.Path)
			if entry == "" || slices.Contains(added[section], entry) {
				continue
			}
			added[section] = append(added[section], entry)
			again = true
		}
		if !again {
			return problems
		}
	}
}

// addition is what stands in for a thing that a block refers to, and the section that it belongs to.
func addition(kind, name, path string) (section, entry string) {
	const hash = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
	switch kind {
	case "service":
		section, entry = "services", "http://127.0.0.1:9"
		if strings.HasPrefix(path, "listen.") {
			entry = "tcp://127.0.0.1:9"
		}
	case "policy": // that finds out who the client is, as most of those do that others build on
		section, entry = "policies", "{ jwt: { issuer: more, audience: more, secret: "+hash+" } }"
	case "TLS section":
		section, entry = "tls", "{ certificates: [self-signed] }"
	case "group of consumers":
		section, entry = "consumers", "{ more: { plan: gold, keys: [{ prefix: mo, hash: '"+hash+"' }] } }"
	case "store":
		section, entry = "stores", "redis://127.0.0.1:6379"
	case "route":
		section, entry = "routes", "{ match: "+name+".example/**, respond: {} }"
	}
	if entry == "" {
		return "", ""
	}
	return section, name + ": " + entry
}

// makeNamed makes a file or a folder that a block names, with what belongs into one of that name.
func makeNamed(t *testing.T, file string) {
	t.Helper()
	name := filepath.Base(file)
	switch {
	case strings.HasSuffix(file, "/lib/sluice"), strings.HasSuffix(file, "/shared/acme"), strings.HasSuffix(file, ".sock"), strings.HasSuffix(file, ".log"):
	case name == "certs":
		writePair(t, filepath.Join(file, "shop.pem"), 1)
	case name == "acme.pem":
		key, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	case strings.HasSuffix(name, ".pem"):
		writePair(t, file, 1)
	case strings.HasSuffix(name, ".key"): // pairs stand in one file
		if err := os.Symlink(strings.TrimSuffix(file, ".key")+".pem", file); err != nil {
			t.Fatal(err)
		}
	case name == "jwks.json":
		writeFile(t, file, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`)
	case strings.HasSuffix(name, ".mmdb"):
		tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-Country"})
		if err != nil {
			t.Fatal(err)
		}
		for network, country := range map[string]string{"2.0.0.0/8": "DE", "5.0.0.0/8": "AT"} {
			_, n, err := net.ParseCIDR(network)
			if err != nil {
				t.Fatal(err)
			}
			if err := tree.Insert(n, mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(country)}}); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		if _, err := tree.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		writeFile(t, file, b.String())
	case name == "blocklist.txt":
		writeFile(t, file, "192.0.2.0/24\n")
	default:
		writeFile(t, file, strings.Repeat("secret", 10))
	}
}
