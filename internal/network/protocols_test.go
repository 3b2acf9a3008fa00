package network

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

func TestUDPRules(t *testing.T) {
	w := newWorld(t)
	w.group("sg", allEgress, Rule{Protocol: unix.IPPROTO_UDP, From: 53, To: 53, CIDR: netip.MustParsePrefix("10.77.0.0/16")})
	a, b := w.add("subnet-a", "10.77.0.10", "sg"), w.add("subnet-b", "10.77.16.10", "sg")
	ask := func(port string, timeout time.Duration) error {
		l, err := ListenPacketIn(t.Context(), a.netns, "10.77.0.10:"+port)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, 10)
			if n, from, err := l.ReadFrom(buf); err == nil {
				_, _ = l.WriteTo(buf[:n], from)
			}
		}()
		defer func() { _ = l.Close(); <-done }()
		c, err := DialIn(t.Context(), b.netns, "udp", "10.77.0.10:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(timeout))
		if _, err := c.Write([]byte("hello")); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 10))
		return err
	}
	if err := ask("53", yes); err != nil {
		t.Errorf("port 53: %v", err)
	}
	if err := ask("54", no); err == nil {
		t.Error("port 54 answers")
	}
}

func TestICMPRules(t *testing.T) {
	w := newWorld(t)
	echo := func(code int) Rule {
		return Rule{Protocol: unix.IPPROTO_ICMP, From: int(ipv4.ICMPTypeEcho), To: code, CIDR: anywhere}
	}
	w.group("sg", allEgress, echo(-1))
	w.add("subnet-a", "10.77.0.10", "sg")
	b := w.add("subnet-b", "10.77.16.10", "sg")
	ping := func(timeout time.Duration) error {
		var c *icmp.PacketConn
		if err := runIn(b.netns, func() (err error) {
			c, err = icmp.ListenPacket("udp4", "0.0.0.0")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(timeout))
		m, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{Seq: 1, Data: []byte("hello")}}).Marshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.WriteTo(m, &net.UDPAddr{IP: net.IPv4(10, 77, 0, 10)}); err != nil {
			return err
		}
		_, _, err = c.ReadFrom(make([]byte, 100))
		return err
	}
	for _, tt := range []struct {
		name    string
		rule    Rule
		allowed bool
	}{
		{"any code of echo", echo(-1), true},
		{"echo's own code", echo(0), true},
		{"another code", echo(1), false},
		{"another type", Rule{Protocol: unix.IPPROTO_ICMP, From: 13, To: -1, CIDR: anywhere}, false},
		{"any type", Rule{Protocol: unix.IPPROTO_ICMP, From: -1, To: -1, CIDR: anywhere}, true},
		{"another protocol", tcp(80, "0.0.0.0/0"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.group("sg", allEgress, tt.rule)
			w.apply()
			timeout := yes
			if !tt.allowed {
				timeout = no
			}
			if err := ping(timeout); (err == nil) != tt.allowed {
				t.Errorf("ping: %v", err)
			}
		})
	}
}
