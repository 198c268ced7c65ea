package compile

import (
	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/observe"
)

// passages leads listeners to the services that they pass connections on to, and gives what is passed on its metrics and the access
// log.
func (b *builder) passages() {
	for i := range b.config.Listen {
		from := &b.config.Listen[i]
		to := &b.plan.Listeners[i]
		var services []string
		way := func(service config.Text) *proxy.Way {
			services = append(services, service.Text)
			w := &proxy.Way{Service: service.Text}
			if running := b.plan.services[service.Text].running; running != nil {
				w.To = running
			}
			return w
		}
		switch {
		case from.Value.TCP.Text != "":
			to.Pass = way(from.Value.TCP)
		case len(from.Value.Passing) > 0:
			ways := make(map[string]*proxy.Way, len(from.Value.Passing))
			for _, e := range from.Value.Passing {
				ways[e.Name] = way(e.Value)
			}
			to.Through = proxy.NewNames(ways)
			services = append(services, "") // for names that nobody has
		default:
			continue
		}
		if b.runtime.options.Dry {
			continue
		}
		var metrics []*observe.PassageMetrics
		for _, service := range services {
			metrics = append(metrics, b.runtime.options.Metrics.Passage(from.Name, service))
		}
		b.plan.passages = append(b.plan.passages, metrics...)
		to.Passages = observe.NewPassageObserver(b.plan.log.writer(), metrics...)
	}
}
