package network

import (
	"net/netip"
	"testing"
)

// A route within the VPC leads through an interface that forwards, and no
// longer once it is gone.
func TestRouteThroughAnInterface(t *testing.T) {
	w := newWorld(t)
	w.group("sg", allEgress, Rule{Protocol: -1, CIDR: anywhere})
	a, b := w.add("subnet-a", "10.77.0.10", "sg"), w.add("subnet-b", "10.77.16.10", "sg")
	middle := w.add("subnet-b", "10.77.16.20", "sg")
	w.serve(b, "10.77.16.10:80")
	w.allowed(a, "10.77.16.10:80", "10.77.0.10")

	setSourceCheck := func(off bool) {
		for i := range w.vpc.Interfaces {
			if w.vpc.Interfaces[i].ID == middle.iface.ID {
				w.vpc.Interfaces[i].NoSourceDestCheck = off
			}
		}
	}
	// Subnet a reaches b through the middle; what b answers goes straight.
	w.vpc.RouteTables = []RouteTable{w.vpc.RouteTables[0], {ID: "rtb-a", Routes: []Route{
		{Destination: netip.MustParsePrefix("10.77.16.0/28"), Target: ToInterface, InterfaceID: middle.iface.ID},
	}}}
	w.vpc.Subnets = []Subnet{w.vpc.Subnets[0], w.vpc.Subnets[1]}
	w.vpc.Subnets[0].RouteTableID = "rtb-a"
	setSourceCheck(true)
	w.apply()
	forward := func(on string) {
		if err := runIn(middle.netns, func() error { return writeSysctls(map[string]string{"ipv4/ip_forward": on}) }); err != nil {
			t.Fatal(err)
		}
	}
	forward("0")
	if _, err := get(t, a.netns, "10.77.16.10:80", no); err == nil {
		t.Fatal("the packet did not pass the interface, which does not forward yet")
	}
	forward("1")
	w.allowed(a, "10.77.16.10:80", "10.77.0.10")

	// Addresses that the route does not cover are local as before.
	far := w.add("subnet-b", "10.77.16.100", "sg")
	w.serve(far, "10.77.16.100:80")
	w.allowed(a, "10.77.16.100:80", "10.77.0.10")

	w.vpc.RouteTables[1].Routes = nil
	setSourceCheck(false)
	w.apply()
	w.allowed(a, "10.77.16.10:80", "10.77.0.10")
}

// A secondary address has a public one of its own, in both directions.
func TestPublicAddressOfASecondaryOne(t *testing.T) {
	w := newWorld(t)
	w.group("sg", allEgress, tcp(80, "0.0.0.0/0"))
	a := w.add("subnet-a", "10.77.0.10", "sg")
	second, public := netip.MustParseAddr("10.77.0.20"), netip.MustParseAddr("198.18.202.7")
	w.vpc.Interfaces[0].Secondary = []netip.Addr{second}
	w.vpc.Interfaces[0].SecondaryPublic = map[netip.Addr]netip.Addr{second: public}
	w.apply()
	a.att.Secondary = []netip.Addr{second}
	if err := w.n.Attach(t.Context(), a.att); err != nil {
		t.Fatal(err)
	}
	w.serve(a, second.String()+":80")
	if _, err := get(t, "", public.String()+":80", yes); err != nil {
		t.Fatalf("host to the public address: %v", err)
	}
}
