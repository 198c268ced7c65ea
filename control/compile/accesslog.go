package compile

import (
	"context"
	"fmt"
	"time"

	"sluice/control/config"
	"sluice/proxy/observe"
)

// accessLog is a running access log with the definition it was opened from. A nil one is off.
type accessLog struct {
	definition string
	log        *observe.AccessLog
}

// openLog opens the access log, or keeps the one that is open if its definition is the same.
func (b *builder) openLog() error {
	a := b.config.Log.AccessLog()
	if a == nil || a.Sample == 0 || b.runtime.options.Dry {
		return nil
	}
	secrets := b.config.SecretNames()
	definition := fmt.Sprintf("%q %v %q %v %q", logTarget(a), a.Format.JSON, a.Format.Template.Text, a.Sample, secrets)
	if old := b.log; old != nil && old.definition == definition {
		b.plan.log = old
		return nil
	}
	log, err := observe.NewAccessLog(observe.AccessLogOptions{
		Open: observe.Output(logTarget(a)), Format: a.Format.Template.Text, Sample: a.Sample.Fraction(), Secrets: secrets,
	})
	if err != nil {
		return err
	}
	b.plan.log = &accessLog{definition: definition, log: log}
	return nil
}

func logTarget(a *config.Access) string {
	if a.To.Stream != "" {
		return a.To.Stream
	}
	return a.To.File
}

func (a *accessLog) writer() *observe.AccessLog {
	if a == nil {
		return nil
	}
	return a.log
}

// lastLines is how long exchanges of an older snapshot may go on writing to a log that was replaced.
const lastLines = time.Minute

// retireLog closes a log after the exchanges that still write to it have had their time, or with the runtime. Lines that
// come later are dropped and counted.
func (r *Runtime) retireLog(a *accessLog) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.retiring == nil {
		r.retiring = make(map[*accessLog]*time.Timer)
	}
	r.retiring[a] = time.AfterFunc(lastLines, func() {
		r.mu.Lock()
		_, mine := r.retiring[a]
		delete(r.retiring, a)
		r.mu.Unlock()
		if mine {
			_ = a.close(context.Background()) // it reports what could not be written to the application's log itself
		}
	})
}

func (a *accessLog) close(ctx context.Context) error {
	if a == nil {
		return nil
	}
	return a.log.Close(ctx)
}

func (a *accessLog) reopen() error {
	if a == nil {
		return nil
	}
	return a.log.Reopen()
}

func (a *accessLog) droppedLines() uint64 {
	if a == nil {
		return 0
	}
	return a.log.Dropped()
}
