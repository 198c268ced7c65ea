package compile

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/control/config"
	"sluice/control/roster"
)

func stored(state, more string) string {
	return "state: " + state + `
consumers: { partners: { stored: true` + more + ` } }
policies: { key: { api_key: { consumers: partners } } }
routes: { a: { match: /a, use: [key], respond: { status: 204 } } }
`
}

// TestMembersOutliveReloads keeps the file open while configurations come and go, and gives it up with the last one that uses it.
func TestMembersOutliveReloads(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	r, now := newRuntime(t), time.Unix(2e9, 0).UTC()
	load := func(yaml string) config.Problems {
		t.Helper()
		plan, problems := r.Compile(parse(t, yaml))
		if plan == nil {
			t.Fatal(problems)
		}
		r.Commit(plan)
		return problems
	}
	load(stored(state, ""))
	first := r.Members()
	if _, created, err := first.Put("partners", "acme", Wanted{}, MemberFields{Plan: "gold"}, now); err != nil || !created {
		t.Fatal(created, err)
	}
	if _, _, key, err := first.AddKey("partners", "acme", Wanted{}, NewCredential{}, now); err != nil || !strings.HasPrefix(key, "sk_acme_") {
		t.Fatal(key, err)
	}
	clash := load(stored(state, ", acme: { keys: [{ hash: 'sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8', prefix: p }] }"))
	if r.Members() != first || !strings.Contains(clash.Error(), "test.yaml:5:46: warning: consumers.partners.acme: a stored consumer has the same name") {
		t.Errorf("a reload says %v", clash)
	}
	if got := clash[0]; got.Path != "consumers.partners.acme" || got.Pos.Line != 5 || got.Pos.Column == 1 {
		t.Errorf("it stands at %v, %s", got.Pos, got.Path)
	}
	if _, _, err := first.Put("partners", "acme", Wanted{}, MemberFields{}, now); !errors.Is(err, ErrConfigured) {
		t.Errorf("got %v", err)
	}
	if list, more, err := r.Consumers("", "", 1); err != nil || !more || list[0].Stored {
		t.Errorf("%v %v %v", list, more, err)
	}

	// A plan that is dropped leaves what runs alone.
	plan, problems := r.Compile(parse(t, stored(state, "")))
	if plan == nil {
		t.Fatal(problems)
	}
	r.Discard(plan)
	if _, err := first.Get("partners", "acme", now); err != nil {
		t.Error(err)
	}
	// Another folder is another file, and the old one is given up.
	load(stored(t.TempDir(), ""))
	if _, err := r.Members().Get("partners", "acme", now); !errors.Is(err, ErrNoMember) {
		t.Errorf("got %v", err)
	}
	load(stored(state, ""))
	if info, err := r.Members().Get("partners", "acme", now); err != nil || info.Plan != "gold" || len(info.Keys) != 1 {
		t.Errorf("%+v, %v", info, err)
	}
	load("routes: { a: { match: /a, respond: { status: 204 } } }\n")
	if r.Members() != nil || r.Unready() != "" {
		t.Errorf("there are members still: %s", r.Unready())
	}
	if _, err := r.Members().Get("partners", "acme", now); !errors.Is(err, ErrNoMembers) {
		t.Errorf("got %v", err)
	}
}

// TestMembersOfPlan: a configuration that brings a group in, and is not published, leaves nothing of it with those that are served.
func TestMembersOfPlan(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	r, now := newRuntime(t), time.Unix(2e9, 0).UTC()
	r.Commit(mustCompile(t, r, stored(state, "")))
	m := r.Members()
	const more = " }, more: { stored: true"
	check := func(groups int, want error) {
		t.Helper()
		if c := m.Counts(); !c.Open || len(c.Keys) != groups {
			t.Errorf("the groups are %v, open: %t", c.Keys, c.Open)
		}
		if _, _, err := m.Put("more", "acme", Wanted{}, MemberFields{}, now); !errors.Is(err, want) {
			t.Errorf("an edit: %v", err)
		}
	}
	missing := filepath.Join(state, "missing", "access.log")
	if plan, _ := r.Compile(parse(t, stored(state, more)+"log: { access: { to: "+missing+" } }\n")); plan != nil {
		t.Fatal("it compiles")
	}
	check(1, ErrNoMembers)
	r.Discard(mustCompile(t, r, stored(state, more)))
	check(1, ErrNoMembers)
	plan := mustCompile(t, r, stored(state, more))
	r.Prepare(plan)
	check(1, ErrNoMembers)
	r.Commit(plan)
	check(2, nil)
	if info, err := m.Get("more", "acme", now); err != nil || info.Name != "acme" {
		t.Errorf("%+v, %v", info, err)
	}
	r.Commit(mustCompile(t, r, stored(state, "")))
	check(1, ErrNoMembers)
}

