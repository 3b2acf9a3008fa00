package network

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/network"
	"roadstead.dev/internal/network/dns"
	"roadstead.dev/internal/network/hostsfile"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "us-east-1"
)

// plane holds what was applied last, and tells of each change.
type plane struct {
	mu      sync.Mutex
	vpcs    map[string]network.VPC
	changed chan struct{}
}

var _ DataPlane = (*plane)(nil)

func newPlane() *plane {
	return &plane{vpcs: map[string]network.VPC{}, changed: make(chan struct{}, 1)}
}

func (p *plane) note() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *plane) Apply(_ context.Context, v network.VPC) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.vpcs[v.ID] = v
	p.note()
	return nil
}

func (p *plane) RemoveVPC(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.vpcs, id)
	p.note()
	return nil
}

func (p *plane) VPCs() ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for id := range p.vpcs {
		ids = append(ids, id)
	}
	return ids, nil
}

// until waits for the plane to hold what ok wants of a VPC.
func (p *plane) until(t *testing.T, vpcID string, ok func(v network.VPC, there bool) bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		p.mu.Lock()
		v, there := p.vpcs[vpcID]
		p.mu.Unlock()
		if ok(v, there) {
			return
		}
		select {
		case <-p.changed:
		case <-deadline:
			t.Fatalf("the data plane stays at %+v", v)
		}
	}
}

