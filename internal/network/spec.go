package network

import (
	"net"
	"net/netip"
)

// VPC is all that a VPC should be.
type VPC struct {
	ID string
	// CIDRs are the VPC's IPv4 blocks, the primary one first.
	CIDRs []netip.Prefix
	// HostRoute asks for routes on the host to the blocks. When something else
	// on the host uses one of them it gets no route, which Apply reports.
	HostRoute   bool
	Subnets     []Subnet
	RouteTables []RouteTable
	Groups      []Group
	Interfaces  []Interface
	ACLs        []ACL
}

// Subnet is a subnet; its first address but one is its gateway.
type Subnet struct {
	ID           string
	CIDR         netip.Prefix
	RouteTableID string
	// ACLID names the subnet's ACL; empty means that all passes.
	ACLID string
}

// RouteTable holds routes beyond the local ones.
type RouteTable struct {
	ID     string
	Routes []Route
}

// Target says where a route leads.
type Target int

// The targets of routes.
const (
	// Blackhole drops.
	Blackhole Target = iota
	// Internet leads out, for interfaces with a public address.
	Internet
	// NAT leads out, as Route.NATIP.
	NAT
	// ToInterface leads to the interface Route.InterfaceID.
	ToInterface
)

// Route is a route of a table.
type Route struct {
	Destination netip.Prefix
	Target      Target
	// NATIP is the public address of a NAT gateway.
	NATIP       netip.Addr
	InterfaceID string
}

// Interface is a network interface. It may be known before it is attached.
type Interface struct {
	ID       string
	SubnetID string
	MAC      net.HardwareAddr
	IP       netip.Addr
	// Secondary are its further private addresses.
	Secondary []netip.Addr
	// PublicIP, when valid, is translated to and from IP at the VPC's edge;
	// SecondaryPublic are the same for addresses of Secondary.
	PublicIP          netip.Addr
	SecondaryPublic   map[netip.Addr]netip.Addr
	Groups            []string
	NoSourceDestCheck bool
	// Balancer marks the interface of a load balancer that passes others' packets
	// on: it sends from any address, and what answers a connection that came out
	// of it goes back into it, whoever it is for. New connections to it that its
	// groups let in have AddressedMark; those that somebody then translates, and
	// gives ForwardedMark, are forwarded as its own. Without groups nothing is
	// filtered on it.
	Balancer bool
}

// Group is a security group. What no rule allows is dropped.
type Group struct {
	ID    string
	Rules []Rule
}

// Rule allows traffic of one kind with one kind of peer.
type Rule struct {
	Egress bool
	// Protocol is an IP protocol number; -1 means all.
	Protocol int
	// From and To are a range of ports of protocols that have them (TCP, UDP,
	// SCTP), or ICMP's type and code; -1 means any.
	From, To int
	// One of CIDR and Group is set. Group names members' addresses.
	CIDR  netip.Prefix
	Group string
}

// ACL is a stateless filter on what enters and leaves a subnet. What no entry
// matches is dropped.
type ACL struct {
	ID string
	// Entries in the order in which they are asked.
	Entries []ACLEntry
}

// ACLEntry allows or denies packets. Its fields are those of Rule.
type ACLEntry struct {
	Rule
	Deny bool
}

// Attachment asks for an interface in a namespace.
type Attachment struct {
	VPCID       string
	InterfaceID string
	// Netns is the path of the namespace.
	Netns string
	// Index is the device's number in the namespace: its name is eth<Index>.
	// Device 0 carries the default route; others answer by their own.
	Index int
	// Bare makes the device alone. Whoever works in the namespace gives it its
	// addresses, and may move it on to another one.
	Bare bool
	MAC  net.HardwareAddr
	// Address is the interface's address with its subnet's length.
	Address   netip.Prefix
	Secondary []netip.Addr
	// Gateway is the subnet's first address but one; zero means that it is
	// found from Address.
	Gateway netip.Addr
}

// Addresses at which a VPC offers services to its interfaces, whatever their
// security groups say. Listen on them with ListenIn and ListenPacketIn in the
// VPC's namespace.
var (
	// MetadataAddr is the task metadata, credentials and API endpoint's.
	MetadataAddr = netip.MustParseAddr("169.254.170.2")
	// InstanceMetadataAddr is the instance metadata service's.
	InstanceMetadataAddr = netip.MustParseAddr("169.254.169.254")
	// ResolverAddr is the DNS resolver's, beside the VPC's base address + 2.
	ResolverAddr = netip.MustParseAddr("169.254.169.253")
)

// ResolverOf is the address of a VPC's DNS resolver: base + 2.
func ResolverOf(cidr netip.Prefix) netip.Addr {
	return cidr.Masked().Addr().Next().Next()
}

// GatewayOf is the address of a subnet's gateway: base + 1.
func GatewayOf(cidr netip.Prefix) netip.Addr { return cidr.Masked().Addr().Next() }
