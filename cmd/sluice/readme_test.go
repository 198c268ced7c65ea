package main

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/control/config"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReadmeTour runs the commands of the README's console blocks in one shell, in order, in an empty folder, and
// compares what they print. "..." stands for anything. Ports are replaced by free ones.
func TestReadmeTour(t *testing.T) {
	text := readme(t)
	// The gateway of the tour watches its file: where the next command is slow to come, the change is loaded once more than the README says.
	const generation = "\nsluice_config_generation "
	if !strings.Contains(text, generation+"2\n") {
		t.Error("the README does not look at the generation any more")
	}
	steps := tour(freePorts(t, strings.Replace(text, generation+"2\n", generation+"...\n", 1)))
	if len(steps) < 10 {
		t.Fatalf("the README has only %d commands to run", len(steps))
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(dir, "bin", "sluice")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	var script strings.Builder
	script.WriteString("make() { echo built; }\ntrap 'kill $(jobs -p); wait' EXIT\n")
	for i, s := range steps {
		if first, _, _ := strings.Cut(s.want, "\n"); strings.Contains(s.command, "/metrics") {
			// A request counts when it is over, which is a moment after its client has the answer.
			fmt.Fprintf(&script, "for _ in {1..200}; do { %s; } | grep -qxF '%s' && break; sleep 0.1; done\n", s.command, first)
		}
		fmt.Fprintf(&script, "%s\necho '=== %d'\n", s.command, i)
	}
	shell := exec.CommandContext(ctx, "bash", "-c", script.String())
	shell.Dir = dir
	shell.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	shell.Stdout, shell.Stderr = &out, &out
	if err := shell.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	rest := out.String()
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(dir, "sluice.log")); t.Failed() && err == nil {
			t.Logf("sluice.log:\n%s", log)
		}
	})
	for i, s := range steps {
		got, after, ok := strings.Cut(rest, fmt.Sprintf("=== %d\n", i))
		if !ok {
			t.Fatalf("the tour ended before %q:\n%s", s.command, rest)
		}
		rest = after
		if s.want != "" && !like(s.want).MatchString(got) {
			t.Errorf("$ %s\ngot:\n%s\nthe README says:\n%s", s.command, got, s.want)
		}
	}
}

type step struct{ command, want string }

// TestReadmeKinds: every kind of policy stands in the list of them, and has a section that says more.
func TestReadmeKinds(t *testing.T) {
	text := readme(t)
	_, list, _ := strings.Cut(text, "Kinds in this build:")
	list, _, _ = strings.Cut(list, "\n- ")
	for f := range reflect.TypeFor[config.Policy]().Fields() {
		kind := f.Tag.Get("cfg")
		if kind != "" && (!strings.Contains(list, "`"+kind+"`") || strings.Count(text, kind) < 2) {
			t.Errorf("README says nothing of the policy %s", kind)
		}
	}
}

// TestReadmeMetrics: README names every metric, and no others.
func TestReadmeMetrics(t *testing.T) {
	g := startGateway(t, writeFile(t, filepath.Join(t.TempDir(), "sluice.yaml"), listenBlock("127.0.0.1:0")+"routes: { r: { match: /r, respond: {} } }\n"))
	var b strings.Builder
	if err := g.WriteMetrics(&b); err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (sluice_\w+)`).FindAllStringSubmatch(b.String(), -1) {
		there = append(there, m[1])
	}
	if len(there) < 100 {
		t.Fatalf("there are only %d metrics", len(there))
	}
	sameNames(t, "metric", regexp.MustCompile(`sluice_[a-z0-9_]*[a-z0-9]`).FindAllString(readme(t), -1), there)
}

// TestReadmeCodes: README lists every error code that a client or the access log may see, with its status, and no others.
func TestReadmeCodes(t *testing.T) {
	there := errorCodes(t, "../../proxy")
	if len(there) < 100 {
		t.Fatalf("there are only %d codes", len(there))
	}
	var named []string
	words := regexp.MustCompile("[1-5][0-9][0-9]|`[a-z0-9_]+`")
	for _, row := range tableRows(t, "### Error codes") {
		status := ""
		for _, word := range words.FindAllString(row[1], -1) {
			if word[0] != '`' {
				status = word
				continue
			}
			named = append(named, status+" "+strings.Trim(word, "`"))
		}
	}
	sameNames(t, "error code", named, there)
}

// TestReadmeLogFields: README lists every field of a line of the access log, and no others.
func TestReadmeLogFields(t *testing.T) {
	there := slices.Clone(config.LogVariables)
	passages, err := os.ReadFile("../../proxy/observe/passage.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`,"([a-z_]+)":`).FindAllStringSubmatch(string(passages), -1) {
		there = append(there, m[1])
	}
	sameNames(t, "log field", firstColumn(t, "### Log fields"), there)
}

// TestReadmeVariables: README lists every variable of templates, and no others.
func TestReadmeVariables(t *testing.T) {
	var there []string
	for _, v := range config.Variables {
		name := "$" + v.Name
		if strings.HasSuffix(name, ".") {
			name += "NAME"
		}
		there = append(there, name)
	}
	sameNames(t, "variable", firstColumn(t, "### Variables"), there)
}

