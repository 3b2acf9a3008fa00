package l4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"roadstead.dev/internal/network"
)

// tableName is that of the nftables table in the load balancer's namespace.
const tableName = "balancer"

// A flow's mark is the number of its interface, so that all of its packets
// leave by it, and tells whether it keeps its source.
//
// What this process sends with another one's address, through a socket with
// markSocket, makes a flow with markOwn: its answers are for a socket here,
// whoever they are addressed to.
const (
	markInterface = 0xff
	markPreserve  = 0x100
	markOwn       = 0x200
	markSocket    = 0x400
)

// markOf marks flows that arrive at the interface with the index.
func markOf(index int) uint32 { return uint32(index) + 1 }

// SocketMark is the mark of a socket that connects from the interface with the
// index with an address that is not the load balancer's.
func SocketMark(index int) uint32 { return markOf(index) | markSocket }

// idleTimeout is how long a flow may say nothing, in seconds: those that AWS
// documents for TCP and for UDP.
const (
	tcpIdle = "350"
	udpIdle = "120"
)

// Prepare makes the namespace at path one that forwards.
func Prepare(path string) error {
	return network.Sysctl(path, map[string]string{
		"ipv4/ip_forward": "1",
		// Looking for a socket first is in vain for what is forwarded.
		"ipv4/ip_early_demux":              "0",
		"ipv4/conf/all/rp_filter":          "0",
		"ipv4/conf/default/rp_filter":      "0",
		"ipv4/conf/all/send_redirects":     "0",
		"ipv4/conf/default/send_redirects": "0",
		// What belongs to no flow that is known is answered with a reset.
		"netfilter/nf_conntrack_tcp_loose":               "0",
		"netfilter/nf_conntrack_tcp_timeout_established": tcpIdle,
		// What was not acknowledged yet has as long.
		"netfilter/nf_conntrack_tcp_timeout_unacknowledged": tcpIdle,
		"netfilter/nf_conntrack_udp_timeout":                udpIdle,
		"netfilter/nf_conntrack_udp_timeout_stream":         udpIdle,
	})
}

// Write makes the rules in the namespace at path what t says, in one
// transaction. Flows that are known go on as they are.
func Write(path string, t Table) error {
	t = t.normal()
	if err := route(path, t); err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer func() { _ = ns.Close() }()
	const buffer = 32 << 20
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns)), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetWriteBuffer(buffer), c.SetReadBuffer(buffer))
	}))
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	w := &writer{conn: conn, table: &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4}, maps: map[string]*nftables.Set{}}
	if err := w.write(t); err != nil {
		return err
	}
	writeIdle(conn, t)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("write the load balancer's rules: %w", err)
	}
	return nil
}

type writer struct {
	conn  *nftables.Conn
	table *nftables.Table
	setID uint32
	// maps from slots to targets, by what is in them.
	maps map[string]*nftables.Set
}

func (w *writer) rule(c *nftables.Chain, parts ...[]expr.Any) {
	w.conn.AddRule(&nftables.Rule{Table: w.table, Chain: c, Exprs: slices.Concat(parts...)})
}

func (w *writer) base(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
	return w.conn.AddChain(&nftables.Chain{Name: name, Table: w.table, Type: kind, Hooknum: hook, Priority: priority})
}

func (w *writer) set(s *nftables.Set, elements []nftables.SetElement) error {
	w.setID++
	s.Table, s.ID = w.table, w.setID
	if err := w.conn.AddSet(s, nil); err != nil {
		return fmt.Errorf("set %s: %w", s.Name, err)
	}
	for part := range slices.Chunk(elements, 400) {
		if err := w.conn.SetAddElements(s, part); err != nil {
			return fmt.Errorf("elements of %s: %w", s.Name, err)
		}
	}
	return nil
}

// Parts of rules. Each loads what it needs into register 1 first.

func eq(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func number(v uint32) []byte { return binaryutil.NativeEndian.PutUint32(v) }

func loadMark() expr.Any { return &expr.Ct{Key: expr.CtKeyMARK, Register: 1} }

func masked(mask uint32) expr.Any {
	return &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: number(mask), Xor: number(0)}
}

func goTo(chain string) *expr.Verdict { return &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain} }

// statusNAT are conntrack's flags of flows whose destination was translated.
const statusNAT = 1 << 5

func translated() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1}, masked(statusNAT),
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: number(0)},
	}
}

func (w *writer) write(t Table) error {
	// Deleting a table fails when there is none, so it is made first.
	w.conn.AddTable(w.table)
	w.conn.DelTable(w.table)
	w.conn.AddTable(w.table)

	keep := w.base("keep", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityMangle)
	w.rule(keep, []expr.Any{
		loadMark(), &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: number(0)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	})

	own := w.base("own", nftables.ChainTypeFilter, nftables.ChainHookOutput, nftables.ChainPriorityMangle)
	w.rule(own, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, masked(markSocket),
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: number(0)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: number(markInterface), Xor: number(markOwn)},
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true},
	})

	var elements []nftables.SetElement
	for i := range t.Nodes {
		n := &t.Nodes[i]
		for j := range n.Ports {
			p := &n.Ports[j]
			chain, err := w.port(n, p)
			if err != nil {
				return err
			}
			if chain == "" {
				continue
			}
			elements = append(elements, nftables.SetElement{Key: portKey(n.Address, p), VerdictData: goTo(chain)})
		}
	}
	listeners := &nftables.Set{
		Name: "listeners", IsMap: true, Concatenation: true, DataType: nftables.TypeVerdict,
		KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetProto, nftables.TypeInetService),
	}
	if err := w.set(listeners, elements); err != nil {
		return err
	}
	arrive := w.base("arrive", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest)
	w.rule(arrive, []expr.Any{
		&expr.Payload{DestRegister: unix.NFT_REG32_00, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: unix.NFT_REG32_00 + 1},
		&expr.Payload{DestRegister: unix.NFT_REG32_00 + 2, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: unix.NFT_REG32_00, DestRegister: 0, IsDestRegSet: true, SetName: listeners.Name, SetID: listeners.ID},
	})

	depart := w.base("depart", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	for i := range t.Nodes {
		n := &t.Nodes[i]
		own := n.Address.As4()
		w.rule(depart, translated(), []expr.Any{
			loadMark(), eq(number(markOf(n.Index))),
			&expr.Immediate{Register: 1, Data: own[:]},
			&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
		})
	}

	// Only what a listener sent on is forwarded.
	forward := w.base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	w.rule(forward, translated(), []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}})
	w.rule(forward, []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}})
	return nil
}

