package observe

import (
	"cmp"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/VictoriaMetrics/metrics"
)

// Metrics is every metric of one gateway. All methods are safe for concurrent use; none of them runs per request.
type Metrics struct {
	mu       sync.Mutex
	routes   map[string]*RouteMetrics
	services map[string]*ServiceMetrics
	passages map[passageWay]*PassageMetrics
	funcs    []computed   // by name
	set      *metrics.Set // of the library: ours are exposed through it
}

// computed is a metric whose samples others compute when they are asked for.
type computed struct {
	name, help string
	samples    func(*readings) iter.Seq2[string, float64]
}

// New returns metrics without a route or service.
func New() *Metrics {
	m := &Metrics{routes: map[string]*RouteMetrics{}, services: map[string]*ServiceMetrics{}, passages: map[passageWay]*PassageMetrics{}, set: metrics.NewSet()}
	m.set.RegisterMetricsWriter(m.write)
	return m
}

// Route returns the metrics of the route called name, the same ones for as long as nobody forgets it.
func (m *Metrics) Route(name string) *RouteMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.routes[name]
	if r == nil {
		r = &RouteMetrics{name: name}
		m.routes[name] = r
	}
	return r
}

// Service returns the metrics of the service called name, the same ones for as long as nobody forgets it.
func (m *Metrics) Service(name string) *ServiceMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.services[name]
	if s == nil {
		s = &ServiceMetrics{name: name}
		m.services[name] = s
	}
	return s
}

// ForgetRoutes drops the metrics of removed routes, so that they do not pile up over reloads. Exchanges that still
// run on one count on, where nobody looks any more.
func (m *Metrics) ForgetRoutes(names ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		delete(m.routes, name)
	}
}

// ForgetServices drops the metrics of removed services.
func (m *Metrics) ForgetServices(names ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		delete(m.services, name)
	}
}

// Func adds a metric that is computed for every scrape: samples yields the labels of each series, as Labels writes
// them, and its value. It is a counter if its name ends in _total, else a gauge. samples is called from the
// goroutine of the scrape, by several scrapes at once if need be, and must not call back into m. A name that is
// not fit for a metric, or taken, is a BUG and panics.
func (m *Metrics) Func(name, help string, samples iter.Seq2[string, float64]) {
	m.add(name, help, func(*readings) iter.Seq2[string, float64] { return samples })
}

func (m *Metrics) add(name, help string, samples func(*readings) iter.Seq2[string, float64]) {
	if err := checkName(name); err != nil {
		panic("BUG: " + err.Error())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at, taken := slices.BinarySearchFunc(m.funcs, name, func(f computed, name string) int { return strings.Compare(f.name, name) })
	if taken || slices.Contains(ownNames, name) {
		panic("BUG: the metric " + name + " exists already")
	}
	m.funcs = slices.Insert(m.funcs, at, computed{name: name, help: help, samples: samples})
}

// Group is metrics that are computed from the same thing, which is read once for each scrape and not once for each of them.
type Group[T any] struct {
	metrics *Metrics
	read    func() T
}

// NewGroup returns a group in m that has no metrics yet. read is called as the samples of Metrics.Func are.
func NewGroup[T any](m *Metrics, read func() T) *Group[T] { return &Group[T]{m, read} }

// Func is Metrics.Func for samples of what the group has read. Others are shown the same, so that samples must not change it.
func (g *Group[T]) Func(name, help string, samples func(T) iter.Seq2[string, float64]) {
	g.metrics.add(name, help, func(r *readings) iter.Seq2[string, float64] {
		seen, ok := r.of[g].(*T)
		if !ok {
			seen = new(g.read())
			r.of[g] = seen
		}
		return samples(*seen)
	})
}

// readings are what the groups have read for one scrape. One goroutine uses them.
type readings struct{ of map[any]any }

// Value is what Func takes for a metric with one series and no labels.
func Value(f func() float64) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) { yield("", f()) }
}

// checkName holds metric names to one style: lower case, our prefix, and the unit last, before _total.
func checkName(name string) error {
	rest, ok := strings.CutPrefix(name, "sluice_")
	if !ok || rest == "" {
		return fmt.Errorf("the name of the metric %q does not begin with sluice_", name)
	}
	words := strings.Split(strings.TrimSuffix(rest, "_total"), "_")
	for i, word := range words {
		if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return fmt.Errorf("the name of the metric %q is not lower case words joined by _", name)
		}
		if (word == "bytes" || word == "seconds") && i < len(words)-1 {
			return fmt.Errorf("the name of the metric %q has its unit not at the end", name)
		}
	}
	return nil
}

// WritePrometheus writes everything in the text format of Prometheus 0.0.4: ours, then the go_ and process_ metrics. The
// error is w's.
func (m *Metrics) WritePrometheus(w io.Writer) error {
	checked := &firstError{w: w}
	m.set.WritePrometheus(checked)
	metrics.WriteProcessMetrics(checked)
	return checked.err
}

// firstError remembers why writing failed, which the library does not.
type firstError struct {
	w   io.Writer
	err error
}

func (f *firstError) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.w.Write(p)
	f.err = err
	return n, err
}

// write writes our own metrics. The set calls it for every scrape.
func (m *Metrics) write(w io.Writer) {
	routes, services, funcs := m.totals()
	e := newExposition(w)
	writeRoutes(e, routes)
	writeServices(e, services)
	writePassages(e, m.sortedPassages())
	once := &readings{of: map[any]any{}}
	for _, f := range funcs {
		kind := "gauge"
		if strings.HasSuffix(f.name, "_total") {
			kind = "counter"
		}
		e.family(f.name, kind, f.help)
		for labels, value := range f.samples(once) {
			e.float(f.name, labels, value)
		}
	}
	_ = e.w.Flush() // the writer remembers its error
}

