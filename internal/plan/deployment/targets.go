package deployment

// targetEvents collects what happened to targets, so that each group has one
// event about all its tasks.
type targetEvents struct {
	registered, deregistered counter
	draining                 counter // by deployment
}

// counter counts by key and remembers the order of the keys.
type counter struct {
	keys   []string
	counts map[string]int
}

func (c *counter) add(key string) {
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	if c.counts[key] == 0 {
		c.keys = append(c.keys, key)
	}
	c.counts[key]++
}

func newTargetEvents() *targetEvents { return &targetEvents{} }

func (e *targetEvents) register(t Task) {
	for _, g := range t.Targets {
		e.registered.add(g.GroupARN)
	}
}

func (e *targetEvents) deregister(t Task) {
	for _, g := range t.Targets {
		e.deregistered.add(g.GroupARN)
	}
	e.draining.add(t.Deployment)
}

func (e *targetEvents) emit(p *planner) {
	for _, g := range e.registered.keys {
		p.event("registered %d %s in (%s)", e.registered.counts[g], members(g), balancer(g))
	}
	for _, g := range e.deregistered.keys {
		p.event("deregistered %d %s in (%s)", e.deregistered.counts[g], members(g), balancer(g))
	}
	for _, d := range e.draining.keys {
		p.plan.Events = append(p.plan.Events, drainingEvent(p.Service.Name, d, e.draining.counts[d]))
	}
}
