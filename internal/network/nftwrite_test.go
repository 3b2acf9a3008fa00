package network

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"roadstead.dev/internal/plan/address"
)

// A table that was changed step by step is the one that is written at once.
func TestChangedTableIsTheWholeTable(t *testing.T) {
	needRoot(t)
	t.Parallel()
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("nft is not installed")
	}
	dir := t.TempDir()
	changed, whole := filepath.Join(dir, "changed"), filepath.Join(dir, "whole")
	for _, path := range []string{changed, whole} {
		if _, err := makeNetns(path); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = dropNetns(path) })
	}
	rapid.Check(t, func(rt *rapid.T) {
		var previous *ruleset
		var v VPC
		// The first load balancer adds chains at hooks, which is another table.
		balancers := rapid.Bool().Draw(rt, "balancers")
		for step := range rapid.IntRange(2, 4).Draw(rt, "steps") {
			v = drawVPC(rt, balancers)
			rules := compile(changed, v, tableNumbers(v.RouteTables))
			if previous != nil {
				// It falls back to the whole table, which would hide an error.
				if err := rules.change(previous); err != nil {
					rt.Fatalf("step %d: %v", step, err)
				}
			} else if err := rules.commit(nil); err != nil {
				rt.Fatal(err)
			}
			previous = rules
		}
		if err := compile(whole, v, tableNumbers(v.RouteTables)).commit(nil); err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(listTable(rt, whole), listTable(rt, changed)); d != "" {
			rt.Fatal(d)
		}
	})
}

// drawVPC draws from few interfaces, groups and rules, so that they come and
// go and change between two draws. With balancers there is always one.
func drawVPC(t *rapid.T, balancers bool) VPC {
	v := VPC{ID: "vpc-1", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}
	some := func(name string) bool { return rapid.Bool().Draw(t, name) }
	v.Subnets = []Subnet{{ID: "subnet-a", CIDR: netip.MustParsePrefix("10.0.0.0/24"), RouteTableID: "rtb-a"}}
	v.RouteTables = []RouteTable{{ID: "rtb-a"}}
	if some("internet") {
		v.RouteTables[0].Routes = []Route{{Destination: anywhere, Target: Internet}}
	}
	if some("second table") {
		v.RouteTables = append(v.RouteTables, RouteTable{ID: "rtb-b"})
	}
	if some("ACL") {
		v.Subnets[0].ACLID = "acl-a"
		v.ACLs = []ACL{{ID: "acl-a", Entries: []ACLEntry{{Rule: Rule{Protocol: -1, CIDR: anywhere}}}}}
	}
	var groups []string
	for i := range 3 {
		if !some("group") {
			continue
		}
		g := Group{ID: fmt.Sprintf("sg-%d", i)}
		if some("egress") {
			g.Rules = append(g.Rules, Rule{Egress: true, Protocol: -1, CIDR: anywhere})
		}
		if some("port") {
			g.Rules = append(g.Rules, Rule{Protocol: unix.IPPROTO_TCP, From: 80, To: 80 + i, CIDR: anywhere})
		}
		if some("peer") {
			g.Rules = append(g.Rules, Rule{Protocol: -1, Group: fmt.Sprintf("sg-%d", rapid.IntRange(0, 2).Draw(t, "of"))})
		}
		groups = append(groups, g.ID)
		v.Groups = append(v.Groups, g)
	}
	for i := range 4 {
		only := balancers && i == 0
		if !only && !some("interface") {
			continue
		}
		e := Interface{
			ID: fmt.Sprintf("eni-%d", i), SubnetID: "subnet-a", MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(i)},
			IP: address.Nth(v.Subnets[0].CIDR, 10+i), NoSourceDestCheck: some("unchecked"),
		}
		e.Balancer = only || balancers && some("balancer")
		if some("public") {
			e.PublicIP = address.Nth(netip.MustParsePrefix("198.18.0.0/24"), 1+rapid.IntRange(0, 1).Draw(t, "which")*4+i)
		}
		for _, g := range groups {
			if some("member") {
				e.Groups = append(e.Groups, g)
			}
		}
		v.Interfaces = append(v.Interfaces, e)
	}
	return v
}

