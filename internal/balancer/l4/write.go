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

// Write makes the rules of the load balancer lb what t says, in the VPC's
// namespace at path, in one transaction. Flows that are known go on as they
// are.
func Write(path, lb string, t Table) error {
	return transact(path, func(conn *nftables.Conn) error {
		w := &writer{conn: conn, table: tableOf(lb), maps: map[string]*nftables.Set{}}
		t := t.normal()
		if err := w.write(t); err != nil {
			return err
		}
		return writeIdle(conn, t)
	})
}

// Remove takes the load balancer's rules out of the VPC's namespace at path.
// There need be none.
func Remove(path, lb string) error {
	return transact(path, func(conn *nftables.Conn) error {
		// Deleting a table fails when there is none, so it is made first.
		conn.AddTable(tableOf(lb))
		conn.DelTable(tableOf(lb))
		return nil
	})
}

// tableOf is a load balancer's table in its VPC's namespace.
func tableOf(lb string) *nftables.Table {
	return &nftables.Table{Name: "lb-" + lb, Family: nftables.TableFamilyIPv4}
}

// transact does all that write queues at once, in the namespace at path.
func transact(path string, write func(*nftables.Conn) error) error {
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
	if err := write(conn); err != nil {
		return err
	}
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

func masked(mask uint32) expr.Any {
	return &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: number(mask), Xor: number(0)}
}

func goTo(chain string) *expr.Verdict { return &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain} }

func (w *writer) write(t Table) error {
	// Deleting a table fails when there is none, so it is made first.
	w.conn.AddTable(w.table)
	w.conn.DelTable(w.table)
	w.conn.AddTable(w.table)

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
			elements = append(elements, nftables.SetElement{Key: portKey(n, p), VerdictData: goTo(chain)})
		}
	}
	listeners := &nftables.Set{
		Name: "listeners", IsMap: true, Concatenation: true, DataType: nftables.TypeVerdict,
		KeyType: nftables.MustConcatSetType(nftables.TypeMark, nftables.TypeInetProto, nftables.TypeInetService),
	}
	if err := w.set(listeners, elements); err != nil {
		return err
	}
	// Before the VPC's own translation, which leaves alone what is translated.
	arrive := w.conn.AddChain(&nftables.Chain{
		Name: "arrive", Table: w.table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPrerouting, Priority: new(*nftables.ChainPriorityNATDest - 1),
	})
	w.rule(arrive, []expr.Any{
		&expr.Ct{Key: expr.CtKeyMARK, Register: unix.NFT_REG32_00},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: unix.NFT_REG32_00 + 1},
		&expr.Payload{DestRegister: unix.NFT_REG32_00 + 2, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: unix.NFT_REG32_00, DestRegister: 0, IsDestRegSet: true, SetName: listeners.Name, SetID: listeners.ID},
	})
	return nil
}

// portKey is the mark of a flow to the port and what its packets say, as the
// listeners' map has it.
func portKey(n *Node, p *Port) []byte {
	key := append(number(network.AddressedMark(n.Number)), p.Protocol, 0, 0, 0)
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
	name := strconv.Itoa(int(n.Number)) + "-" + strconv.Itoa(int(p.Protocol)) + "-" + strconv.Itoa(int(p.Port))
	if len(pools) == 1 {
		return w.pool(n, p, &pools[0], name)
	}
	var elements []nftables.SetElement
	total := 0
	chains := make([]string, len(pools))
	for i := range pools {
		var err error
		if chains[i], err = w.pool(n, p, &pools[i], name+"-"+strconv.Itoa(i)); err != nil {
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
func (w *writer) pool(n *Node, port *Port, p *Pool, name string) (string, error) {
	if len(p.Targets) == 0 {
		return "", nil
	}
	targets, size, err := w.targets(p.Targets)
	if err != nil {
		return "", err
	}
	chain := w.conn.AddChain(&nftables.Chain{Name: name, Table: w.table})
	load, length := flow(p.BySource)
	w.rule(chain, []expr.Any{
		&expr.Immediate{Register: 1, Data: number(network.ForwardedMark(n.Number, port.idle(), p.Preserve))},
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true},
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