func put(t *testing.T, s store.Store, add func(tx *store.Txn)) {
	t.Helper()
	tx := store.NewTxn()
	add(tx)
	if _, err := tx.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// vpc is a snapshot with a way out, a NAT gateway and an interface.
func records() *snapshot {
	return &snapshot{
		vpc: &model.VPC{ID: "vpc-1", CIDR: prefix("10.0.0.0/16"), CIDRs: []model.VPCCIDR{{CIDR: prefix("10.0.0.0/16")}}, MainRouteTableID: "rtb-main", EnableDNS: true},
		subnets: []*model.Subnet{
			{ID: "subnet-private", VPCID: "vpc-1", CIDR: prefix("10.0.2.0/24"), NetworkACLID: "acl-1", RouteTableID: "rtb-private"},
			{ID: "subnet-public", VPCID: "vpc-1", CIDR: prefix("10.0.1.0/24"), NetworkACLID: "acl-open"},
		},
		tables: []*model.RouteTable{
			{ID: "rtb-main", VPCID: "vpc-1", Routes: []model.Route{{Destination: anywhere, GatewayID: "igw-1"}}},
			{ID: "rtb-private", VPCID: "vpc-1", Routes: []model.Route{{Destination: anywhere, NatGatewayID: "nat-1"}}},
		},
		groups: []*model.SecurityGroup{{ID: "sg-1", VPCID: "vpc-1", Rules: []model.SecurityGroupRule{
			{Protocol: "tcp", FromPort: 80, ToPort: 80, CIDR: anywhere}, {Egress: true, Protocol: "-1", FromPort: -1, ToPort: -1, GroupID: "sg-1"},
		}}},
		interfaces: []*model.NetworkInterface{{
			ID: "eni-1", VPCID: "vpc-1", SubnetID: "subnet-public", MAC: "02:00:00:00:00:01", PrivateIP: netip.MustParseAddr("10.0.1.9"), GroupIDs: []string{"sg-1"},
			Association: &model.NetworkInterfaceAssociation{PublicIP: netip.MustParseAddr("198.18.0.9")},
		}},
		acls: []*model.NetworkACL{
			{ID: "acl-1", VPCID: "vpc-1", Entries: []model.NetworkACLEntry{
				{Number: 200, Allow: true, Protocol: "-1", CIDR: anywhere},
				{Number: 100, Protocol: "6", CIDR: prefix("9.0.0.0/8"), HasPorts: true, FromPort: 22, ToPort: 22},
			}},
			{ID: "acl-open", VPCID: "vpc-1", Entries: []model.NetworkACLEntry{
				{Number: 100, Allow: true, Protocol: "-1", CIDR: anywhere}, {Number: 100, Egress: true, Allow: true, Protocol: "-1", CIDR: anywhere},
			}},
		},
		nats:     []*model.NatGateway{{ID: "nat-1", VPCID: "vpc-1", SubnetID: "subnet-public", State: model.NatGatewayAvailable, PublicIP: netip.MustParseAddr("198.18.0.8")}},
		gateways: []*model.InternetGateway{{ID: "igw-1", VPCID: "vpc-1"}},
	}
}

func TestTranslate(t *testing.T) {
	s := records()
	v := s.translate(true)
	if !v.HostRoute || v.Subnets[0].RouteTableID != "rtb-private" || v.Subnets[1].RouteTableID != "rtb-main" {
		t.Errorf("VPC %+v", v)
	}
	if r := v.RouteTables[0].Routes[0]; r.Target != network.Internet {
		t.Errorf("main route %+v", r)
	}
	if r := v.RouteTables[1].Routes[0]; r.Target != network.NAT || r.NATIP.String() != "198.18.0.8" {
		t.Errorf("private route %+v", r)
	}
	if e := v.Interfaces[0]; e.PublicIP.String() != "198.18.0.9" || e.MAC.String() != "02:00:00:00:00:01" {
		t.Errorf("interface %+v", e)
	}
	if r := v.Groups[0].Rules; r[0].Protocol != 6 || r[1].Group != "sg-1" || r[1].Protocol != -1 || !r[1].Egress {
		t.Errorf("rules %+v", r)
	}
	// The open ACL costs no rules; the other's entries come by number.
	if len(v.ACLs) != 1 || v.Subnets[0].ACLID != "acl-1" || v.Subnets[1].ACLID != "" {
		t.Errorf("ACLs %+v of %+v", v.ACLs, v.Subnets)
	}
	if e := v.ACLs[0].Entries; !e[0].Deny || e[0].From != 22 || e[1].Deny || e[1].From != -1 {
		t.Errorf("entries %+v", e)
	}

	// Without the gateway nothing leads out.
	s.gateways = nil
	v = s.translate(false)
	if v.RouteTables[0].Routes[0].Target != network.Blackhole || v.RouteTables[1].Routes[0].Target != network.Blackhole || v.Interfaces[0].PublicIP.IsValid() {
		t.Errorf("VPC %+v", v)
	}
}

func TestController(t *testing.T) {
	s, p := memory.New(), newPlane()
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- controller.Runtime{Store: s, Clock: clock.System{}}.Run(ctx, New(Config{Store: s, Plane: p, HostRoute: func(v *model.VPC) bool { return v.IsDefault }}))
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	r := records()
	r.vpc.IsDefault = true
	put(t, s, func(tx *store.Txn) { tables.VPCs.Create(tx, account, region, "vpc-1", r.vpc) })
	p.until(t, "vpc-1", func(v network.VPC, there bool) bool { return there && v.HostRoute })
	put(t, s, func(tx *store.Txn) {
		tables.Subnets.Create(tx, account, region, "subnet-public", r.subnets[1])
		tables.RouteTables.Create(tx, account, region, "rtb-main", r.tables[0])
		tables.InternetGateways.Create(tx, account, region, "igw-1", r.gateways[0])
		tables.SecurityGroups.Create(tx, account, region, "sg-1", r.groups[0])
		tables.NetworkInterfaces.Create(tx, account, region, "eni-1", r.interfaces[0])
	})
	p.until(t, "vpc-1", func(v network.VPC, _ bool) bool {
		return len(v.Interfaces) == 1 && len(v.Groups) == 1 && len(v.RouteTables) == 1 && v.RouteTables[0].Routes[0].Target == network.Internet
	})
	// A detached gateway no longer names the VPC, which learns of it anyway.
	if _, err := tables.InternetGateways.Update(ctx, s, account, region, "igw-1", func(g *model.InternetGateway) error { g.VPCID = ""; return nil }); err != nil {
		t.Fatal(err)
	}
	p.until(t, "vpc-1", func(v network.VPC, _ bool) bool { return v.RouteTables[0].Routes[0].Target == network.Blackhole })
	row, err := tables.VPCs.Get(ctx, s, account, region, "vpc-1")
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, func(tx *store.Txn) { tables.VPCs.Delete(tx, row) })
	p.until(t, "vpc-1", func(_ network.VPC, there bool) bool { return !there })
}

func TestSweep(t *testing.T) {
	s, p := memory.New(), newPlane()
	defer func() { _ = s.Close() }()
	put(t, s, func(tx *store.Txn) { tables.VPCs.Create(tx, account, region, "vpc-1", records().vpc) })
	p.vpcs["vpc-1"], p.vpcs["vpc-gone"] = network.VPC{}, network.VPC{}
	if err := Sweep(t.Context(), s, p); err != nil {
		t.Fatal(err)
	}
	if ids, _ := p.VPCs(); !slices.Equal(ids, []string{"vpc-1"}) {
		t.Errorf("left %v", ids)
	}
}

