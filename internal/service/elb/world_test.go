package elb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "123456789012"
	region  = "us-east-1"
	cert    = "arn:aws:acm:us-east-1:123456789012:certificate/c1"
	cert2   = "arn:aws:iam::123456789012:server-certificate/two"
)

// world is a service beside two VPCs, of which the first is the default one,
// with subnets in zones a and b, and three instances.
type world struct {
	t   *testing.T
	s   *Service
	ctx context.Context
	st  store.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	st := memory.New()
	t.Cleanup(func() { _ = st.Close() })
	w := &world{t: t, s: New(Config{Store: st}), st: st}
	w.ctx = api.WithCall(t.Context(), &api.Call{Account: account, Region: region, Partition: "aws", Time: time.Unix(1700000000, 0).UTC(), Authorize: allowAll})
	w.write(func(tx *store.Txn) {
		for _, vpc := range []string{"vpc-1", "vpc-2"} {
			cidr := netip.MustParsePrefix("172.31.0.0/16")
			tables.VPCs.Put(tx, account, region, vpc, &model.VPC{ID: vpc, IsDefault: vpc == "vpc-1", CIDR: cidr, CIDRs: []model.VPCCIDR{{CIDR: cidr}}, DefaultGroupID: "sg-" + vpc})
			tables.SecurityGroups.Put(tx, account, region, "sg-"+vpc, &model.SecurityGroup{ID: "sg-" + vpc, VPCID: vpc, Name: "default"})
		}
		tables.InternetGateways.Put(tx, account, region, "igw-1", &model.InternetGateway{ID: "igw-1", VPCID: "vpc-1"})
		tables.SecurityGroups.Put(tx, account, region, "sg-2", &model.SecurityGroup{ID: "sg-2", VPCID: "vpc-1", Name: "web"})
		for i, sn := range []string{"subnet-a", "subnet-b", "subnet-b2", "subnet-other"} {
			vpc := "vpc-1"
			if sn == "subnet-other" {
				vpc = "vpc-2"
			}
			tables.Subnets.Put(tx, account, region, sn, &model.Subnet{
				ID: sn, VPCID: vpc, Zone: region + sn[7:8], DefaultForAZ: len(sn) == 8, CIDR: netip.MustParsePrefix(fmt.Sprintf("172.31.%d.0/20", 16*i)),
			})
		}
		tables.Certificates.Put(tx, account, region, "c1", &model.Certificate{ARN: cert, Leaf: "x"})
		tables.Certificates.Put(tx, account, region, "c2", &model.Certificate{ARN: strings.TrimSuffix(cert, "c1") + "c2"})
		tables.ServerCertificates.Put(tx, account, "", "two", &model.ServerCertificate{ARN: cert2})
		for i, zone := range []string{"a", "b", "c"} {
			id := fmt.Sprint("i-", i+1)
			tables.Instances.Put(tx, account, region, id, &model.Instance{
				ID: id, Spec: model.InstanceSpec{VPCID: "vpc-1", Zone: region + zone, PrivateIP: netip.MustParseAddr(fmt.Sprintf("172.31.%d.9", 16*i))},
				Desired: model.InstanceDesired{State: model.InstanceRunning}, Status: model.InstanceStatus{State: model.InstanceRunning},
			})
		}
	})
	return w
}

func (w *world) write(f func(tx *store.Txn)) {
	w.t.Helper()
	tx := store.NewTxn()
	f(tx)
	if _, err := tx.Commit(w.t.Context(), w.st); err != nil {
		w.t.Fatal(err)
	}
}

// allowAll lets the caller do everything.
func allowAll(context.Context, string, string, map[string]string) error { return nil }

// must fails the test on an error.
func must[T any](out T, err error) func(*world) T {
	return func(w *world) T {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
		return out
	}
}

// refused checks that err is AWS's error with that code, and that its message
// holds text.
func refused(t *testing.T, err error, code, text string) {
	t.Helper()
	var e api.Error
	if !errors.As(err, &e) || e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), text) {
		t.Errorf("got %v, want %s: %s", err, code, text)
	}
}

func listener(protocol string, port int32, instance string, instancePort int32) elb.Listener {
	l := elb.Listener{Protocol: &protocol, LoadBalancerPort: &port, InstancePort: &instancePort}
	if instance != "" {
		l.InstanceProtocol = &instance
	}
	if p := strings.ToUpper(protocol); p == "HTTPS" || p == "SSL" {
		l.SSLCertificateId = new(cert)
	}
	return l
}

// create makes a load balancer in both zones.
func (w *world) create(name string, listeners ...elb.Listener) *string {
	w.t.Helper()
	if len(listeners) == 0 {
		listeners = []elb.Listener{listener("HTTP", 80, "", 8080)}
	}
	must(w.s.CreateLoadBalancer(w.ctx, &elb.CreateLoadBalancerInput{LoadBalancerName: &name, Listeners: listeners, Subnets: []string{"subnet-a", "subnet-b"}}))(w)
	return &name
}

func (w *world) describe(name *string) elb.LoadBalancerDescription {
	w.t.Helper()
	return must(w.s.DescribeLoadBalancers(w.ctx, &elb.DescribeLoadBalancersInput{LoadBalancerNames: []string{*name}}))(w).LoadBalancerDescriptions[0]
}

func (w *world) register(name *string, ids ...string) error {
	var in []elb.Instance
	for _, id := range ids {
		in = append(in, elb.Instance{InstanceId: &id})
	}
	_, err := w.s.RegisterInstancesWithLoadBalancer(w.ctx, &elb.RegisterInstancesWithLoadBalancerInput{LoadBalancerName: name, Instances: in})
	return err
}
