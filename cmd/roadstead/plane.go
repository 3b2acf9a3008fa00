package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"roadstead.dev/internal/balancer"
	"roadstead.dev/internal/balancer/frontdoor"
	"roadstead.dev/internal/balancer/metrics"
	"roadstead.dev/internal/balancer/place"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/controller/ec2instance"
	ctrlinklocal "roadstead.dev/internal/controller/linklocal"
	"roadstead.dev/internal/controller/loadbalancer"
	ctrnetwork "roadstead.dev/internal/controller/network"
	"roadstead.dev/internal/edge"
	"roadstead.dev/internal/engine/containerd"
	"roadstead.dev/internal/engine/containerd/supervise"
	"roadstead.dev/internal/fargate"
	"roadstead.dev/internal/imds"
	"roadstead.dev/internal/linklocal"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/network"
	"roadstead.dev/internal/network/dns"
	"roadstead.dev/internal/network/hostsfile"
	"roadstead.dev/internal/telemetry/delivery"
)

// machine stands behind the APIs on this machine: VPCs in the kernel,
// containers on containerd, load balancers in this process.
type machine struct {
	s         *server
	network   *network.Network
	engine    *containerd.Engine
	balancer  *balancer.Balancer
	balancers *loadbalancer.LoadBalancers
	// logs delivers what load balancers log.
	logs      *delivery.Delivery
	front     *frontdoor.Door
	ports     *frontdoor.Ports
	services  *linklocal.Server
	instances *ec2instance.Instances
	node      *fargateCapacity
}

var _ plane = (*machine)(nil)

// newPlane makes what the engine asks for.
func (s *server) newPlane(ctx context.Context) (plane, error) {
	if s.engine == engineFake {
		return s.newPretence()
	}
	return s.newMachine(ctx)
}

func (s *server) newMachine(ctx context.Context) (_ *machine, err error) {
	m := &machine{s: s}
	defer func() {
		if err != nil {
			_ = m.close()
		}
	}()
	cfg := s.networkConfig()
	cfg.Log = s.log
	if m.network, err = network.New(cfg); err != nil {
		return nil, fmt.Errorf("the network: %w (roadstead doctor tells what is missing)", err)
	}
	if m.engine, err = s.newEngine(ctx); err != nil {
		return nil, err
	}
	stands := place.New(m.network)
	if err := os.MkdirAll(s.path("logs", "elb"), 0o700); err != nil {
		return nil, err
	}
	m.logs = delivery.New(delivery.Config{
		Dir: s.path("logs", "elb"), Objects: s.apis.objects.Objects(), Streams: s.apis.logs, Events: s.apis.logstore,
		Clock: s.clock, Log: s.log, Period: s.logPeriod(),
	})
	m.balancer = balancer.New(balancer.Config{
		Logs:  m.logs,
		Place: stands, Forwarder: stands, Secrets: s.apis.sealing, Lookup: stands.Lookup, Roots: s.roots, Clock: s.clock, Log: s.log,
		Changed: func(lb string) { m.balancers.Changed(lb) },
	})
	m.front = frontdoor.New(frontdoor.Config{
		Directory: loadbalancer.NewDirectory(s.store), Dial: m.network.DialVPC, Starting: startTime, Log: s.log,
	})
	m.ports = frontdoor.NewPorts(m.front, "127.0.0.1", s.log)
	m.balancers = loadbalancer.New(loadbalancer.Config{
		Store: s.store, Clock: s.clock, Log: s.log, Plane: m.balancer, Ports: m.ports, Certificates: s.openCertificates(),
		TrustStores: s.openTrustStores(),
	})
	m.node, err = s.newFargate(fargateParts{
		engine:  m.engine,
		network: &fargate.Network{Plane: m.network, Store: s.store},
		api:     "http://" + net.JoinHostPort(network.MetadataAddr.String(), s.port()),
	})
	if err != nil {
		return nil, err
	}
	// All VPCs share a bound on connections, which is not the host's.
	inVPC, guests := s.apis.inVPC(s), edge.NewConns(edge.MaxConns()/2)
	metadata := s.newInstanceMetadata()
	m.services = linklocal.New(linklocal.Config{
		InstanceMetadata: metadata.Handler, ConnContext: imds.ConnContext,
		Wait: m.network.WaitVPC, Netns: m.network.VPCNetns, Metadata: m.node.node.Metadata,
		NewAPI:  func() linklocal.APIServer { return s.newEdge(inVPC, guests) },
		APIPort: s.port(), Log: s.log,
		Resolver: dns.New(dns.Config{
			Zone:      ctrnetwork.Names{Store: s.store, Endpoint: network.MetadataAddr, Draw: rand.IntN}.Lookup,
			Upstreams: dns.HostResolvers("/etc/resolv.conf"), Log: s.log,
		}).Handler,
	})
	runtime, err := s.newInstances(m.network)
	if err != nil {
		return nil, err
	}
	m.instances = ec2instance.New(ec2instance.Config{Store: s.store, Clock: s.clock, Log: s.log, Runtime: runtime})
	return m, errors.Join(ctrnetwork.Sweep(ctx, s.store, m.network), m.instances.Sweep(ctx))
}