// balancers stores two VPCs and a load balancer of each scheme in the first.
func balancers(t *testing.T, s store.Store) {
	t.Helper()
	now := time.Unix(1_700_000_000, 0)
	put(t, s, func(tx *store.Txn) {
		tables.VPCs.Create(tx, account, region, "vpc-1", records().vpc)
		tables.VPCs.Create(tx, account, region, "vpc-2", &model.VPC{ID: "vpc-2", CIDRs: []model.VPCCIDR{{CIDR: prefix("10.9.0.0/16")}}, EnableDNS: true})
		tables.VPCs.Create(tx, account, region, "vpc-mute", &model.VPC{ID: "vpc-mute", CIDRs: []model.VPCCIDR{{CIDR: prefix("10.9.0.0/16")}}})
		for _, lb := range []*model.LoadBalancer{
			{ID: "1", DNSName: "web-1.us-east-1.elb.localhost", VpcID: "vpc-1", Scheme: "internet-facing", Status: model.LoadBalancerStatus{Interfaces: []model.LoadBalancerInterface{
				{PrivateIPv4Address: "10.0.1.4", PublicIPv4Address: "198.18.0.4"}, {PrivateIPv4Address: "10.0.2.4", PublicIPv4Address: "198.18.0.5"},
			}}},
			{ID: "2", DNSName: "internal-db-2.us-east-1.elb.localhost", VpcID: "vpc-1", Scheme: "internal", Status: model.LoadBalancerStatus{Interfaces: []model.LoadBalancerInterface{{PrivateIPv4Address: "10.0.1.5"}}}},
			{ID: "3", DNSName: "gone-3.us-east-1.elb.localhost", VpcID: "vpc-1", DeletedAt: &now},
		} {
			tables.LoadBalancers.Create(tx, account, region, lb.ID, lb)
			tables.LoadBalancerDNSNames.Create(tx, model.AmazonAccount, "", lb.DNSName, &model.LoadBalancerDNSName{Account: account, Region: region, ID: lb.ID})
		}
	})
}

func TestNames(t *testing.T) {
	s := memory.New()
	defer func() { _ = s.Close() }()
	balancers(t, s)
	n := Names{Store: s, Endpoint: netip.MustParseAddr("169.254.170.2")}
	tests := []struct {
		vpc, name string
		known     bool
		want      string
	}{
		{"vpc-1", "web-1.us-east-1.elb.localhost", true, "10.0.1.4 10.0.2.4"},
		{"vpc-2", "web-1.us-east-1.elb.localhost", true, "198.18.0.4 198.18.0.5"},
		{"vpc-1", "internal-db-2.us-east-1.elb.localhost", true, "10.0.1.5"},
		{"vpc-1", "gone-3.us-east-1.elb.localhost", false, ""},
		{"vpc-1", "000000000000.dkr.ecr.us-east-1.localhost", true, "169.254.170.2"},
		{"vpc-1", "ip-10-0-1-9.ec2.internal", true, "10.0.1.9"},
		{"vpc-2", "ip-10-0-1-9.ec2.internal", false, ""},
		{"vpc-1", "ip-10-0-1-9.eu-west-1.compute.internal", false, ""},
		{"vpc-1", "ip-address.example.com", false, ""},
		{"vpc-1", "example.com", false, ""},
	}
	for _, tt := range tests {
		addrs, known, err := n.Lookup(t.Context(), tt.vpc, tt.name)
		var got []string
		for _, a := range addrs {
			got = append(got, a.String())
		}
		if err != nil || known != tt.known || strings.Join(got, " ") != tt.want {
			t.Errorf("%s in %s: %v, %v, %v", tt.name, tt.vpc, got, known, err)
		}
	}
}

// A VPC without DNS support has no names at all.
func TestNoNames(t *testing.T) {
	s := memory.New()
	defer func() { _ = s.Close() }()
	balancers(t, s)
	_, _, err := Names{Store: s, Endpoint: netip.MustParseAddr("169.254.170.2")}.Lookup(t.Context(), "vpc-mute", "example.com")
	if !errors.Is(err, dns.ErrOff) {
		t.Errorf("got %v", err)
	}
}

