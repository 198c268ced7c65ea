package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// tree is a state of the source.
type tree struct {
	name    string // "base" or "new"
	dir     string
	commit  string
	dirty   bool   // with changes that are in no commit
	overlay string // for go build -overlay; "" for none
	plain   bool   // built without the profile, whatever there is
	lack    int    // the exit code if it cannot be built or run
	remove  func()
}

func (t *tree) String() string {
	switch {
	case t.plain:
		return "the working tree without " + profile
	case t.overlay != "":
		return "the working tree with a planted change"
	case t.dirty:
		return fmt.Sprintf("the working tree on %.12s", t.commit)
	}
	return fmt.Sprintf("%.12s", t.commit)
}

// side tells which of the two it is.
func (t *tree) side() string {
	if t.name == "base" {
		return "base"
	}
	return "working tree"
}

// command prepares a process whose whole group ends with ctx: `go` would leave its compilers behind.
func command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 5 * time.Second
	return c
}

// output runs a process and returns what it printed; an error holds what it complained about.
func output(c *exec.Cmd) (string, error) {
	var complaint bytes.Buffer
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, tail(complaint.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// tail bounds what is repeated of a long complaint.
func tail(s string) string {
	const most = 4 << 10
	if len(s) > most {
		s = "..." + s[len(s)-most:]
	}
	return strings.TrimSpace(s)
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	return output(command(ctx, dir, "git", args...))
}

// repository returns the top of the repository that dir is in.
func repository(ctx context.Context, dir string) (string, error) {
	return git(ctx, dir, "rev-parse", "--show-toplevel")
}

const baseFile = "bench/BASE"

// readBase returns the commit that later ones are compared with.
func readBase(root string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, baseFile))
	if err != nil {
		return "", &failure{codeNoBase, fmt.Errorf("cannot tell what to compare with: %w", err)}
	}
	if rev := strings.TrimSpace(string(b)); rev != "" {
		return rev, nil
	}
	return "", &failure{codeNoBase, fmt.Errorf("cannot tell what to compare with: %s is empty", baseFile)}
}

// checkout puts the commit into a worktree of its own at dir.
func checkout(ctx context.Context, root, rev, dir string) (*tree, error) {
	commit, err := git(ctx, root, "rev-parse", "--verify", "--quiet", rev+"^{commit}")
	if err != nil {
		return nil, absent(ctx, root, rev)
	}
	// Both go on when ctx ends: a git that is killed in the middle leaves a half-made worktree in its list.
	complete := func(args ...string) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_, err := git(ctx, root, append([]string{"worktree"}, args...)...)
		return err
	}
	if err := complete("add", "--detach", "--force", dir, commit); err != nil {
		return nil, err
	}
	remove := func() {
		if err := complete("remove", "--force", "--force", dir); err != nil {
			fmt.Fprintf(os.Stderr, "bench-gate: cannot remove the worktree of the base (`git worktree prune` will): %v\n", err)
		}
	}
	return &tree{name: "base", dir: dir, commit: commit, lack: codeNoBase, remove: remove}, nil
}

// absent says why a commit is not there.
func absent(ctx context.Context, root, rev string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if shallow, err := git(ctx, root, "rev-parse", "--is-shallow-repository"); err == nil && shallow == "true" {
		return &failure{codeNoBase, fmt.Errorf("the commit to compare with, %s, is not part of this shallow clone: fetch the history with `git fetch --unshallow`", rev)}
	}
	return &failure{codeNoBase, fmt.Errorf("there is no commit %s here to compare with", rev)}
}

// workingTree is what is there, committed or not.
func workingTree(ctx context.Context, root string) (*tree, error) {
	commit, err := git(ctx, root, "rev-parse", "HEAD")
	if err != nil {
		return nil, err
	}
	changes, err := git(ctx, root, "status", "--porcelain")
	if err != nil {
		return nil, err
	}
	return &tree{name: "here", dir: root, commit: commit, dirty: changes != "", lack: codeBroken}, nil
}

// clean wants everything to be committed: what is accepted must be found again.
func clean(ctx context.Context, root string) error {
	changes, err := git(ctx, root, "status", "--porcelain")
	if err != nil {
		return err
	}
	if changes != "" {
		return errors.New("commit your changes first: what becomes the base has to be a commit\n" + changes)
	}
	return nil
}
