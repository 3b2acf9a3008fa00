package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"roadstead.dev/internal/balancer"
	"roadstead.dev/internal/balancer/place"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/network"
	"roadstead.dev/internal/plan/balance"
)

// Addresses in the VPC, and ports of the target and of the load balancer.
const (
	vpcBlock      = "10.79.0.0/16"
	clientAddress = "10.79.0.20"
	targetAddress = "10.79.16.20"
	lbAddress     = "10.79.0.10"

	plainPort, securePort        = 80, 443
	ownPort, keptPort, endedPort = 81, 82, 444
)

// plainPorts are those at which the target speaks no TLS: one for each way, so
// that a connection of one way never has the addresses and the ports of one
// that another way has just ended.
var plainPorts = []int{plainPort, ownPort, keptPort, endedPort}

// bench is the VPC with all that stands in it.
type bench struct {
	cfg      network.Config
	dir      string
	balancer *balancer.Balancer
	client   string
	target   *exec.Cmd
	ways     []*way
}

func start(ctx context.Context) (_ *bench, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("this needs root: it makes network namespaces")
	}
	dir, err := os.MkdirTemp("", "roadstead-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir, cfg: network.Config{Prefix: "rs" + id.Hex(6), Dir: filepath.Join(dir, "net")}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	n, err := network.New(b.cfg)
	if err != nil {
		return nil, err
	}
	everything := network.Rule{Protocol: -1, From: -1, To: -1, CIDR: netip.MustParsePrefix("0.0.0.0/0")}
	out := everything
	out.Egress = true
	vpc := network.VPC{
		ID: id.Resource("vpc"), CIDRs: []netip.Prefix{netip.MustParsePrefix(vpcBlock)},
		Subnets: []network.Subnet{
			{ID: "subnet-a", CIDR: netip.MustParsePrefix("10.79.0.0/20"), RouteTableID: "rtb"},
			{ID: "subnet-b", CIDR: netip.MustParsePrefix("10.79.16.0/20"), RouteTableID: "rtb"},
		},
		RouteTables: []network.RouteTable{{ID: "rtb"}},
		Groups:      []network.Group{{ID: "sg", Rules: []network.Rule{everything, out}}},
	}
	stands := map[string]network.Attachment{}
	for i, address := range []string{clientAddress, targetAddress, lbAddress} {
		eni, mac := id.Resource("eni"), net.HardwareAddr{2, 0, 10, 79, 0, byte(i)}
		subnet := "subnet-a"
		if address == targetAddress {
			subnet = "subnet-b"
		}
		vpc.Interfaces = append(vpc.Interfaces, network.Interface{
			ID: eni, SubnetID: subnet, MAC: mac, IP: netip.MustParseAddr(address), Groups: []string{"sg"}, Balancer: address == lbAddress,
		})
		stands[address] = network.Attachment{VPCID: vpc.ID, InterfaceID: eni, MAC: mac, Address: netip.MustParsePrefix(address + "/20")}
	}
	if err := n.Apply(ctx, vpc); err != nil {
		return nil, err
	}
	for _, address := range []string{clientAddress, targetAddress} {
		a := stands[address]
		if a.Netns, err = n.CreateNetns(ctx, "host-"+address); err != nil {
			return nil, err
		}
		if err := n.Attach(ctx, a); err != nil {
			return nil, err
		}
	}
	b.client = n.NetnsPath("host-" + clientAddress)
	if err := b.serve(n.NetnsPath("host-" + targetAddress)); err != nil {
		return nil, err
	}
	at := place.New(n)
	b.balancer = balancer.New(balancer.Config{Place: at, Forwarder: at, Clock: clock.System{}})
	if err := b.forward(ctx, vpc.ID, stands[lbAddress]); err != nil {
		return nil, err
	}
	direct := &way{name: "direct", address: address(targetAddress, plainPort)}
	secure := &way{name: "direct, TLS", address: address(targetAddress, securePort), secure: true}
	b.ways = []*way{
		direct,
		{name: "load balancer", address: address(lbAddress, ownPort), against: direct},
		{name: "load balancer, client's address preserved", address: address(lbAddress, keptPort), against: direct},
		secure,
		{name: "load balancer, TLS", address: address(lbAddress, endedPort), secure: true, against: secure},
	}
	return b, nil
}

func address(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }

