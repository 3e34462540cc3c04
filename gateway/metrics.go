package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/heroctl/heroctl/audit"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// metrics counts what passes the door. Labels are words of the schema only:
// never a path, a user or anything a client chose.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "heroctl_requests_total", Help: "Requests answered, by call, capability and result.",
		}, []string{"method", "capability", "result"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "heroctl_request_seconds", Help: "Time from arrival to answer, by call.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}, []string{"method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "heroctl_requests_in_flight", Help: "Requests at the door now."}),
	}
	m.registry.MustRegister(m.requests, m.latency, m.inFlight,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) arrived() { m.inFlight.Inc() }

func (m *metrics) answered(e *audit.Entry, kind fault.Kind) {
	result := "ok"
	if kind != "" {
		result = string(kind)
	}
	m.inFlight.Dec()
	m.requests.WithLabelValues(e.Method, e.Call.Capability.String(), result).Inc()
	m.latency.WithLabelValues(e.Method).Observe(time.Since(e.Call.Context.Time).Seconds())
}

// metricsNeed is what the metrics page needs. It is not a call of the schema, but
// it passes the same door.
func metricsNeed() *need {
	return &need{method: "metrics", label: "Metrics", cap: schema.Capability{Resource: schema.Cluster, Verb: "metrics"}, path: schema.MustPath("cluster")}
}

// serveMetrics answers with the metrics in Prometheus's text format.
func (g *Gateway) serveMetrics(w http.ResponseWriter, r *http.Request) {
	n := metricsNeed()
	c := call{need: n, cap: n.cap, path: n.path.String()}
	_, err := enforce(r.Context(), g, c, func(context.Context, *act) (struct{}, error) { return struct{}{}, nil })
	if err != nil {
		writeProblem(w, problemOf(err))
		return
	}
	promhttp.HandlerFor(g.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}
