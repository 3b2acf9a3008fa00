package agentws_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"roadstead.dev/internal/agent"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/fake"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/node"
)

// machine is Roadstead's own agent with a node on a fake engine.
type machine struct {
	engine  *fake.State
	started int
	// adopts tells that an engine of before runs.
	adopts bool
	stop   func()
}

func (p *plane) machine(dir string, containers *fake.State, again bool) *machine {
	p.t.Helper()
	m := &machine{engine: containers, adopts: again}
	log := slog.New(slog.DiscardHandler)
	settings, err := agent.SettingsFrom(func(name string) string {
		return map[string]string{"ECS_INSTANCE_ATTRIBUTES": `{"stack":"blue"}`, "ECS_RESERVED_MEMORY": "100"}[name]
	})
	if err != nil {
		p.t.Fatal(err)
	}
	a, err := agent.New(agent.Config{
		Settings: settings, Machine: agent.Machine{CPU: 2048, Memory: 4096, Architecture: "x86_64"},
		API: &agent.API{
			Endpoint: "http://" + host, Region: region, Client: p.client, Clock: clock.System{},
			Credentials: credentials.NewStaticCredentialsProvider("agent", secret, ""),
		},
		StateDir: dir, Version: "1.0.0", Hash: "h", Runtime: "containerd", Clock: clock.System{}, Log: log,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	lazy := &agent.LazyEngine{There: func(context.Context) bool { return m.adopts }, Start: func(context.Context) (engine.Engine, error) { m.started++; return fake.New(m.engine, nil), nil }}
	n, err := node.New(node.Config{
		Name: "machine", Engine: lazy, Transport: a, Network: agent.NewPretendedNetwork(agent.Settings{}), StateDir: dir,
		RetryDelay: 250 * time.Millisecond, Clock: clock.System{}, Log: log,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, n.Run) }()
	m.stop = func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Error(err)
		}
	}
	return m
}

// settle lets a while pass.
func settle() { time.Sleep(3 * time.Second); synctest.Wait() } // the bubble's time

func (p *plane) instances() []any {
	p.t.Helper()
	l := p.must("agent", "ListContainerInstances", `{"cluster":"default"}`)["containerInstanceArns"].([]any)
	return l
}

// Roadstead's own agent speaks the protocol with the same control plane.
func TestOwnAgent(t *testing.T) {
	dir := t.TempDir()
	withPlane(t, func(p *plane) {
		containers := fake.NewState()
		m := p.machine(dir, containers, false)
		settle()
		arns := p.instances()
		if len(arns) != 1 {
			t.Fatal(arns)
		}
		arn := arns[0].(string)
		if !p.connected(arn) || m.started != 0 {
			t.Fatalf("connected %t, %d engines before the first task", p.connected(arn), m.started)
		}
		d := p.must("agent", "DescribeContainerInstances", `{"cluster":"default","containerInstances":["`+arn+`"]}`)["containerInstances"].([]any)[0].(map[string]any)
		if memory := d["registeredResources"].([]any)[1].(map[string]any)["integerValue"].(float64); memory != 3996 {
			t.Error(memory)
		}

		id, bad := strings.Repeat("a", 32), strings.Repeat("b", 32)
		p.task(id, arn, "host")
		settle()
		if o := p.observed(id); o.Status != "RUNNING" || m.started != 1 {
			t.Fatalf("%+v, %d engines", o, m.started)
		}
		// Those of bridge mode get ports of their own of the instance, and tell
		// which.
		ports := map[int]bool{}
		for _, x := range []string{"c", "d"} {
			bridge := strings.Repeat(x, 32)
			p.task(bridge, arn, "bridge")
			settle()
			o := p.observed(bridge)
			if o.Status != "RUNNING" || len(o.Containers[0].NetworkBindings) != 1 {
				t.Fatalf("%+v", o)
			}
			b := o.Containers[0].NetworkBindings[0]
			if *b.ContainerPort != 80 || *b.HostPort < 49153 || b.BindIP != "0.0.0.0" || b.Protocol != "tcp" || ports[*b.HostPort] {
				t.Errorf("%d:%d %+v, after %v", *b.HostPort, *b.ContainerPort, b, ports)
			}
			ports[*b.HostPort] = true
			p.change(bridge, func(t *model.Task) { t.Status.LastStatus = model.TaskStopping })
			settle()
			if o := p.observed(bridge); o.Status != "STOPPED" {
				t.Errorf("%+v", o)
			}
		}
		p.task(bad, arn, "nat")
		settle()
		if o := p.observed(bad); o.Status != "STOPPED" || !strings.Contains(o.Reason, "network mode nat is not supported") {
			t.Errorf("%+v", o)
		}

		// An hour passes: connections are made anew, and nothing else happens.
		time.Sleep(time.Hour)
		if o := p.observed(id); !p.connected(arn) || o.Status != "RUNNING" {
			t.Errorf("%+v", o)
		}
		m.stop()
		if p.connected(arn) {
			t.Error("connected without an agent")
		}

		// The next agent is the same instance, and adopts the task.
		again := p.machine(dir, containers, true)
		settle()
		if arns := p.instances(); len(arns) != 1 || !p.connected(arn) {
			t.Fatal(arns)
		}
		p.change(id, func(t *model.Task) { t.Status.LastStatus = model.TaskStopping })
		settle()
		if o := p.observed(id); o.Status != "STOPPED" {
			t.Errorf("%+v", o)
		}

		// One that was deregistered registers as new.
		p.must("agent", "DeregisterContainerInstance", `{"cluster":"default","containerInstance":"`+arn+`","force":true}`)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if arns := p.instances(); len(arns) != 1 || arns[0] == arn || !p.connected(arns[0].(string)) {
			t.Error(arns)
		}
		again.stop()
	})
}
