package l4

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"roadstead.dev/internal/network"
)

// idleTable holds the idle timeouts of all load balancers of a VPC. Nothing in
// it is ever deleted: a flow loses its timeout with the object that gave it.
const idleTable = "idle"

// policies serializes the encoding of timeouts, for which the library has one
// map that all share.
var policies sync.Mutex

// timeout is an idle timeout of a protocol's flows.
type timeout struct {
	protocol uint8
	seconds  uint32
}

func (o timeout) name() string {
	return strconv.Itoa(int(o.protocol)) + "-" + strconv.Itoa(int(o.seconds))
}

// writeIdle gives new flows the idle timeouts that their marks tell.
func writeIdle(conn *nftables.Conn, t Table) error {
	table := &nftables.Table{Name: idleTable, Family: nftables.TableFamilyIPv4}
	chain := &nftables.Chain{
		Name: "forwarded", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: new(*nftables.ChainPriorityNATDest + 1),
	}
	there, err := timeouts(conn, chain)
	if err != nil {
		return err
	}
	conn.AddTable(table)
	conn.AddChain(chain)
	if there == nil {
		there = map[string]bool{}
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Ct{Key: expr.CtKeySTATE, Register: 1}, masked(expr.CtStateBitNEW), eq(number(0)), &expr.Verdict{Kind: expr.VerdictAccept},
		}})
	}
	for _, n := range t.Nodes {
		for _, p := range n.Ports {
			o := timeout{p.Protocol, p.idle()}
			if there[o.name()] {
				continue
			}
			there[o.name()] = true
			policies.Lock()
			conn.AddObj(&nftables.NamedObj{Table: table, Name: o.name(), Type: nftables.ObjTypeCtTimeout, Obj: &expr.CtTimeout{
				L3Proto: unix.NFPROTO_IPV4, L4Proto: o.protocol, Policy: o.policy(),
			}})
			policies.Unlock()
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
				&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, eq([]byte{o.protocol}),
				&expr.Ct{Key: expr.CtKeyMARK, Register: 1}, masked(network.KindBits | network.IdleBits),
				eq(number(network.ForwardedKind | network.IdleMark(o.seconds))),
				&expr.Objref{Type: unix.NFT_OBJECT_CT_TIMEOUT, Name: o.name()},
			}})
		}
	}
	return nil
}

func (o timeout) policy() expr.CtStatePolicyTimeout {
	if o.protocol == UDP {
		return expr.CtStatePolicyTimeout{expr.CtStateUDPUNREPLIED: o.seconds, expr.CtStateUDPREPLIED: o.seconds}
	}
	// What was not acknowledged yet has as long.
	return expr.CtStatePolicyTimeout{expr.CtStateTCPESTABLISHED: o.seconds, expr.CtStateTCPUNACK: o.seconds}
}

// timeouts are the names of those that the chain gives, nil when there is none.
func timeouts(conn *nftables.Conn, chain *nftables.Chain) (map[string]bool, error) {
	chains, err := conn.ListChainsOfTableFamily(chain.Table.Family)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	for _, c := range chains {
		if c.Table.Name != chain.Table.Name || c.Name != chain.Name {
			continue
		}
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			return nil, fmt.Errorf("list idle timeouts: %w", err)
		}
		out := map[string]bool{}
		for _, r := range rules {
			for _, e := range r.Exprs {
				if o, ok := e.(*expr.Objref); ok {
					out[strings.TrimRight(o.Name, "\x00")] = true
				}
			}
		}
		return out, nil
	}
	return nil, nil
}
