package main

import (
	"context"
	"net/http"

	"golang.org/x/sync/errgroup"

	"roadstead.dev/internal/balancer/pretend"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/controller/ec2instance"
	"roadstead.dev/internal/controller/loadbalancer"
	"roadstead.dev/internal/engine/fake"
)

// pretence stands behind the APIs where nothing may run: tasks are said to
// run and targets to be healthy.
type pretence struct {
	s         *server
	balancers *loadbalancer.LoadBalancers
	node      *fargateCapacity
	instances *ec2instance.Instances
	machines  *pretendedInstances
}

var _ plane = (*pretence)(nil)

func (s *server) newPretence() (*pretence, error) {
	p := &pretence{s: s}
	p.balancers = loadbalancer.New(loadbalancer.Config{Store: s.store, Clock: s.clock, Log: s.log, Plane: pretend.New(s.clock)})
	p.machines = s.newPretendedInstances()
	p.instances = ec2instance.New(ec2instance.Config{Store: s.store, Clock: s.clock, Log: s.log, Runtime: p.machines})
	var err error
	p.node, err = s.newFargate(fargateParts{engine: fake.New(fake.NewState(), s.clock.Now)})
	return p, err
}

func (p *pretence) controllers() []*controller.Controller {
	return []*controller.Controller{p.balancers.Controller(), p.instances.Controller()}
}

func (p *pretence) run(ctx context.Context, ready func()) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { p.balancers.Run(ctx); return nil })
	g.Go(func() error { p.instances.Run(ctx); return nil })
	g.Go(func() error { p.machines.run(ctx); return nil })
	g.Go(func() error { return p.node.run(ctx) })
	ready()
	return g.Wait()
}

// door says that nobody answers.
func (p *pretence) door() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "The engine is fake: load balancers answer nobody.", http.StatusBadGateway)
	})
}

func (p *pretence) close() error { return nil }