// forward makes the load balancer, with a listener for each way.
func (b *bench) forward(ctx context.Context, vpc string, a network.Attachment) error {
	pair, err := certificate()
	if err != nil {
		return err
	}
	lb := balance.LoadBalancer{
		ID: id.Hex(16), VpcID: vpc, Type: model.LoadBalancerNetwork,
		Interfaces: []balance.Interface{{ID: a.InterfaceID, MAC: a.MAC.String(), Address: a.Address.String(), Zone: "a"}},
	}
	for _, l := range []struct {
		port     int32
		protocol string
		preserve bool
	}{{ownPort, "TCP", false}, {keptPort, "TCP", true}, {endedPort, "TLS", false}} {
		arn := strconv.Itoa(int(l.port))
		lb.Listeners = append(lb.Listeners, balance.Listener{
			Port: l.port, Protocol: l.protocol, SSLPolicy: "ELBSecurityPolicy-TLS13-1-2-2021-06", Certificate: &pair,
			Rules: []model.Rule{{Default: true, Actions: []model.RuleAction{{Forward: &model.ForwardAction{TargetGroups: []model.WeightedTargetGroup{{TargetGroupARN: arn, Weight: 1}}}}}}},
		})
		lb.Groups = append(lb.Groups, balance.TargetGroup{
			ID: arn, ARN: arn, Protocol: "TCP", TargetType: model.TargetTypeIP,
			Attributes: map[string]string{"preserve_client_ip.enabled": strconv.FormatBool(l.preserve)},
			HealthCheck: model.HealthCheck{
				Enabled: true, Protocol: "TCP", Port: "traffic-port", IntervalSeconds: 30, TimeoutSeconds: 5, HealthyThreshold: 2, UnhealthyThreshold: 2,
			},
			Targets: []balance.Target{{IP: targetAddress, Port: l.port, RegisteredAt: time.Unix(1, 0)}},
		})
	}
	return b.balancer.Apply(ctx, lb)
}

// inside runs a role of this program in a namespace.
func inside(ctx context.Context, path string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + path, self}, args...)...), nil
}

// serve starts the target, and waits until it listens.
func (b *bench) serve(path string) error {
	cmd, err := inside(context.Background(), path, "target")
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	ready, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.target = cmd
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("the target does not listen: %w", err)
	}
	return nil
}

// measured is what a client found: a rate, and the processor time that client
// and target took for one of what it counts, in microseconds.
type measured struct{ rate, cost float64 }

// ask has the client do a workload.
func (b *bench) ask(ctx context.Context, w workload, to *way, d time.Duration) (measured, error) {
	ctx, cancel := context.WithTimeout(ctx, d+20*time.Second)
	defer cancel()
	cmd, err := inside(ctx, b.client, w.role, to.address, strconv.FormatBool(to.secure), d.String())
	if err != nil {
		return measured{}, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	before, err := ran(b.target.Process.Pid)
	if err != nil {
		return measured{}, err
	}
	out, err := cmd.Output()
	if err != nil {
		return measured{}, fmt.Errorf("%w: %s", err, stderr.String())
	}
	after, err := ran(b.target.Process.Pid)
	if err != nil {
		return measured{}, err
	}
	var m measured
	var all float64
	if _, err := fmt.Sscan(string(out), &m.rate, &all); err != nil {
		return measured{}, fmt.Errorf("the client printed %q: %w", out, err)
	}
	took := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() + after - before
	m.cost = float64(took.Microseconds()) / all
	return m, nil
}

// ran is how long a process's threads have run.
func ran(pid int) (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	var all time.Duration
	for _, t := range threads {
		b, err := os.ReadFile(t)
		if err != nil {
			return 0, err
		}
		var d time.Duration
		if _, err := fmt.Sscan(string(b), &d); err != nil {
			return 0, fmt.Errorf("%s: %w", t, err)
		}
		all += d
	}
	return all, nil
}

// close removes all that start made.
func (b *bench) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if b.balancer != nil {
		b.balancer.Close(ctx)
	}
	if b.target != nil {
		_ = b.target.Process.Kill()
		_ = b.target.Wait()
	}
	if err := errors.Join(network.Teardown(context.Background(), b.cfg), os.RemoveAll(b.dir)); err != nil {
		fmt.Fprintln(os.Stderr, "bench nlb:", err)
	}
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"bench.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