// TestMembersBroken: a file that cannot be read closes the routes and nothing else, and a reload looks again.
func TestMembersBroken(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	file := filepath.Join(state, membersFile)
	if err := os.WriteFile(file, []byte(strings.Repeat("no such thing", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRuntime(t)
	plan, problems := r.Compile(parse(t, stored(state, "")))
	if plan == nil || !strings.Contains(problems.Error(), "the routes of the group are closed: cannot open the file of consumers") {
		t.Fatal(problems)
	}
	r.Commit(plan)
	if got := r.Unready(); !strings.Contains(got, "cannot open the file of consumers") {
		t.Errorf("it is unready because %q", got)
	}
	if _, _, err := r.Members().Put("partners", "acme", Wanted{}, MemberFields{}, time.Now()); !errors.Is(err, ErrMembersBusy) {
		t.Errorf("got %v", err)
	}
	if c := r.Members().Counts(); c.Open {
		t.Error("it counts as open")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.Commit(mustCompile(t, r, stored(state, "")))
	if got := r.Unready(); got != "" {
		t.Errorf("it is unready because %q", got)
	}

	// It may break while it is used, too.
	if _, _, err := r.Members().Put("partners", "acme", Wanted{}, MemberFields{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Members().Get("partners", "acme", time.Now()); err == nil {
		t.Error("what is gone was found")
	}
	if got := r.Unready(); !strings.Contains(got, "is broken") {
		t.Errorf("it is unready because %q", got)
	}
}

// TestMembersUses writes when keys were used, and knows it after another start.
func TestMembersUses(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	yaml := stored(state, "")
	r, now := newRuntime(t), time.Now().UTC()
	r.Commit(mustCompile(t, r, yaml))
	m := r.Members()
	if _, _, err := m.Put("partners", "acme", Wanted{}, MemberFields{}, now); err != nil {
		t.Fatal(err)
	}
	_, id, key, err := m.AddKey("partners", "acme", Wanted{}, NewCredential{Prefix: "p"}, now)
	if err != nil {
		t.Fatal(err)
	}
	plan := mustCompile(t, r, yaml)
	e, err := plan.Explain("GET", "/a", [][2]string{{"X-Api-Key", key}}, nil, netip.MustParseAddr("192.0.2.1"))
	r.Commit(plan)
	if err != nil || e.Status != 204 {
		t.Fatal(e, err)
	}
	r.Commit(mustCompile(t, r, "routes: { a: { match: /a, respond: { status: 204 } } }\n")) // which writes them
	r.Commit(mustCompile(t, r, yaml))
	info, err := r.Members().Get("partners", "acme", now)
	if err != nil || len(info.Keys) != 1 || info.Keys[0].ID != id || info.Keys[0].LastUsed == nil {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestMemberRotation overlaps keys, and bounds how many there are.
func TestMemberRotation(t *testing.T) {
	t.Parallel()
	r, now := newRuntime(t), time.Unix(2e9, 0).UTC()
	r.Commit(mustCompile(t, r, stored(t.TempDir(), "")))
	m := r.Members()
	if _, _, _, err := m.AddKey("partners", "acme", Wanted{}, NewCredential{}, now); !errors.Is(err, ErrNoMember) {
		t.Errorf("got %v", err)
	}
	if _, _, err := m.Put("partners", "acme", Wanted{Absent: true}, MemberFields{}, now); err != nil {
		t.Fatal(err)
	}
	_, old, _, err := m.AddKey("partners", "acme", Wanted{}, NewCredential{Expires: now.Add(time.Hour), Scopes: []string{"a"}}, now)
	if err != nil {
		t.Fatal(err)
	}
	rotate := func(id string, overlap time.Duration, at time.Time) ConsumerInfo {
		t.Helper()
		info, _, _, err := m.RotateKey("partners", "acme", id, Wanted{}, overlap, time.Time{}, at)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	info := rotate(old, 48*time.Hour, now)
	if len(info.Keys) != 2 || !info.Keys[0].Expires.Equal(now.Add(time.Hour)) || info.Keys[1].Expires != nil || strings.Join(info.Keys[1].Scopes, " ") != "a" {
		t.Errorf("a longer overlap than the key had: %+v", info.Keys)
	}
	info = rotate(info.Keys[1].ID, 10*time.Minute, now)
	if len(info.Keys) != 3 || !info.Keys[1].Expires.Equal(now.Add(10*time.Minute)) {
		t.Errorf("an overlap of ten minutes: %+v", info.Keys)
	}
	if info = rotate(info.Keys[2].ID, 0, now.Add(time.Hour)); len(info.Keys) != 1 {
		t.Errorf("what has expired is kept: %+v", info.Keys)
	}
	for len(info.Keys) < config.ConsumerKeysMax {
		if info, _, _, err = m.AddKey("partners", "acme", Wanted{}, NewCredential{}, now); err != nil {
			t.Fatal(err)
		}
	}
	var field *FieldError
	if _, _, _, err := m.AddKey("partners", "acme", Wanted{}, NewCredential{}, now); !errors.As(err, &field) || field.Field != "keys" {
		t.Errorf("got %v", err)
	}
	if _, err := m.RevokeKey("partners", "acme", "none", Wanted{}, now); !errors.Is(err, ErrNoCredential) {
		t.Errorf("got %v", err)
	}
	if _, err := m.RevokeKey("partners", "acme", info.Keys[0].ID, Wanted{Revision: info.Revision - 1}, now); !errors.Is(err, ErrRevision) {
		t.Errorf("got %v", err)
	}
}

// TestMembersOfOneName: a consumer that is removed and made anew is another one, even in the same second, and stays the one that it is over
// edits.
func TestMembersOfOneName(t *testing.T) {
	t.Parallel()
	r, now := newRuntime(t), time.Unix(2e9, 0).UTC()
	plan, problems := r.Compile(parse(t, stored(t.TempDir(), "")))
	if plan == nil {
		t.Fatal(problems)
	}
	r.Commit(plan)
	m := r.Members()
	key := func() string {
		t.Helper()
		if _, _, err := m.Put("partners", "acme", Wanted{}, MemberFields{Plan: "gold"}, now); err != nil {
			t.Fatal(err)
		}
		one, err := m.file.Get("partners", "acme")
		if err != nil {
			t.Fatal(err)
		}
		return string(consumerOfMember(one).Identity("api_key", "partners", nil).Key())
	}
	before := key()
	if _, _, _, err := m.AddKey("partners", "acme", Wanted{}, NewCredential{}, now); err != nil {
		t.Fatal(err)
	}
	if key() != before {
		t.Error("an edit has made another consumer of it")
	}
	if err := m.Delete("partners", "acme", Wanted{}); err != nil {
		t.Fatal(err)
	}
	if key() == before {
		t.Error("the cache takes the new consumer for the old one")
	}
}

// TestExplainStored: explain reads no file, and says so where it makes a difference.
func TestExplainStored(t *testing.T) {
	p := mustCompile(t, New(Options{Dry: true}), "state: "+t.TempDir()+`
consumers:
  partners: { stored: true }
  staff: { anne: { keys: [{ hash: "sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8", prefix: sk }] } }
policies: { key: { api_key: { consumers: partners } }, ours: { api_key: { consumers: staff } } }
routes:
  a: { match: /a, use: [key], respond: { status: 204 } }
  b: { match: /b, use: [{ basic_auth: { consumers: partners } }], respond: { status: 204 } }
  c: { match: /c, use: [ours, key], respond: { status: 204 } }
`)
	f := func(target, name, value, want string) {
		t.Helper()
		e, err := p.Explain("GET", target, [][2]string{{name, value}}, nil, netip.MustParseAddr("192.0.2.1"))
		if err != nil || e.Outcome != want {
			t.Errorf("got %q, %v", e.Outcome, err)
		}
	}
	const unless = " That is unless it is of a stored consumer: they are not looked up here."
	f("/a", "X-Api-Key", "sk_1", "Route a is taken; its policy key refuses with 401 key_invalid."+unless)
	f("/a", "X-Other", "sk_1", "Route a is taken; its policy key refuses with 401 key_required.")
	f("/b", "Authorization", "Basic YTpi", "Route b is taken; its policy basic_auth refuses with 401 password_invalid."+unless)
	f("/c", "X-Api-Key", "sk_1", "Route c is taken; its policy ours refuses with 401 key_invalid.")
}

// TestMemberEditOverReloads: an edit that waits for the disk while its group is dropped and comes back is done for the group that came back, too.
func TestMemberEditOverReloads(t *testing.T) {
	t.Parallel()
	f := func(name string, during, after func(drop, back func())) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := t.TempDir()
			both := stored(state, " }, more: { stored: true")
			other := "state: " + state + "\nconsumers: { more: { stored: true } }\nroutes: { a: { match: /a, respond: { status: 204 } } }\n"
			r, now := newRuntime(t), time.Now().UTC()
			r.Commit(mustCompile(t, r, both))
			m := r.Members()
			if _, _, err := m.Put("partners", "acme", Wanted{}, MemberFields{}, now); err != nil {
				t.Fatal(err)
			}
			_, _, key, err := m.AddKey("partners", "acme", Wanted{}, NewCredential{}, now)
			if err != nil {
				t.Fatal(err)
			}
			var plan *Plan
			drop := func() {
				r.Commit(mustCompile(t, r, other))
				plan = mustCompile(t, r, both) // which reads the group
			}
			back := func() { r.Commit(plan) }
			if _, err := m.edit("partners", "acme", Wanted{}, now, func(*roster.Member) (*roster.Member, error) {
				during(drop, back)
				return nil, nil
			}); err != nil {
				t.Fatal(err)
			}
			after(drop, back)
			e, err := plan.Explain("GET", "/a", [][2]string{{"X-Api-Key", key}}, nil, netip.MustParseAddr("192.0.2.1"))
			if err != nil || e.Status != 401 {
				t.Errorf("the key of a consumer that was deleted gets %d, %v", e.Status, err)
			}
		})
	}
	f("back before it is done", func(drop, back func()) { drop(); back() }, func(_, _ func()) {})
	f("read before it is done", func(drop, _ func()) { drop() }, func(_, back func()) { back() })
}
