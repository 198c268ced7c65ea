// Package observe sees exchanges begin and finish: metrics in Prometheus' text format, and the access log.
//
//   - Metrics hands out a RouteMetrics and a ServiceMetrics per configured name and writes them all for a scrape.
//   - AccessLog renders one line per exchange and writes it off the request path.
//   - Observer is the proxy.Observer of one route: it feeds all three.
//
// Why not the counters and histograms of VictoriaMetrics/metrics: its histograms take a lock on every update and have
// no `le` buckets, and its counters share one cache line between all cores. What an exchange updates here lies
// in one of several stripes (stripe.go), is atomic, and neither locks nor allocates; a scrape sums the stripes and
// nobody waits for it. The library still contributes the go_ and process_ metrics.
//
// Labels come from configured names and from codes that are constants of the program, never from a request, so the
// number of series is bounded by the configuration.
//
// No secret reaches the access log: redact.go says what counts as one.
package observe
