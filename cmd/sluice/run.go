package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sluice/control/config"
)

type runCommand struct {
	Config string `short:"c" required:"" placeholder:"FILE" help:"The configuration file."`
	Watch  bool   `help:"Load the configuration again whenever one of its files changes."`
	State  string `placeholder:"FOLDER" help:"Where the last good configuration is looked for when a broken file does not say (state: in the file)."`
}

func (runCommand) Help() string {
	return example("SIGHUP or POST /v1/reload on the admin address load the configuration again; a broken file changes nothing. "+
		"SIGTERM lets requests end within limits.drain; a second one ends at once. "+
		"The exit code is 0 if everything ended by itself, 1 if something was cut, was not written or could not start.",
		"sluice run -c sluice.yaml --watch")
}

func (c *runCommand) Run(t *terminal) error {
	startLog(t)
	g := newGateway(source{name: c.Config})
	g.stateFolder = c.State
	return serve(g, c.Watch, nil)
}

// serve is the life of a gateway: start, take new configurations, drain. started, if not nil, is called when requests
// are served.
func serve(g *gateway, watch bool, started func()) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	hangups := make(chan os.Signal, 1) // those that come while one waits are the same wish
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	// Whoever reads our output may go away; that costs log lines, which are counted, and not the gateway.
	signal.Ignore(syscall.SIGPIPE)

	w := new(watcher) // that never reports
	if watch {
		w = newWatcher(lookAnyway)
		defer func() { go w.close() }() // it may wait for a disk that is stuck
		g.follow = w.follow
	}
	if err := g.start(); err != nil {
		logFailure("cannot start", err)
		g.abandon()
		return errFailed
	}
	if started != nil {
		started()
	}
	ended := make(chan struct{})
	defer close(ended)
	go g.change(hangups, w, ended)
	first := <-signals
	at := time.Now()
	slog.Info("signal received", "signal", first.String())
	return g.drain(signals, first, at)
}

// change makes the changes that signals and files ask for, one after the other, until ended is closed. It may be stuck for ever, as a disk may,
// or a pipe that nobody reads: then signals to end are heeded all the same.
func (g *gateway) change(hangups <-chan os.Signal, w *watcher, ended <-chan struct{}) {
	for {
		select {
		case <-w.changed:
			if w.stale() {
				slog.Info("the configuration changed on disk")
				g.reload()
			}
		case s := <-hangups:
			slog.Info("signal received", "signal", s.String())
			g.reopenLogs()
			g.reload()
		case <-ended:
			return
		}
	}
}

// logFailure logs an error, each problem of a configuration in a line of its own.
func logFailure(message string, err error) {
	var problems config.Problems
	if !errors.As(err, &problems) {
		slog.Error(message, "error", err)
		return
	}
	logProblems(problems)
	slog.Error(message, "error", "the configuration has errors", "problems", len(problems))
}

func logProblems(problems config.Problems) {
	for _, p := range problems {
		level := slog.LevelError
		if p.Warning {
			level = slog.LevelWarn
		}
		slog.Log(context.Background(), level, "configuration: "+p.Message, "at", p.Pos.String(), "key", p.Path, "hint", p.Hint)
	}
}
