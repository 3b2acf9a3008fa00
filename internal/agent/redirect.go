package agent

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// MetadataAddress is where the agent serves tasks' metadata and credentials;
// RedirectMetadata leads what is sent to 169.254.170.2 there.
const MetadataAddress = "127.0.0.1:51679"

// redirectTable is the agent's own.
const redirectTable = "roadstead-agent"

// RedirectMetadata leads what the machine's programs send to
// 169.254.170.2:80, where tasks look for their metadata, to the agent, in the
// machine's network namespace. The function that it returns undoes it.
func RedirectMetadata() (undo func(), err error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("reach nftables: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: redirectTable}
	c.AddTable(table) // so that there is one to delete
	c.DelTable(table)
	c.AddTable(table)
	chain := c.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	to := netip.MustParseAddr("169.254.170.2").As4()
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: to[:]},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(80)},
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(credentialsPort)},
		&expr.Redir{RegisterProtoMin: 1},
	}})
	if err := c.Flush(); err != nil {
		return nil, fmt.Errorf("redirect tasks' metadata: %w", err)
	}
	return func() {
		c.DelTable(table)
		_ = c.Flush() // with the namespace it goes anyway
	}, nil
}
