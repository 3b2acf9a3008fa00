package machine

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// Whatever tasks come and go, no port is two bindings', dynamic ones are in
// the range, in a row and neither reserved nor another program's, and when none
// is found there is none.
func TestPorts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := PortRange{100, 100 + rapid.IntRange(0, 20).Draw(t, "size")}
		port := rapid.Custom(func(t *rapid.T) Port {
			return Port{rapid.IntRange(95, 125).Draw(t, "port"), rapid.Bool().Draw(t, "udp")}
		})
		reserved := rapid.SliceOfN(port, 0, 4).Draw(t, "reserved")
		busy := map[Port]bool{}
		for _, p := range rapid.SliceOfN(port, 0, 4).Draw(t, "busy") {
			busy[p] = true
		}
		usable := func(b Binding) error {
			for i := range b.Count {
				if p := (Port{b.Host + i, b.UDP}); busy[p] {
					return &PortError{Port: p}
				}
			}
			return nil
		}
		book, owners := NewPorts(in, reserved), map[Port]string{}
		fits := func(first, count int, udp bool) bool {
			for i := range count {
				p := Port{first + i, udp}
				if owners[p] != "" || busy[p] {
					return false
				}
			}
			return true
		}
		dynamic := func(first, count int, udp bool) bool {
			for _, r := range reserved {
				if r.UDP == udp && r.Number >= first && r.Number < first+count {
					return false
				}
			}
			return first >= in.First && first+count-1 <= in.Last && fits(first, count, udp)
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			owner := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "owner")
			m := Mapping{Container: 1, Count: rapid.IntRange(0, 3).Draw(t, "count"), UDP: rapid.Bool().Draw(t, "udp")}
			count := max(1, m.Count)
			switch rapid.IntRange(0, 3).Draw(t, "event") {
			case 0:
				book.Free(owner)
				for p, o := range owners {
					if o == owner {
						delete(owners, p)
					}
				}
				continue
			case 1:
				m.Host = rapid.IntRange(95, 125).Draw(t, "host")
			}
			take, can := book.Choose, false
			if m.Host != 0 {
				take, can = book.Fix, fits(m.Host, count, m.UDP)
			} else {
				for p := in.First; p <= in.Last; p++ {
					can = can || dynamic(p, count, m.UDP)
				}
			}
			b, err := take(owner, m, usable)
			if can != (err == nil) {
				t.Fatalf("%+v: %v, which can be: %t", m, err, can)
			}
			if err != nil {
				continue
			}
			if b.Count != count || b.UDP != m.UDP || m.Host != 0 && b.Host != m.Host || m.Host == 0 && !dynamic(b.Host, b.Count, b.UDP) {
				t.Fatalf("%+v got %+v", m, b)
			}
			for i := range b.Count {
				owners[Port{b.Host + i, b.UDP}] = owner
			}
		}
	})
}

// A dynamic port is not used again before the others were.
func TestDynamicPortsTakeTurns(t *testing.T) {
	book, free := NewPorts(PortRange{10, 12}, nil), func(Binding) error { return nil }
	for _, want := range []int{10, 11, 12, 10} {
		b, err := book.Choose("a", Mapping{}, free)
		if err != nil || b.Host != want {
			t.Errorf("got %d, %v; want %d", b.Host, err, want)
		}
		book.Free("a")
	}
	boom := errors.New("boom")
	if _, err := book.Choose("a", Mapping{}, func(Binding) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
}

func TestAddresses(t *testing.T) {
	block := netip.MustParsePrefix("10.0.0.0/29") // .2 to .6
	used, last := map[netip.Addr]bool{}, netip.Addr{}
	for _, want := range []string{"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"} {
		a, ok := nextFree(block, last, used)
		if !ok || a.String() != want {
			t.Errorf("got %s, want %s", a, want)
		}
		used[a], last = true, a
	}
	if a, ok := nextFree(block, last, used); ok {
		t.Errorf("%s is free", a)
	}
	delete(used, netip.MustParseAddr("10.0.0.4"))
	if a, ok := nextFree(block, last, used); !ok || a.String() != "10.0.0.4" {
		t.Errorf("got %s", a)
	}
}

func TestBlocks(t *testing.T) {
	for _, tt := range []struct {
		avoid []string
		want  string
	}{
		{nil, "172.17.0.0/16"},
		{[]string{"10.0.0.0/8"}, "172.17.0.0/16"},
		{[]string{"172.17.9.0/24", "172.18.0.0/15"}, "172.20.0.0/16"},
		{[]string{"172.16.0.0/12"}, "192.168.0.0/20"},
		{[]string{"172.16.0.0/12", "192.168.4.0/32"}, "192.168.16.0/20"},
	} {
		var avoid []netip.Prefix
		for _, a := range tt.avoid {
			avoid = append(avoid, netip.MustParsePrefix(a))
		}
		if got, err := firstBlock(avoid); err != nil || got.String() != tt.want {
			t.Errorf("%v: %s, %v; want %s", tt.avoid, got, err, tt.want)
		}
	}
	if got, err := firstBlock([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}); err == nil {
		t.Errorf("got %s where nothing is left", got)
	}
	file := filepath.Join(t.TempDir(), "resolv.conf")
	must(t, os.WriteFile(file, []byte("search x\nnameserver 172.17.0.2\nnameserver 127.0.0.53\nnameserver\n"), 0o600))
	if got := nameservers(file); len(got) != 1 || got[0].String() != "172.17.0.2/32" {
		t.Errorf("nameservers %v", got)
	}
}
