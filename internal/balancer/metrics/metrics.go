// Package metrics makes CloudWatch's metrics of load balancers from what the
// data plane counts, once a minute.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-cloudwatch-metrics.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-cloudwatch-metrics.html
package metrics

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"roadstead.dev/internal/balancer"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/telemetry/metricstore"
)

// Store keeps metrics.
type Store interface {
	Put(ctx context.Context, data []metricstore.Datum) error
}

// Source is the data plane.
type Source interface {
	Measure(visit func(balancer.Measure))
}

// Config of a Collector. Log may be nil.
type Config struct {
	Source Source
	Store  Store
	Clock  clock.Clock
	Log    *slog.Logger
	// Every is how often metrics are made; 0 means each minute. Data of one
	// minute adds up.
	Every time.Duration
}

// Collector makes metrics.
type Collector struct {
	Config
	// before is what was read last of the counters that there are.
	before map[*l7.Stats]*counts
}

// New makes a collector.
func New(cfg Config) *Collector {
	if cfg.Every == 0 {
		cfg.Every = time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Collector{Config: cfg, before: map[*l7.Stats]*counts{}}
}

// saveTime bounds the last save.
const saveTime = 2 * time.Second

// Run collects at the end of each minute until ctx ends, and then what there
// is since.
func (c *Collector) Run(ctx context.Context) {
	for {
		now := c.Clock.Now()
		// A little before the next minute, so that what is counted belongs to
		// the one that ends.
		wait := now.Add(c.Every).Truncate(c.Every).Sub(now) - c.Every/120
		if wait <= 0 {
			wait += c.Every
		}
		timer := c.Clock.NewTimer(wait)
		select {
		case <-timer.C:
			c.collect(ctx)
		case <-ctx.Done():
			timer.Stop()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
			defer cancel()
			c.collect(last)
			return
		}
	}
}

func (c *Collector) collect(ctx context.Context) {
	if err := c.Collect(ctx); err != nil && ctx.Err() == nil {
		c.Log.ErrorContext(ctx, "metrics of load balancers are lost", "error", err)
	}
}

// Collect makes metrics of what was counted since it was called last.
func (c *Collector) Collect(ctx context.Context) error {
	now := c.Clock.Now()
	seen := map[*l7.Stats]*counts{}
	var data []metricstore.Datum
	c.Source.Measure(func(m balancer.Measure) {
		b := newBatch(m, now)
		if b == nil {
			return
		}
		zones, groups := c.take(seen, m.Nodes), make([]zoned, len(m.Groups))
		for i, g := range m.Groups {
			groups[i] = c.take(seen, g.Nodes)
			zones.ofTargets(groups[i])
		}
		switch m.Spec.Type {
		case model.LoadBalancerNetwork:
			b.network(m, zones, c.take(seen, m.Plain), c.Every)
		case model.LoadBalancerClassic:
			b.classic(m, zones, c.Every)
		default:
			b.application(m, zones, c.Every)
		}
		for i, g := range m.Groups {
			b.group(m, g, groups[i])
		}
		data = append(data, b.data...)
	})
	c.before = seen
	return c.Store.Put(ctx, data)
}

// zoned are counts by zone, and their sum under "".
type zoned map[string]*counts

// take reads counters, and returns what they counted since they were read
// last.
func (c *Collector) take(seen map[*l7.Stats]*counts, nodes []balancer.ZoneStats) zoned {
	out := zoned{"": {}}
	for _, n := range nodes {
		now, before := read(n.Stats), c.before[n.Stats]
		if before == nil {
			before = &counts{}
		}
		seen[n.Stats] = now
		d := now.since(before)
		out[""].add(d)
		if n.Zone == "" {
			continue
		}
		if out[n.Zone] == nil {
			out[n.Zone] = &counts{}
		}
		out[n.Zone].add(d)
	}
	return out
}

// ofTargets adds what is counted by group alone.
func (z zoned) ofTargets(group zoned) {
	for zone, g := range group {
		if z[zone] == nil {
			z[zone] = &counts{}
		}
		z[zone].connectionErrors += g.connectionErrors
		z[zone].toTargets += g.connections
		z[zone].targetTLSErrors += g.tlsErrors
		z[zone].nonSticky += g.nonSticky
		z[zone].appNonSticky += g.appNonSticky
		z[zone].took.Merge(&g.took)
	}
}

// batch collects the data of a load balancer.
type batch struct {
	account, region, namespace string
	// balancer is the dimension that names it.
	balancer metricstore.Dimension
	at       time.Time
	data     []metricstore.Datum
}

func newBatch(m balancer.Measure, now time.Time) *batch {
	parts := strings.SplitN(m.Spec.ARN, ":", 6)
	if len(parts) < 6 {
		return nil
	}
	b := &batch{account: parts[4], region: parts[3], at: now, namespace: applicationELB}
	b.balancer = metricstore.Dimension{Name: "LoadBalancer", Value: strings.TrimPrefix(parts[5], "loadbalancer/")}
	switch m.Spec.Type {
	case model.LoadBalancerNetwork:
		b.namespace = "AWS/NetworkELB"
	case model.LoadBalancerClassic:
		b.namespace = "AWS/ELB"
		b.balancer = metricstore.Dimension{Name: "LoadBalancerName", Value: m.Spec.Name}
	}
	return b
}

// applicationELB is the namespace of application load balancers.
const applicationELB = "AWS/ApplicationELB"

// Units of metrics.
const (
	unitCount   = "Count"
	unitSeconds = "Seconds"
	unitMillis  = "Milliseconds"
	unitBytes   = "Bytes"
	unitNone    = "None"
)

func (b *batch) put(name, unit string, set metricstore.Set, ds ...metricstore.Dimension) {
	if set.Count == 0 {
		return
	}
	b.data = append(b.data, metricstore.Datum{
		Metric: metricstore.NewMetric(b.account, b.region, b.namespace, name, ds...), Unit: unit, At: b.at, Set: set,
	})
}

// times is n times the value 1, as metrics are that count requests.
func times(n int64) metricstore.Set {
	return metricstore.Statistics(float64(n), float64(n), 1, 1)
}

// once is one value.
func once(v float64) metricstore.Set { return metricstore.Statistics(1, v, v, v) }

// one is one value where it is not zero.
func one(n int64) metricstore.Set {
	if n == 0 {
		return metricstore.Set{}
	}
	return once(float64(n))
}

// each puts a metric for the load balancer, with other dimensions beside, and
// for each of its zones.
func (b *batch) each(zones zoned, name, unit string, f func(*counts) metricstore.Set, ds ...metricstore.Dimension) {
	for zone, c := range zones {
		with := ds
		if zone != "" {
			with = append([]metricstore.Dimension{{Name: "AvailabilityZone", Value: zone}}, ds...)
		}
		b.put(name, unit, f(c), with...)
	}
}
