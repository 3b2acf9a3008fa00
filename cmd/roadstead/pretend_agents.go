package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	ec2imds "github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"roadstead.dev/internal/agent"
	"roadstead.dev/internal/engine/fake"
	"roadstead.dev/internal/imds"
	"roadstead.dev/internal/instance"
	fakeinstance "roadstead.dev/internal/instance/fake"
	"roadstead.dev/internal/model/machineimage"
	"roadstead.dev/internal/node"
)

// pretendedInstances are instances that run nothing but an agent, in this
// process, if their image has one. The agent is the real one, which registers
// over the network with what the instance's metadata tell; only what it runs is
// pretended.
type pretendedInstances struct {
	*fakeinstance.Host
	s        *server
	metadata *imds.Service
	client   *http.Client

	mu sync.Mutex
	// base is the context of run, nil before.
	base context.Context
	wg   sync.WaitGroup
	// agents by instance: how to end one that runs, nil for one that waits for
	// run.
	agents map[string]*pretendedAgent
}

type pretendedAgent struct {
	spec  instance.Spec
	end   context.CancelFunc
	ended chan struct{}
}

func (s *server) newPretendedInstances() *pretendedInstances {
	return &pretendedInstances{
		Host: fakeinstance.New(s.clock.Now), s: s, metadata: s.newInstanceMetadata(), agents: map[string]*pretendedAgent{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8, ResponseHeaderTimeout: time.Minute, IdleConnTimeout: 10 * time.Second}},
	}
}

// run runs the agents until ctx ends.
func (p *pretendedInstances) run(ctx context.Context) {
	p.mu.Lock()
	p.base = ctx
	for _, a := range p.agents {
		p.launch(a)
	}
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	p.agents = nil // none begins any more
	p.mu.Unlock()
	p.wg.Wait()
}

// Boot boots an instance and its agent.
func (p *pretendedInstances) Boot(ctx context.Context, s instance.Spec) error {
	if err := p.Host.Boot(ctx, s); err != nil {
		return err
	}
	image, ok := machineimage.Find(s.Region, s.ImageID)
	if !ok || image.ECS == nil || len(s.Interfaces) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.agents == nil || p.agents[s.ID] != nil {
		return nil
	}
	a := &pretendedAgent{spec: s}
	p.agents[s.ID] = a
	if p.base != nil {
		p.launch(a)
	}
	return nil
}

// launch is called with p.mu held.
func (p *pretendedInstances) launch(a *pretendedAgent) {
	var ctx context.Context
	ctx, a.end = context.WithCancel(p.base)
	a.ended = make(chan struct{})
	p.wg.Go(func() {
		defer close(a.ended)
		if err := p.act(ctx, &a.spec); err != nil && ctx.Err() == nil {
			p.s.log.Warn("the agent of an instance has ended", "instance", a.spec.ID, "error", err)
		}
	})
}

// Stop ends the agent, then the instance.
func (p *pretendedInstances) Stop(ctx context.Context, id string, patience time.Duration) error {
	p.silence(id)
	return p.Host.Stop(ctx, id, patience)
}

// Remove ends the agent, then the instance.
func (p *pretendedInstances) Remove(ctx context.Context, id string) error {
	p.silence(id)
	return p.Host.Remove(ctx, id)
}

func (p *pretendedInstances) silence(id string) {
	p.mu.Lock()
	a := p.agents[id]
	delete(p.agents, id)
	p.mu.Unlock()
	if a != nil && a.end != nil {
		a.end()
		<-a.ended
	}
}

// act is the agent of an instance.
func (p *pretendedInstances) act(ctx context.Context, i *instance.Spec) error {
	told := agent.SettingsInUserData(string(i.UserData))
	settings, err := agent.SettingsFrom(func(name string) string { return told[name] })
	if err != nil {
		return err
	}
	eth0 := i.Interfaces[0]
	metadata := ec2imds.New(ec2imds.Options{HTTPClient: &http.Client{Transport: p.metadata.Local(eth0.VPCID, eth0.Address.Addr())}})
	m := agent.Machine{CPU: int(i.VCPUs * 1024), Memory: i.Memory, Architecture: machineimage.X8664}
	if image, ok := machineimage.Find(i.Region, i.ImageID); ok {
		m.Architecture = image.Architecture
	}
	if m.Document, m.Signature, err = agent.ReadIdentity(ctx, metadata); err != nil {
		return err
	}
	a, err := agent.New(agent.Config{
		Settings: settings, Machine: m, Version: version, Hash: "roadstead", Runtime: "none",
		API: &agent.API{
			Endpoint: p.s.endpoint(), Region: i.Region, Credentials: instanceCredentials(metadata), Clock: p.s.clock, Client: p.client,
		},
		Clock: p.s.clock, Log: p.s.log.With("instance", i.ID),
	})
	if err != nil {
		return err
	}
	n, err := node.New(node.Config{
		Name: i.ID, Engine: fake.New(fake.NewState(), p.s.clock.Now), Transport: a, Network: agent.NewPretendedNetwork(settings), Volatile: true, RetryDelay: 250 * time.Millisecond, Clock: p.s.clock, Log: p.s.log,
	})
	if err != nil {
		return err
	}
	return a.Run(ctx, n.Run)
}
