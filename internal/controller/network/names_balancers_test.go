package network

import (
	"net/netip"
	"strings"
	"testing"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/network/dns"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

// Whom the name of a network load balancer leads where.
func TestClientRouting(t *testing.T) {
	const name = "net-1.us-east-1.elb.localhost"
	for _, c := range []struct {
		name, asked, policy, client string
		draw                        int
		idle                        bool
		want                        string
	}{
		{"anywhere", name, "", "10.0.2.9", 0, false, "10.0.1.4 10.0.2.4"},
		{"one's own zone", name, "availability_zone_affinity", "10.0.2.9", 99, false, "10.0.2.4"},
		{"one's own zone has nothing healthy", name, "availability_zone_affinity", "10.0.2.9", 0, true, "10.0.1.4"},
		{"of no zone", name, "availability_zone_affinity", "10.0.9.9", 0, false, "10.0.1.4 10.0.2.4"},
		{"partly, in", name, "partial_availability_zone_affinity", "10.0.2.9", 84, false, "10.0.2.4"},
		{"partly, out", name, "partial_availability_zone_affinity", "10.0.2.9", 85, false, "10.0.1.4 10.0.2.4"},
		{"a zone's name", "us-east-1b." + name, "", "10.0.1.9", 0, false, "10.0.2.4"},
		{"a zone without it", "us-east-1c." + name, "", "10.0.1.9", 0, false, "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := memory.New()
			defer func() { _ = s.Close() }()
			lb := &model.LoadBalancer{
				ID: "1", Type: model.LoadBalancerNetwork, DNSName: name, VpcID: "vpc-1", Scheme: "internal", Attributes: map[string]string{},
				AvailabilityZones: []model.LoadBalancerZone{{ZoneName: "us-east-1a", SubnetID: "subnet-a"}, {ZoneName: "us-east-1b", SubnetID: "subnet-b"}},
				Status: model.LoadBalancerStatus{Interfaces: []model.LoadBalancerInterface{
					{SubnetID: "subnet-a", PrivateIPv4Address: "10.0.1.4"}, {SubnetID: "subnet-b", PrivateIPv4Address: "10.0.2.4", Idle: c.idle},
				}},
			}
			if c.policy != "" {
				lb.Attributes["dns_record.client_routing_policy"] = c.policy
			}
			put(t, s, func(tx *store.Txn) {
				tables.VPCs.Create(tx, account, region, "vpc-1", records().vpc)
				tables.Subnets.Create(tx, account, region, "subnet-a", &model.Subnet{ID: "subnet-a", VPCID: "vpc-1", Zone: "us-east-1a", CIDR: prefix("10.0.1.0/24")})
				tables.Subnets.Create(tx, account, region, "subnet-b", &model.Subnet{ID: "subnet-b", VPCID: "vpc-1", Zone: "us-east-1b", CIDR: prefix("10.0.2.0/24")})
				tables.LoadBalancers.Create(tx, account, region, lb.ID, lb)
				tables.LoadBalancerDNSNames.Create(tx, model.AmazonAccount, "", lb.DNSName, &model.LoadBalancerDNSName{Account: account, Region: region, ID: lb.ID})
			})
			n := Names{Store: s, Draw: func(int) int { return c.draw }}
			addrs, known, err := n.Lookup(dns.WithClient(t.Context(), netip.MustParseAddr(c.client)), "vpc-1", c.asked)
			if err != nil {
				t.Fatal(err)
			}
			var texts []string
			for _, a := range addrs {
				texts = append(texts, a.String())
			}
			got := strings.Join(texts, " ")
			if !known {
				got = "unknown"
			}
			if got != c.want {
				t.Errorf("%s leads to %q, want %q", c.asked, got, c.want)
			}
		})
	}
}