// Prefix lists become rules and routes of their blocks, and give way to
// routes of their own.
func TestTranslatePrefixLists(t *testing.T) {
	s := records()
	s.prefixLists = []*model.PrefixList{{ID: "pl-1", Versions: [][]model.PrefixListEntry{
		{{CIDR: prefix("192.0.2.0/24")}},
		{{CIDR: prefix("198.51.100.0/24")}, {CIDR: prefix("203.0.113.0/24")}},
	}}}
	s.tables[0].Routes = []model.Route{
		{PrefixListID: "pl-1", GatewayID: "igw-1"},
		{PrefixListID: "pl-gone", GatewayID: "igw-1"},
		{Destination: prefix("203.0.113.0/24"), NetworkInterfaceID: "eni-1"},
	}
	s.groups = []*model.SecurityGroup{{ID: "sg-1", Rules: []model.SecurityGroupRule{
		{Protocol: "tcp", FromPort: 22, ToPort: 22, PrefixListID: "pl-1"}, {Protocol: "-1", PrefixListID: "pl-gone"},
	}}}
	v := s.translate(false)
	wantRoutes := []network.Route{
		{Destination: prefix("198.51.100.0/24"), Target: network.Internet},
		{Destination: prefix("203.0.113.0/24"), Target: network.ToInterface, InterfaceID: "eni-1"},
	}
	for _, table := range v.RouteTables {
		if table.ID == "rtb-main" && !slices.Equal(table.Routes, wantRoutes) {
			t.Errorf("routes %+v", table.Routes)
		}
	}
	wantRules := []network.Rule{
		{Protocol: 6, From: 22, To: 22, CIDR: prefix("198.51.100.0/24")}, {Protocol: 6, From: 22, To: 22, CIDR: prefix("203.0.113.0/24")},
	}
	if !slices.Equal(v.Groups[0].Rules, wantRules) {
		t.Errorf("rules %+v", v.Groups[0].Rules)
	}
}

// A change of a prefix list reaches the VPCs of its region.
func TestPrefixListsAreWatched(t *testing.T) {
	s := memory.New()
	defer func() { _ = s.Close() }()
	put(t, s, func(tx *store.Txn) {
		tables.VPCs.Create(tx, account, region, "vpc-1", records().vpc)
		tables.VPCs.Create(tx, account, "eu-west-1", "vpc-2", records().vpc)
	})
	keys, err := Config{Store: s}.prefixLists().Keys(t.Context(), store.Record{Key: tables.PrefixLists.Key(account, region, "pl-1")})
	if err != nil || len(keys) != 1 || keys[0].ID != "vpc-1" {
		t.Errorf("keys %v, %v", keys, err)
	}
}

func TestTranslateSecondaryAddresses(t *testing.T) {
	s := records()
	e := s.interfaces[0]
	second := netip.MustParseAddr("10.0.1.77")
	e.SecondaryIPs = []netip.Addr{second}
	e.Associate(second, &model.NetworkInterfaceAssociation{PublicIP: netip.MustParseAddr("198.18.0.77")})
	if got := s.translate(false).Interfaces[0]; got.ID != e.ID || got.SecondaryPublic[second].String() != "198.18.0.77" {
		t.Errorf("interface %+v", got)
	}
}

func TestHosts(t *testing.T) {
	s := memory.New()
	defer func() { _ = s.Close() }()
	balancers(t, s)
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte("127.0.0.1 localhost\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, direct := range []bool{false, true} {
		c := NewHosts(HostsConfig{
			Store: s, Path: path, Instance: "rs1", HostRoute: func(*model.VPC) bool { return direct },
			Static: []hostsfile.Entry{{Addr: netip.MustParseAddr("127.0.0.1"), Names: []string{"ecr.localhost"}}},
		})
		if _, err := c.Reconcile(t.Context(), controller.Key{ID: "hosts"}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got := string(b)
		for want, there := range map[string]bool{
			"127.0.0.1\tecr.localhost\n":                        true,
			"198.18.0.4\tweb-1.us-east-1.elb.localhost\n":       true,
			"198.18.0.5\tweb-1.us-east-1.elb.localhost\n":       true,
			"10.0.1.5\tinternal-db-2.us-east-1.elb.localhost\n": direct,
			"gone-3": false,
		} {
			if strings.Contains(got, want) != there {
				t.Errorf("direct %v: %q there is not %v in\n%s", direct, want, there, got)
			}
		}
	}
}