// TestReadmeLater: README lists what a configuration may not ask for yet.
func TestReadmeLater(t *testing.T) {
	_, list, _ := strings.Cut(readme(t), "| Not in this build |")
	list, _, _ = strings.Cut(list, "\n\n")
	files, err := filepath.Glob("../../control/config/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`later:\"([a-z_,]+)\"").FindAllStringSubmatch(string(source), -1) {
			for key := range strings.SplitSeq(m[1], ",") {
				if found++; !regexp.MustCompile("[`.]" + key + "`").MatchString(list) {
					t.Errorf("README does not say that %s is not in this build", key)
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("there are only %d such keys", found)
	}
}

// sameNames compares what README names with what there is.
func sameNames(t *testing.T, what string, named, there []string) {
	t.Helper()
	slices.Sort(named)
	slices.Sort(there)
	named, there = slices.Compact(named), slices.Compact(there)
	for _, name := range there {
		if _, ok := slices.BinarySearch(named, name); !ok {
			t.Errorf("README does not have the %s %s", what, name)
		}
	}
	for _, name := range named {
		if _, ok := slices.BinarySearch(there, name); !ok {
			t.Errorf("README has the %s %s, which does not exist", what, name)
		}
	}
}

// tableRows are the cells of the tables below a heading, without the heads of these.
func tableRows(t *testing.T, heading string) [][]string {
	t.Helper()
	_, section, found := strings.Cut(readme(t), "\n"+heading+"\n")
	section, _, _ = strings.Cut(section, "\n#")
	var rows [][]string
	for line := range strings.Lines(section) {
		switch {
		case strings.HasPrefix(line, "|--"):
			rows = rows[:len(rows)-1]
		case strings.HasPrefix(line, "|"):
			rows = append(rows, strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|"))
		}
	}
	if !found || len(rows) == 0 {
		t.Fatalf("README has no table below %s", heading)
	}
	return rows
}

// firstColumn are the names in the first column of the tables below a heading.
func firstColumn(t *testing.T, heading string) []string {
	t.Helper()
	var names []string
	for _, row := range tableRows(t, heading) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[0], -1) {
			names = append(names, name[1])
		}
	}
	return names
}

// errorCodes are the errors that stand in the sources below a folder: the status and the code of each.
func errorCodes(t *testing.T, folder string) []string {
	t.Helper()
	var codes []string
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "proxytest") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if status, code := errorLiteral(n); code != "" {
					codes = append(codes, status+" "+code)
				}
			case *ast.BasicLit: // one that is written out
				m := regexp.MustCompile(`urn:sluice:problem:([a-z_]+)".*"status":([0-9]+)`).FindStringSubmatch(n.Value)
				if m != nil {
					codes = append(codes, m[2]+" "+m[1])
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return codes
}

// errorLiteral reads a proxy.Error or a wire.Refusal. The code is empty if it is neither, or a copy of another one.
func errorLiteral(n *ast.CompositeLit) (status, code string) {
	name := ""
	switch kind := n.Type.(type) {
	case *ast.Ident:
		name = kind.Name
	case *ast.SelectorExpr:
		name = kind.Sel.Name
	}
	if name != "Error" && name != "Refusal" {
		return "", ""
	}
	for i, element := range n.Elts {
		key := ""
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			element = pair.Value
			if name, ok := pair.Key.(*ast.Ident); ok {
				key = name.Name
			}
		}
		literal, ok := element.(*ast.BasicLit)
		switch {
		case !ok:
		case key == "Status" || key == "" && i == 0:
			status = literal.Value
		case key == "Code" || key == "" && i == 1:
			code, _ = strconv.Unquote(literal.Value)
		}
	}
	return status, code
}

// tour reads the console blocks: "$ " begins a command, which goes on while a here-document is open; what follows is
// what it prints.
func tour(readme string) []step {
	var steps []step
	inside, document := false, false
	for line := range strings.Lines(readme) {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = strings.HasPrefix(line, "```console")
		case !inside:
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{command: strings.TrimSpace(line[2:])})
			document = strings.Contains(line, "<<'EOF'")
		case document:
			steps[len(steps)-1].command += "\n" + strings.TrimSuffix(line, "\n")
			document = strings.TrimSpace(line) != "EOF"
		default:
			steps[len(steps)-1].want += line
		}
	}
	return steps
}

func like(want string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(strings.TrimSpace(want))
	return regexp.MustCompile(`(?s)^\s*` + strings.ReplaceAll(quoted, `\.\.\.`, ".*") + `\s*$`)
}

// freePorts gives the tour ports that nobody uses.
func freePorts(t *testing.T, text string) string {
	for _, port := range []string{"8080", "8081", "8085", "9180", "9181", "9185"} {
		l := listenBelow(t)
		defer l.Close()
		text = strings.ReplaceAll(text, "127.0.0.1:"+port, l.Addr().String())
	}
	return text
}
