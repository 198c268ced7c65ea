package observe

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// exposition writes the text format of Prometheus, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/). An error stays in w until it is flushed.
type exposition struct {
	w      *bufio.Writer
	number []byte
}

func newExposition(w io.Writer) *exposition { return &exposition{w: bufio.NewWriterSize(w, 64<<10)} }

// Labels writes names and values, in turn, as the labels of a series: Labels("route", "a") is route="a".
func Labels(pairs ...string) string {
	if len(pairs)%2 != 0 {
		panic("BUG: a label without a value")
	}
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(pairs[i])
		b.WriteString(`="`)
		b.WriteString(labelEscapes.Replace(strings.ToValidUTF8(pairs[i+1], "\uFFFD")))
		b.WriteByte('"')
	}
	return b.String()
}

var (
	labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

// The methods of bufio.Writer keep the first error for Flush, which WritePrometheus returns.

// family begins a metric; its samples follow.
func (e *exposition) family(name, kind, help string) {
	e.w.WriteString("# HELP ")
	e.w.WriteString(name)
	e.w.WriteByte(' ')
	e.w.WriteString(helpEscapes.Replace(help))
	e.w.WriteString("\n# TYPE ")
	e.w.WriteString(name)
	e.w.WriteByte(' ')
	e.w.WriteString(kind)
	e.w.WriteByte('\n')
}

func (e *exposition) uint(name, labels string, n uint64) {
	e.sample(name, labels, strconv.AppendUint(e.number[:0], n, 10))
}

func (e *exposition) float(name, labels string, v float64) {
	e.sample(name, labels, strconv.AppendFloat(e.number[:0], v, 'g', -1, 64))
}

func (e *exposition) sample(name, labels string, number []byte) {
	e.number = number
	e.w.WriteString(name)
	if labels != "" {
		e.w.WriteByte('{')
		e.w.WriteString(labels)
		e.w.WriteByte('}')
	}
	e.w.WriteByte(' ')
	e.w.Write(number)
	e.w.WriteByte('\n')
}

// classes writes the counter of each class. Successes and server errors are there from the beginning, so that a rate
// over the first of them can be computed; the others when they occur.
func (e *exposition) classes(name, labels string, t *tally, names *[classCount]string) {
	for c, n := range t.byClass() {
		if n > 0 || c == 2 || c == 5 {
			e.uint(name, labels+`,class="`+names[c]+`"`, n)
		}
	}
}

// histogram writes cumulative buckets, sum (seconds) and count. They come from one reading, so that the count is the
// last bucket's.
func (e *exposition) histogram(name, labels string, t *tally) {
	var below uint64
	for b, n := range t.byBucket() {
		below += n
		e.uint(name+"_bucket", labels+`,le="`+boundLabels[b]+`"`, below)
	}
	e.float(name+"_sum", labels, float64(t.sum)/1e9)
	e.uint(name+"_count", labels, below)
}
