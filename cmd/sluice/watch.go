package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// debounce is how long it has to be quiet before files are looked at: an editor writes in several steps.
	debounce = 100 * time.Millisecond
	// debounceMax is when they are looked at although it is not quiet: a log in the same folder never is.
	debounceMax = time.Second
	// lookAnyway is when they are looked at although nothing was reported: network file systems report nothing, and a
	// folder that was replaced as a whole takes its watch with it.
	lookAnyway = 5 * time.Second
)

// watcher says when the files of a configuration have changed. Folders are watched, not files: editors and Kubernetes
// replace a file by renaming another one, or a link, into its place. What happens in a folder is only a reason to
// look; a change is when the content differs from what the last load has read.
type watcher struct {
	lookEvery time.Duration
	events    *fsnotify.Watcher // nil if the kernel has none to give
	changed   chan struct{}     // receives once for one or more changes
	ended     chan struct{}
	done      sync.WaitGroup

	mu   sync.Mutex
	seen print

	looking sync.Mutex
	sums    sums // under looking
}

func newWatcher(lookEvery time.Duration) *watcher {
	w := &watcher{lookEvery: lookEvery, changed: make(chan struct{}, 1), ended: make(chan struct{}), sums: sums{settled: settledAfter}}
	events, err := fsnotify.NewWatcher()
	if err != nil {
		slog.Warn("cannot watch for changes, looking at the files instead", "every", lookEvery.String(), "error", err)
	} else {
		w.events = events
	}
	w.done.Go(w.run)
	return w
}

func (w *watcher) close() {
	close(w.ended)
	w.done.Wait()
	if w.events != nil {
		// Whatever it could not release ends with the process.
		_ = w.events.Close()
	}
}

// follow takes note of what a load has read, and watches that from now on.
func (w *watcher) follow(r *reading) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = r.print()
	w.arm()
}

func (w *watcher) run() {
	var events chan fsnotify.Event
	var failures chan error
	if w.events != nil {
		events, failures = w.events.Events, w.events.Errors
	}
	look := time.NewTicker(w.lookEvery)
	defer look.Stop()
	quiet := time.NewTimer(debounce)
	quiet.Stop()
	var first time.Time // of the events that nobody looked at yet
	for {
		select {
		case <-w.ended:
			return
		case <-events:
			if first.IsZero() {
				first = time.Now()
			}
			quiet.Reset(max(0, min(debounce, debounceMax-time.Since(first))))
			continue
		case err := <-failures:
			// Events were lost: looking finds out.
			slog.Debug("watching for changes stumbled", "error", err)
		case <-quiet.C:
		case <-look.C:
		}
		first = time.Time{}
		w.look()
	}
}

// look reports a change, and again with every look until it was loaded or undone.
func (w *watcher) look() {
	w.mu.Lock()
	w.arm()
	w.mu.Unlock()
	if !w.stale() {
		return
	}
	select {
	case w.changed <- struct{}{}:
	default: // the one before was not taken yet, and will do
	}
}

// stale reports whether the files differ from what the last load has read. Somebody else may have loaded them since
// the change was reported.
func (w *watcher) stale() bool {
	w.mu.Lock()
	seen := w.seen
	w.mu.Unlock()
	w.looking.Lock()
	defer w.looking.Unlock()
	return seen.files != nil && !seen.again(&w.sums).equal(seen)
}

// arm watches the folders of everything that was seen, and no others.
func (w *watcher) arm() {
	if w.events == nil {
		return
	}
	folders := map[string]bool{}
	for name := range w.seen.files {
		addFolders(folders, name)
	}
	for pattern, names := range w.seen.globs {
		addFolders(folders, fixedPart(pattern))
		for _, name := range names {
			addFolders(folders, name)
		}
	}
	for _, watched := range w.events.WatchList() {
		if !folders[watched] {
			// A watch that cannot be removed has ended with its folder.
			_ = w.events.Remove(watched)
		}
	}
	for folder := range folders {
		if err := w.events.Add(folder); err != nil {
			slog.Debug("cannot watch a folder, looking at it instead", "folder", folder, "error", err)
		}
	}
}

// addFolders adds the folder that a file is in and, if links lead there, the one that it is really in. In the place of
// a folder that does not exist the nearest one above it is watched: it may be made.
func addFolders(folders map[string]bool, file string) {
	folders[existing(filepath.Dir(file))] = true
	if real, err := filepath.EvalSymlinks(file); err == nil {
		folders[filepath.Dir(real)] = true
	}
}

func existing(folder string) string {
	for {
		info, err := os.Stat(folder)
		if err == nil && info.IsDir() || folder == filepath.Dir(folder) {
			return folder
		}
		folder = filepath.Dir(folder)
	}
}

// fixedPart is a pattern up to its first wildcard.
func fixedPart(pattern string) string {
	if i := strings.IndexAny(pattern, "*?["); i >= 0 {
		return pattern[:i] + "x" // a name in the folder, whatever it is
	}
	return pattern
}
