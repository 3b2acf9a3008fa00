package network

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A bare interface comes without addresses, and is left alone when whoever works
// in its namespace has moved it on: then too its security groups hold.
func TestBareInterface(t *testing.T) {
	w := newWorld(t)
	cidr := w.vpc.CIDRs[0]
	w.group("sg-open", Rule{Protocol: -1, CIDR: cidr}, Rule{Egress: true, Protocol: -1, CIDR: cidr})
	w.group("sg-closed")
	client := w.add("subnet-a", "10.77.0.10", "sg-open")
	machine := w.add("subnet-a", "10.77.0.11", "sg-open")
	lent := w.add("subnet-a", "10.77.0.12", "sg-open")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.n.Detach(t.Context(), w.vpc.ID, lent.iface.ID))
	a := lent.att
	a.Netns, a.Index, a.Bare = machine.netns, 1, true
	must(w.n.Attach(t.Context(), a))

	task := filepath.Join(t.TempDir(), "task")
	must(MakeNetns(task))
	t.Cleanup(func() { _ = DropNetns(task) })
	from, err := OpenHandle(machine.netns)
	must(err)
	defer from.Close()
	to, err := OpenHandle(task)
	must(err)
	defer to.Close()
	dev, err := from.LinkByName("eth1")
	must(err)
	addrs, err := from.AddrList(dev, netlink.FAMILY_V4)
	must(err)
	if len(addrs) != 0 || !bytes.Equal(dev.Attrs().HardwareAddr, a.MAC) {
		t.Errorf("it comes with %v as %s", addrs, dev.Attrs().HardwareAddr)
	}
	ns, err := netns.GetFromPath(task)
	must(err)
	defer func() { _ = ns.Close() }()
	must(from.LinkSetNsFd(dev, int(ns)))
	dev, err = to.LinkByName("eth1")
	must(err)
	must(to.AddrAdd(dev, &netlink.Addr{IPNet: ipNet(a.Address)}))
	must(to.LinkSetUp(dev))
	w.serve(&host{netns: task}, "0.0.0.0:80")
	reached := func(want bool) {
		t.Helper()
		patience := no
		if want {
			patience = yes
		}
		if _, err := get(t, client.netns, "10.77.0.12:80", patience); (err == nil) != want {
			t.Errorf("reached: %v, want %t", err, want)
		}
	}
	reached(true)
	must(w.n.Attach(t.Context(), a)) // as the next server does
	reached(true)
	for i := range w.vpc.Interfaces {
		if w.vpc.Interfaces[i].ID == a.InterfaceID {
			w.vpc.Interfaces[i].Groups = []string{"sg-closed"}
		}
	}
	w.apply()
	reached(false)
	must(w.n.Detach(t.Context(), w.vpc.ID, a.InterfaceID))
	if _, err := to.LinkByName("eth1"); !isNotFound(err) {
		t.Errorf("a detached interface is there still: %v", err)
	}
	must(w.n.Attach(t.Context(), a))
	if _, err := from.LinkByName("eth1"); err != nil {
		t.Errorf("it does not come again: %v", err)
	}
}