// listTable is what the kernel has, by name: the order in which things were
// made, and the numbers that it gave them, say nothing.
func listTable(t *rapid.T, netns string) map[string]any {
	cmd := exec.Command("nsenter", "--net="+netns, "nft", "-j", "list", "table", "ip", vpcTable)
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("list the table: %v", err)
	}
	var listing struct {
		Nftables []map[string]map[string]any `json:"nftables"`
	}
	if err := json.Unmarshal(b, &listing); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for _, entry := range listing.Nftables {
		for kind, v := range entry {
			delete(v, "handle")
			switch kind {
			case "rule":
				name := fmt.Sprint("rules of ", v["chain"])
				list, _ := out[name].([]any)
				out[name] = append(list, v["expr"])
			case "set", "map":
				elements, _ := v["elem"].([]any)
				slices.SortFunc(elements, func(a, b any) int {
					x, _ := json.Marshal(a)
					y, _ := json.Marshal(b)
					return bytes.Compare(x, y)
				})
				out[fmt.Sprint("set ", v["name"])] = v
			case "chain":
				out[fmt.Sprint("chain ", v["name"])] = v
			}
		}
	}
	return out
}

func TestDifferences(t *testing.T) {
	table := func(change func(rs *ruleset)) *ruleset {
		rs := newRuleset("", "t")
		change(rs)
		return rs
	}
	addresses := func(rs *ruleset, keys ...byte) *nftables.Set {
		s := rs.set(&nftables.Set{Name: "s", KeyType: nftables.TypeIPAddr})
		for _, k := range keys {
			rs.fill(s, []nftables.SetElement{{Key: []byte{10, 0, 0, k}}})
		}
		return s
	}
	hook := func(rs *ruleset, policy nftables.ChainPolicy) {
		rs.base("c", nftables.ChainTypeFilter, nftables.ChainHookForward, *nftables.ChainPriorityFilter, policy)
	}
	tests := map[string]struct {
		from, to func(rs *ruleset)
		want     string
	}{
		"same":           {func(rs *ruleset) { addresses(rs, 1, 2) }, func(rs *ruleset) { addresses(rs, 2, 1) }, "nothing"},
		"more":           {func(rs *ruleset) { addresses(rs, 1) }, func(rs *ruleset) { addresses(rs, 1, 2) }, "+1"},
		"fewer and more": {func(rs *ruleset) { addresses(rs, 1, 3) }, func(rs *ruleset) { addresses(rs, 2, 3) }, "+1-1"},
		"another policy": {func(rs *ruleset) { hook(rs, nftables.ChainPolicyDrop) }, func(rs *ruleset) { hook(rs, nftables.ChainPolicyAccept) }, "whole"},
		"another hook":   {func(*ruleset) {}, func(rs *ruleset) { hook(rs, nftables.ChainPolicyDrop) }, "whole"},
		"another type": {
			func(rs *ruleset) { addresses(rs) },
			func(rs *ruleset) { rs.set(&nftables.Set{Name: "s", KeyType: nftables.TypeIFName}) }, "whole",
		},
		"a rule's set has another number": {
			func(rs *ruleset) { rs.rule(rs.chain("c"), member(offsetDest, addresses(rs))) },
			func(rs *ruleset) {
				rs.set(&nftables.Set{Name: "r", KeyType: nftables.TypeIPAddr})
				rs.rule(rs.chain("c"), member(offsetDest, addresses(rs)))
			}, "set",
		},
		"another rule": {
			func(rs *ruleset) { rs.rule(rs.chain("c"), accept()) },
			func(rs *ruleset) { rs.rule(rs.chain("c"), []expr.Any{&expr.Counter{}}, accept()) }, "rewritten",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d, err := differences(table(tt.from), table(tt.to))
			got := ""
			switch {
			case err != nil:
				got = "whole"
			case d.none():
				got = "nothing"
			case len(d.rewritten) > 0:
				got = "rewritten"
			case len(d.newSets) > 0:
				got = "set"
			default:
				for _, s := range d.more {
					got += fmt.Sprintf("+%d", len(s.elements))
				}
				for _, s := range d.fewer {
					got += fmt.Sprintf("-%d", len(s.elements))
				}
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
