package network

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/plan/address"
)

// A large VPC takes its rules in portions that fit netlink's messages, and a
// change of it stays cheap.
func TestLargeVPC(t *testing.T) {
	w := newWorld(t)
	const interfaces = 2000
	for range 20 {
		g := id.Resource("sg")
		w.group(g, allEgress, tcp(80, "0.0.0.0/0"), fromGroup(443, g))
	}
	for i := range interfaces {
		mac := net.HardwareAddr{2, 0, 0, 0, byte(i >> 8), byte(i)}
		w.vpc.Interfaces = append(w.vpc.Interfaces, Interface{
			ID: id.Resource("eni"), SubnetID: "subnet-a", MAC: mac, IP: address.Nth(w.vpc.Subnets[0].CIDR, 100+i),
			Groups: []string{w.vpc.Groups[i%20].ID}, PublicIP: address.Nth(netip.MustParsePrefix("198.18.224.0/19"), 1+i),
		})
	}
	w.apply()
	w.group("sg-web", allEgress, tcp(80, "0.0.0.0/0"))
	a, b := w.add("subnet-a", "10.77.0.10", "sg-web"), w.add("subnet-a", "10.77.0.11", "sg-web")
	w.serve(a, "10.77.0.10:80")
	w.allowed(b, "10.77.0.10:80", "")
	start := time.Now()
	w.group("sg-web", Rule{Egress: true, Protocol: unix.IPPROTO_TCP, From: 443, To: 443, CIDR: anywhere})
	w.apply()
	t.Logf("a change among %d interfaces took %s", interfaces, time.Since(start))
	w.denied(b, "10.77.0.10:80")
}
