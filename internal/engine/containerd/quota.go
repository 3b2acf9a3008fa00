package containerd

import "sync"

// quotas knows the groups' shares of CPU time, to lift them while containers
// are made. The runtime's own work on a container is done inside its group: on
// a quarter of a CPU, the smallest that Fargate has, it would take a tenth of a
// second longer.
//
// What is lifted when this process ends stays so until EnsureGroup is called
// again.
type quotas struct {
	mu     sync.Mutex
	groups map[string]*quota
	// apply gives a group CPU time; 0 means without a limit.
	apply func(group string, cpus float64)
}

type quota struct {
	cpus float64
	// lifted is how many wait for the quota to be back.
	lifted int
}

// set notes a group's quota, which is in force.
func (q *quotas) set(group string, cpus float64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if g := q.groups[group]; g != nil {
		g.cpus = cpus
		return
	}
	q.groups[group] = &quota{cpus: cpus}
}

func (q *quotas) forget(group string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.groups, group)
}

// lift takes a group's quota away until restore was called as often as lift.
func (q *quotas) lift(group string) (restore func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	g := q.groups[group]
	if g == nil || g.cpus == 0 {
		return func() {}
	}
	if g.lifted++; g.lifted == 1 {
		q.apply(group, 0)
	}
	return sync.OnceFunc(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if g.lifted--; g.lifted == 0 && q.groups[group] == g {
			q.apply(group, g.cpus)
		}
	})
}