// portKey is what a packet to the port says, as the listeners' map has it.
func portKey(a netip.Addr, p *Port) []byte {
	own := a.As4()
	key := append(own[:], p.Protocol, 0, 0, 0)
	return append(binary.BigEndian.AppendUint16(key, p.Port), 0, 0)
}

// hashSeed makes all tables hash alike, those of a later process too.
const hashSeed = 0x726f6164

// weightSeed makes the choice of a pool say nothing of that of a target in it.
const weightSeed = 0x73746561

// port makes the chain that chooses a target for a port's new flows, "" where
// there is none.
func (w *writer) port(n *Node, p *Port) (string, error) {
	pools := p.live()
	name := n.device() + "-" + strconv.Itoa(int(p.Protocol)) + "-" + strconv.Itoa(int(p.Port))
	if len(pools) == 1 {
		return w.pool(n, &pools[0], name)
	}
	var elements []nftables.SetElement
	total := 0
	chains := make([]string, len(pools))
	for i := range pools {
		var err error
		if chains[i], err = w.pool(n, &pools[i], name+"-"+strconv.Itoa(i)); err != nil {
			return "", err
		}
	}
	for _, i := range p.sharing(pools) {
		if i >= 0 && chains[i] != "" {
			elements = append(elements, nftables.SetElement{Key: number(uint32(total)), VerdictData: goTo(chains[i])})
		}
		total++
	}
	if len(elements) == 0 {
		return "", nil
	}
	weights := &nftables.Set{Name: "weights-" + name, IsMap: true, KeyType: nftables.TypeMark, DataType: nftables.TypeVerdict}
	if err := w.set(weights, elements); err != nil {
		return "", err
	}
	chain := w.conn.AddChain(&nftables.Chain{Name: name, Table: w.table})
	load, length := flow(p.Sticky)
	w.rule(chain, load, []expr.Any{
		&expr.Hash{SourceRegister: 2, DestRegister: 1, Length: length, Modulus: uint32(total), Seed: weightSeed, Type: expr.HashTypeJenkins},
		&expr.Lookup{SourceRegister: 1, DestRegister: 0, IsDestRegSet: true, SetName: weights.Name, SetID: weights.ID},
	})
	return name, nil
}

// flow loads what is hashed of a packet, from register 2 on: its source's
// address, or all that tells its flow from others.
func flow(bySource bool) (load []expr.Any, length uint32) {
	// Source and destination stand side by side in the header, and so do ports.
	if bySource {
		return []expr.Any{&expr.Payload{DestRegister: 2, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4}}, 4
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 2, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 8},
		&expr.Payload{DestRegister: unix.NFT_REG32_00 + 6, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 4},
	}, 12
}

// pool makes the chain that chooses one of a pool's targets, "" where there is
// none.
func (w *writer) pool(n *Node, p *Pool, name string) (string, error) {
	if len(p.Targets) == 0 {
		return "", nil
	}
	targets, size, err := w.targets(p.Targets)
	if err != nil {
		return "", err
	}
	chain := w.conn.AddChain(&nftables.Chain{Name: name, Table: w.table})
	mark := markOf(n.Index)
	if p.Preserve {
		mark |= markPreserve
	}
	load, length := flow(p.BySource)
	w.rule(chain, []expr.Any{
		&expr.Immediate{Register: 1, Data: number(mark)},
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}, load, []expr.Any{
		&expr.Hash{SourceRegister: 2, DestRegister: 1, Length: length, Modulus: uint32(size), Seed: hashSeed, Type: expr.HashTypeJenkins},
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: targets.Name, SetID: targets.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: unix.NFT_REG32_00 + 1},
	})
	return name, nil
}

// targets makes the map from slots to targets, once for the same targets.
func (w *writer) targets(targets []netip.AddrPort) (*nftables.Set, int, error) {
	assigned := slots(targets)
	key := fmt.Sprint(targets)
	if s := w.maps[key]; s != nil {
		return s, len(assigned), nil
	}
	elements := make([]nftables.SetElement, len(assigned))
	for i, t := range assigned {
		ip := t.Addr().As4()
		elements[i] = nftables.SetElement{
			Key: number(uint32(i)),
			Val: append(binary.BigEndian.AppendUint16(slices.Clone(ip[:]), t.Port()), 0, 0),
		}
	}
	s := &nftables.Set{
		Name: "targets-" + strconv.Itoa(len(w.maps)), IsMap: true, KeyType: nftables.TypeMark,
		DataType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService),
	}
	w.maps[key] = s
	return s, len(assigned), w.set(s, elements)
}
