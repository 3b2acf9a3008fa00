package network

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"roadstead.dev/internal/id"
)

// The host's routes to a VPC's private addresses are its own: what comes from
// another VPC reaches public addresses alone.
func TestVPCsMeetByPublicAddressesOnly(t *testing.T) {
	w := newWorld(t)
	w.group("sg", allEgress, tcp(80, "0.0.0.0/0"))
	a := w.add("subnet-a", "10.77.0.10", "sg")
	w.vpc.Interfaces[0].PublicIP = netip.MustParseAddr("198.18.201.7")
	w.apply()

	other := *w
	other.vpc = VPC{
		ID: id.Resource("vpc"), HostRoute: true, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.78.0.0/16")},
		Subnets:     []Subnet{{ID: "subnet-o", CIDR: netip.MustParsePrefix("10.78.0.0/20"), RouteTableID: "rtb-1"}},
		RouteTables: w.vpc.RouteTables,
	}
	other.group("sg", allEgress, tcp(80, "0.0.0.0/0"))
	b := other.add("subnet-o", "10.78.0.10", "sg")
	other.vpc.Interfaces[0].PublicIP = netip.MustParseAddr("198.18.201.8")
	other.apply()
	other.serve(b, "10.78.0.10:80")

	if _, err := get(t, "", "10.78.0.10:80", yes); err != nil {
		t.Fatalf("the host does not reach its VPC: %v", err)
	}
	w.allowed(a, "198.18.201.8:80", "198.18.201.7")
	w.denied(a, "10.78.0.10:80")
}

// A block that the host uses itself is told once, not each time that the VPC
// changes.
func TestConflictIsLoggedOnce(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	w.n.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	taken := netip.MustParsePrefix("10.77.5.0/24")
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	route := &netlink.Route{Dst: ipNet(taken), LinkIndex: lo.Attrs().Index}
	if err := netlink.RouteAdd(route); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netlink.RouteDel(route); err != nil {
			t.Error(err)
		}
	})
	w.vpc.HostRoute = true
	for _, cidr := range []string{"0.0.0.0/0", "10.0.0.0/8", "10.77.0.0/16"} {
		w.group("sg", tcp(80, cidr))
		w.apply()
	}
	if n := strings.Count(log.String(), "the host does not reach all addresses of a VPC"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
	if w.n.HostConflicts()[w.vpc.ID] == "" {
		t.Error("no conflict is known")
	}
}
