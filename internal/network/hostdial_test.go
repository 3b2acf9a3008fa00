package network

import (
	"context"
	"net"
	"testing"
	"time"
)

// Two instances have VPCs with the same addresses, of which the host can route
// to one. Dialling by the VPC's id reaches each of them, and its groups decide.
func TestHostDialsEachVPC(t *testing.T) {
	one, two := newWorld(t), newWorld(t)
	for _, w := range []*world{one, two} {
		w.vpc.HostRoute = true
		w.group("sg", allEgress, tcp(80, "0.0.0.0/0"))
		w.group("closed", allEgress)
		w.serve(w.add("subnet-a", "10.77.0.10", "sg"), "10.77.0.10:80")
		w.serve(w.add("subnet-a", "10.77.0.11", "closed"), "10.77.0.11:80")
		c, err := w.n.DialVPC(t.Context(), w.vpc.ID, "10.77.0.10:80")
		if err != nil {
			t.Fatalf("dial: %v", err)
		}
		if host, _, _ := net.SplitHostPort(c.LocalAddr().String()); host != w.n.LinkAddr(w.vpc.ID).String() {
			t.Errorf("dialled from %s, want the link's address %s", host, w.n.LinkAddr(w.vpc.ID))
		}
		_ = c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if c, err := w.n.DialVPC(ctx, w.vpc.ID, "10.77.0.11:80"); err == nil {
			_ = c.Close()
			t.Error("a group that lets nobody in let the host in")
		}
		cancel()
	}
}