// newEngine connects to containerd: the one that was asked for, else the one
// that this instance started before, else the machine's own, else a new one.
func (s *server) newEngine(ctx context.Context) (*containerd.Engine, error) {
	address := s.containerd
	own := s.superviseConfig()
	own.Log = s.log
	if address == "" {
		_, err := os.Stat(own.RunDir)
		if err != nil && supervise.Answers(ctx, supervise.DefaultAddress) {
			address = supervise.DefaultAddress
		}
	}
	if address == "" {
		var err error
		if address, err = supervise.Ensure(ctx, own); err != nil {
			return nil, fmt.Errorf("start containerd: %w (roadstead doctor tells what is missing)", err)
		}
	}
	cfg := s.engineConfig(address)
	cfg.Log = s.log
	return containerd.New(ctx, cfg)
}

func (m *machine) controllers() []*controller.Controller {
	cs := []*controller.Controller{
		ctrnetwork.New(ctrnetwork.Config{Store: m.s.store, Plane: m.network, HostRoute: isDefault}),
		m.balancers.Controller(),
		m.instances.Controller(),
		ctrlinklocal.New(m.s.store, m.services),
	}
	if m.s.hostsFile != "no" {
		cs = append(cs, ctrnetwork.NewHosts(ctrnetwork.HostsConfig{
			Store: m.s.store, Path: m.s.hostsFile, Instance: m.s.prefix(), HostRoute: m.routed,
			Static: []hostsfile.Entry{{Addr: netip.MustParseAddr("127.0.0.1"), Names: []string{m.s.accountID + ".dkr.ecr." + m.s.region + ".localhost"}}},
		}))
	}
	return cs
}

func (m *machine) run(ctx context.Context, ready func()) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { m.balancers.Run(ctx); return nil })
	g.Go(func() error { return m.logs.Run(ctx) })
	g.Go(func() error {
		metrics.New(metrics.Config{Source: m.balancer, Store: m.s.apis.metrics, Clock: m.s.clock, Log: m.s.log, Every: m.s.metricPeriod()}).Run(ctx)
		return nil
	})
	g.Go(func() error { m.instances.Run(ctx); return nil })
	g.Go(func() error { return m.node.run(ctx) })
	ready()
	return g.Wait()
}

func (m *machine) door() http.Handler { return m.front }

// isDefault tells which VPCs the host gets routes to: default ones, which a
// developer's machine should reach as it reaches containers.
func isDefault(v *model.VPC) bool { return v.IsDefault }

// routed tells whether the host has the routes: another instance's VPC, or
// the machine's own network, may have the addresses.
func (m *machine) routed(v *model.VPC) bool {
	_, conflict := m.network.HostConflicts()[v.ID]
	return v.IsDefault && !conflict
}

// startTime is how long after the start clients wait for load balancers that do
// not listen yet.
const startTime = 5 * time.Second

// When the server stops:
const (
	// settleTime is how long connections may take to reach their load balancer,
	// and what it sent them last to reach the client.
	settleTime = 500 * time.Millisecond
	// drainTime is how long requests, tunnels and connections may go on.
	drainTime = 10 * time.Second
	// deliverTime is how long the last logs may take to reach their buckets.
	deliverTime = 5 * time.Second
)

func (m *machine) close() error {
	var errs []error
	if m.front != nil {
		// What is on its way from the host still reaches its load balancer.
		ctx, cancel := context.WithTimeout(context.Background(), settleTime)
		defer cancel()
		m.ports.Close()
		m.front.Settle(ctx)
	}
	if m.services != nil {
		m.services.CloseAll()
	}
	if m.balancer != nil {
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		m.balancer.Close(ctx)
		if m.front != nil {
			// Relays end with the load balancers' connections.
			last, cancel := context.WithTimeout(context.Background(), settleTime)
			defer cancel()
			m.front.Shutdown(last)
		}
		logs, cancel := context.WithTimeout(context.Background(), deliverTime)
		defer cancel()
		m.logs.Deliver(logs)
	}
	if m.engine != nil {
		errs = append(errs, m.engine.Close())
	}
	return errors.Join(errs...)
}