// totals reads everything once, in the order of names. The lock is held for copying the lists only: a reload does
// not wait for a scrape, and a request waits for neither.
func (m *Metrics) totals() ([]routeTotals, []serviceTotals, []computed) {
	m.mu.Lock()
	routes := slices.Collect(maps.Values(m.routes))
	services := slices.Collect(maps.Values(m.services))
	funcs := slices.Clone(m.funcs)
	m.mu.Unlock()
	slices.SortFunc(routes, func(a, b *RouteMetrics) int { return strings.Compare(a.name, b.name) })
	slices.SortFunc(services, func(a, b *ServiceMetrics) int { return strings.Compare(a.name, b.name) })
	byRoute := make([]routeTotals, len(routes))
	for i, r := range routes {
		byRoute[i] = r.totals()
	}
	byService := make([]serviceTotals, len(services))
	for i, s := range services {
		byService[i] = s.totals()
	}
	return byRoute, byService, funcs
}

func (m *Metrics) sortedPassages() []*PassageMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.passages), func(a, b *PassageMetrics) int {
		return cmp.Or(strings.Compare(a.way.listener, b.way.listener), strings.Compare(a.way.service, b.way.service))
	})
}

// The names of the metrics that this package counts itself.
const (
	nameRequests         = "sluice_requests_total"
	nameDuration         = "sluice_request_duration_seconds"
	nameRequestBytes     = "sluice_request_bytes_total"
	nameResponseBytes    = "sluice_response_bytes_total"
	nameInFlight         = "sluice_requests_in_flight"
	nameAborted          = "sluice_requests_aborted_total"
	nameRefused          = "sluice_requests_refused_total"
	nameReports          = "sluice_guard_reports_total"
	nameUpstreamRequests = "sluice_upstream_requests_total"
	nameUpstreamDuration = "sluice_upstream_duration_seconds"
	nameUpstreamRetries  = "sluice_upstream_retries_total"
	namePassages         = "sluice_passages_total"
	namePassagesOpen     = "sluice_passages_open"
	namePassageBytes     = "sluice_passage_bytes_total"
)

var ownNames = []string{
	nameRequests, nameDuration, nameRequestBytes, nameResponseBytes, nameInFlight, nameAborted, nameRefused, nameReports,
	nameUpstreamRequests, nameUpstreamDuration, nameUpstreamRetries, namePassages, namePassagesOpen, namePassageBytes,
}

var (
	routeClasses = [classCount]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}
	// An exchange that asked a service but got the gateway's own answer is its error, whatever status that has.
	serviceClasses = [classCount]string{"error", "1xx", "2xx", "3xx", "4xx", "5xx"}
)

// writeRoutes writes the metrics of routes. A route without a request yet shows only that: its requests at 0. Thirty
// lines each for 10,000 idle routes would make every scrape megabytes long.
func writeRoutes(e *exposition, routes []routeTotals) {
	e.family(nameRequests, "counter", "Requests finished, by the class of the status the client got; none: no status was ever sent.")
	for i := range routes {
		e.classes(nameRequests, Labels("route", routes[i].route.name), &routes[i].durations, &routeClasses)
	}
	used := func(yield func(labels string, t *routeTotals) bool) {
		for i := range routes {
			if routes[i].used && !yield(Labels("route", routes[i].route.name), &routes[i]) {
				return
			}
		}
	}
	e.family(nameDuration, "histogram", "Time from the first byte of a request to the end of its response.")
	for labels, t := range used {
		e.histogram(nameDuration, labels, &t.durations)
	}
	e.family(nameRequestBytes, "counter", "Bytes of request bodies taken from clients.")
	for labels, t := range used {
		e.uint(nameRequestBytes, labels, t.requestBytes)
	}
	e.family(nameResponseBytes, "counter", "Bytes of responses written to clients, heads included.")
	for labels, t := range used {
		e.uint(nameResponseBytes, labels, t.responseBytes)
	}
	e.family(nameInFlight, "gauge", "Requests begun and not finished, streams and tunnels included.")
	for labels, t := range used {
		e.uint(nameInFlight, labels, t.inFlight)
	}
	e.family(nameAborted, "counter", "Responses that were cut short.")
	for labels, t := range used {
		e.uint(nameAborted, labels, t.aborted)
	}
	e.family(nameRefused, "counter", "Requests that the gateway answered with an error of its own, by its code.")
	for _, t := range used {
		t.route.refused.each(func(code string, n uint64) { e.uint(nameRefused, Labels("route", t.route.name, "code", code), n) })
	}
	e.family(nameReports, "counter", "Requests that a guard in report mode would have refused.")
	for _, t := range used {
		t.route.reports.each(func(policy string, n uint64) { e.uint(nameReports, Labels("route", t.route.name, "policy", policy), n) })
	}
}

func writeServices(e *exposition, services []serviceTotals) {
	e.family(nameUpstreamRequests, "counter",
		"Requests that asked the service, by the class of its answer; error: none that could be passed on.")
	for i := range services {
		e.classes(nameUpstreamRequests, Labels("service", services[i].service.name), &services[i].durations, &serviceClasses)
	}
	e.family(nameUpstreamDuration, "histogram", "Time from the begin of the last try to the head of the response.")
	for i := range services {
		if s := &services[i]; s.used {
			e.histogram(nameUpstreamDuration, Labels("service", s.service.name), &s.durations)
		}
	}
	e.family(nameUpstreamRetries, "counter", "Tries beyond the first.")
	for i := range services {
		if s := &services[i]; s.used {
			e.uint(nameUpstreamRetries, Labels("service", s.service.name), s.retries)
		}
	}
}
