package main

import (
	"io"
	"log/slog"
	"os"
)

// logLevel is the least severe level that is written; every load of a configuration sets it.
var logLevel slog.LevelVar

// startLog makes slog write text for people and JSON for collectors, to stderr: stdout belongs to the access log.
func startLog(t *terminal) {
	slog.SetDefault(slog.New(logHandler(t.err)))
}

func logHandler(w io.Writer) slog.Handler {
	o := &slog.HandlerOptions{Level: &logLevel}
	if f, ok := w.(*os.File); ok && isTerminal(f) {
		return slog.NewTextHandler(w, o)
	}
	return slog.NewJSONHandler(w, o)
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}
