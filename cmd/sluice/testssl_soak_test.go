package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestSoakTestssl lets testssl.sh look at the modern preset. Whatever it grades LOW or worse is an error, but for what comes
// of the certificate of a test, which nobody trusts, which ends soon and whose name has no DNS records.
func TestSoakTestssl(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes a minute: set SLUICE_SOAK=1")
	}
	testssl, err := exec.LookPath("testssl")
	if err != nil {
		t.Fatalf("%v: make soak installs testssl.sh", err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "pair.pem")
	writePair(t, file, 1)
	config := writeFile(t, filepath.Join(dir, "sluice.yaml"), `version: 1
admin: off
listen: { web: { address: "127.0.0.1:0", tls: edge } }
tls: { edge: { certificates: { cert: `+file+` }, preset: modern, hsts: 365d } }
routes: { all: { match: "/**", respond: { text: "hello\n", headers: { X-Content-Type-Options: nosniff } } } }
`)
	address := launch(t, "run", "-c", config).address("web")

	report := filepath.Join(dir, "report.json")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, testssl, "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--jsonfile", report, address).CombinedOutput()
	text, readErr := os.ReadFile(report)
	if readErr != nil {
		t.Fatalf("%v, %v\n%s", readErr, err, out)
	}
	var findings []struct{ ID, Severity, Finding string }
	if err := json.Unmarshal(text, &findings); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	ofTheCertificate := []string{"cert_trust", "cert_chain_of_trust", "cert_expirationStatus", "cert_notAfter", "cert_revocation", "cert_serialNumberLen", "DNS_CAArecord"}
	var passed []string
	for _, f := range findings {
		switch f.Severity {
		case "LOW", "MEDIUM", "HIGH", "CRITICAL":
			if !slices.Contains(ofTheCertificate, f.ID) {
				t.Errorf("%s: %s: %s", f.Severity, f.ID, f.Finding)
			}
		case "OK", "INFO":
			passed = append(passed, f.ID)
		}
	}
	// It must have looked: at a server that is not there, nothing is wrong.
	for _, id := range []string{"TLS1_3", "TLS1_2", "PFS", "TLS_session_ticket", "heartbleed", "HSTS_time"} {
		if !slices.Contains(passed, id) {
			t.Errorf("%s is not among what was found to be in order", id)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
