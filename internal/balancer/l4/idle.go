package l4

import (
	"encoding/binary"
	"strconv"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// idleTable holds the idle timeouts that are not the default. It is never
// deleted: a flow loses its timeout with the object that gave it.
const idleTable = "idle"

// policies serializes the encoding of timeouts, for which the library has one
// map that all share.
var policies sync.Mutex

// writeIdle gives new flows of TCP their ports' idle timeouts.
func writeIdle(conn *nftables.Conn, t Table) {
	table := conn.AddTable(&nftables.Table{Name: idleTable, Family: nftables.TableFamilyIPv4})
	chain := conn.AddChain(&nftables.Chain{
		Name: "arrive", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle,
	})
	conn.FlushChain(chain)
	made := map[uint32]bool{}
	for _, n := range t.Nodes {
		own := n.Address.As4()
		for _, p := range n.Ports {
			if p.Protocol != TCP || p.Idle == 0 {
				continue
			}
			name := "tcp-" + strconv.Itoa(int(p.Idle))
			if !made[p.Idle] {
				made[p.Idle] = true
				policies.Lock()
				conn.AddObj(&nftables.NamedObj{Table: table, Name: name, Type: nftables.ObjTypeCtTimeout, Obj: &expr.CtTimeout{
					L3Proto: unix.NFPROTO_IPV4, L4Proto: TCP, Policy: expr.CtStatePolicyTimeout{expr.CtStateTCPESTABLISHED: p.Idle, expr.CtStateTCPUNACK: p.Idle},
				}})
				policies.Unlock()
			}
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
				&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, eq([]byte{TCP}),
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}, eq(own[:]),
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, eq(binary.BigEndian.AppendUint16(nil, p.Port)),
				&expr.Objref{Type: unix.NFT_OBJECT_CT_TIMEOUT, Name: name},
			}})
		}
	}
}
