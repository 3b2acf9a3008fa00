package model

import (
	"net/netip"
	"time"
)

// The records of EC2's networking part. A record's id is its AWS id. A record
// whose Deleting is set is on its way out: nothing new may refer to it, and
// APIs no longer show it.

// VPC is a virtual private cloud.
type VPC struct {
	ID    string `json:"id"`
	Owner string `json:"owner"` // account
	// CIDR is the primary block.
	CIDR netip.Prefix `json:"cidr"`
	// CIDRs are all blocks, the primary one first.
	CIDRs          []VPCCIDR `json:"cidrs"`
	IsDefault      bool      `json:"isDefault,omitempty"`
	Tenancy        string    `json:"tenancy,omitempty"`
	DHCPOptionsID  string    `json:"dhcpOptionsId,omitempty"` // "default" means none
	EnableDNS      bool      `json:"enableDns,omitempty"`
	EnableHostname bool      `json:"enableHostname,omitempty"`
	// The main route table, and the id of its association with the VPC.
	MainRouteTableID            string    `json:"mainRouteTableId,omitempty"`
	MainRouteTableAssociationID string    `json:"mainRouteTableAssociationId,omitempty"`
	DefaultGroupID              string    `json:"defaultGroupId,omitempty"`
	DefaultNetworkACLID         string    `json:"defaultNetworkAclId,omitempty"`
	Tags                        Tags      `json:"tags,omitzero"`
	CreatedAt                   time.Time `json:"createdAt"`
	Deleting                    bool      `json:"deleting,omitempty"`
}

// VPCCIDR is the association of a block with a VPC.
type VPCCIDR struct {
	AssociationID string       `json:"associationId"`
	CIDR          netip.Prefix `json:"cidr"`
}

// Subnet is a range of a VPC's addresses in one availability zone.
type Subnet struct {
	ID                  string       `json:"id"`
	Owner               string       `json:"owner"`
	VPCID               string       `json:"vpcId"`
	CIDR                netip.Prefix `json:"cidr"`
	Zone                string       `json:"zone"`   // us-east-1a
	ZoneID              string       `json:"zoneId"` // use1-az1
	DefaultForAZ        bool         `json:"defaultForAz,omitempty"`
	MapPublicIPOnLaunch bool         `json:"mapPublicIpOnLaunch,omitempty"`
	// HostnameType is ip-name or resource-name.
	HostnameType         string `json:"hostnameType,omitempty"`
	EnableResourceNameA  bool   `json:"enableResourceNameA,omitempty"`
	AssignIPv6OnCreation bool   `json:"assignIpv6OnCreation,omitempty"`
	EnableDNS64          bool   `json:"enableDns64,omitempty"`
	// The subnet's own route table; empty means the VPC's main one.
	RouteTableID            string    `json:"routeTableId,omitempty"`
	RouteTableAssociationID string    `json:"routeTableAssociationId,omitempty"`
	NetworkACLID            string    `json:"networkAclId"`
	NetworkACLAssociationID string    `json:"networkAclAssociationId"`
	Tags                    Tags      `json:"tags,omitzero"`
	CreatedAt               time.Time `json:"createdAt"`
	Deleting                bool      `json:"deleting,omitempty"`
}

// RouteTable holds routes. Subnets name the table that they use; the VPC
// names its main one.
type RouteTable struct {
	ID    string `json:"id"`
	Owner string `json:"owner"`
	VPCID string `json:"vpcId"`
	// Routes beyond the local ones, which follow from the VPC's blocks.
	Routes    []Route   `json:"routes,omitempty"`
	Tags      Tags      `json:"tags,omitzero"`
	CreatedAt time.Time `json:"createdAt"`
	Deleting  bool      `json:"deleting,omitempty"`
}

// Route is one entry of a route table. Exactly one target is set. Whether it
// is a blackhole is not stored: a route is one while its target is gone.
type Route struct {
	// Destination is an IPv4 or IPv6 block, zero where PrefixListID is set.
	Destination  netip.Prefix `json:"destination,omitzero"`
	PrefixListID string       `json:"prefixListId,omitempty"`
	// Origin is CreateRoute or CreateRouteTable.
	Origin             string `json:"origin,omitempty"`
	GatewayID          string `json:"gatewayId,omitempty"` // igw-
	NatGatewayID       string `json:"natGatewayId,omitempty"`
	NetworkInterfaceID string `json:"networkInterfaceId,omitempty"`
}

// InternetGateway joins a VPC to the world outside.
type InternetGateway struct {
	ID        string    `json:"id"`
	Owner     string    `json:"owner"`
	VPCID     string    `json:"vpcId,omitempty"` // empty while detached
	Tags      Tags      `json:"tags,omitzero"`
	CreatedAt time.Time `json:"createdAt"`
	Deleting  bool      `json:"deleting,omitempty"`
}

// States of a NatGateway.
const (
	NatGatewayPending   = "pending"
	NatGatewayAvailable = "available"
	NatGatewayDeleting  = "deleting"
	NatGatewayDeleted   = "deleted"
	NatGatewayFailed    = "failed"
)

// NatGateway lets private subnets reach out through its address.
type NatGateway struct {
	ID       string `json:"id"`
	Owner    string `json:"owner"`
	VPCID    string `json:"vpcId"`
	SubnetID string `json:"subnetId"`
	// Connectivity is public or private.
	Connectivity       string     `json:"connectivity"`
	State              string     `json:"state"`
	NetworkInterfaceID string     `json:"networkInterfaceId,omitempty"`
	PrivateIP          netip.Addr `json:"privateIp,omitzero"`
	AllocationID       string     `json:"allocationId,omitempty"`
	AssociationID      string     `json:"associationId,omitempty"`
	PublicIP           netip.Addr `json:"publicIp,omitzero"`
	Tags               Tags       `json:"tags,omitzero"`
	CreatedAt          time.Time  `json:"createdAt"`
	DeletedAt          time.Time  `json:"deletedAt,omitzero"`
}

// NetworkACL is a stateless filter around subnets, which name the one that
// they use.
type NetworkACL struct {
	ID        string            `json:"id"`
	Owner     string            `json:"owner"`
	VPCID     string            `json:"vpcId"`
	IsDefault bool              `json:"isDefault,omitempty"`
	Entries   []NetworkACLEntry `json:"entries,omitempty"`
	Tags      Tags              `json:"tags,omitzero"`
	CreatedAt time.Time         `json:"createdAt"`
	Deleting  bool              `json:"deleting,omitempty"`
}

// NetworkACLEntry is a numbered rule; the lowest number that matches decides.
// The closing deny (32767) is not stored.
type NetworkACLEntry struct {
	Number int32 `json:"number"`
	Egress bool  `json:"egress,omitempty"`
	Allow  bool  `json:"allow,omitempty"`
	// Protocol is a protocol number, "-1" for all.
	Protocol string       `json:"protocol"`
	CIDR     netip.Prefix `json:"cidr"`
	// FromPort and ToPort matter to protocols 6 and 17.
	FromPort int32 `json:"fromPort,omitempty"`
	ToPort   int32 `json:"toPort,omitempty"`
	HasPorts bool  `json:"hasPorts,omitempty"`
	// ICMPType and ICMPCode matter to protocols 1 and 58; -1 means any.
	ICMPType int32 `json:"icmpType,omitempty"`
	ICMPCode int32 `json:"icmpCode,omitempty"`
	HasICMP  bool  `json:"hasIcmp,omitempty"`
}

// SecurityGroup is a stateful filter around network interfaces.
type SecurityGroup struct {
	ID          string              `json:"id"`
	Owner       string              `json:"owner"`
	VPCID       string              `json:"vpcId"`
	Name        string              `json:"name"`
	Description string              `json:"description"`
	Rules       []SecurityGroupRule `json:"rules,omitempty"`
	Tags        Tags                `json:"tags,omitzero"`
	CreatedAt   time.Time           `json:"createdAt"`
	Deleting    bool                `json:"deleting,omitempty"`
}

// SecurityGroupRule allows one kind of traffic with one kind of peer. Exactly
// one of CIDR, PrefixListID and GroupID is set.
type SecurityGroupRule struct {
	ID     string `json:"id"` // sgr-
	Egress bool   `json:"egress,omitempty"`
	// Protocol is tcp, udp, icmp, icmpv6, another protocol's number, or "-1"
	// for all.
	Protocol string `json:"protocol"`
	// FromPort and ToPort are a range of ports, or ICMP's type and code; -1
	// means all. Both are -1 where the protocol has no ports.
	FromPort int32 `json:"fromPort"`
	ToPort   int32 `json:"toPort"`
	// CIDR is IPv4 or IPv6.
	CIDR         netip.Prefix `json:"cidr,omitzero"`
	PrefixListID string       `json:"prefixListId,omitempty"`
	GroupID      string       `json:"groupId,omitempty"`
	GroupOwner   string       `json:"groupOwner,omitempty"`
	Description  string       `json:"description,omitempty"`
	Tags         Tags         `json:"tags,omitzero"`
}

// States of a NetworkInterface, and of its attachment.
const (
	NetworkInterfaceAvailable = "available"
	NetworkInterfaceInUse     = "in-use"

	AttachmentAttaching = "attaching"
	AttachmentAttached  = "attached"
	AttachmentDetaching = "detaching"
	AttachmentDetached  = "detached"
)

// NetworkInterface is an ENI.
type NetworkInterface struct {
	ID          string     `json:"id"`
	Owner       string     `json:"owner"`
	VPCID       string     `json:"vpcId"`
	SubnetID    string     `json:"subnetId"`
	Zone        string     `json:"zone"`
	Description string     `json:"description,omitempty"`
	MAC         string     `json:"mac"`
	PrivateIP   netip.Addr `json:"privateIp"`
	// SecondaryIPs are further private addresses.
	SecondaryIPs []netip.Addr `json:"secondaryIps,omitempty"`
	GroupIDs     []string     `json:"groupIds"`
	// InterfaceType is interface, nat_gateway, load_balancer, …
	InterfaceType string `json:"interfaceType"`
	// RequesterID and RequesterManaged mark an interface of an AWS service;
	// its users cannot delete or detach it.
	RequesterID      string `json:"requesterId,omitempty"`
	RequesterManaged bool   `json:"requesterManaged,omitempty"`
	// NoSourceDestCheck turns the check off that drops packets which are
	// neither from nor to the interface's own addresses.
	NoSourceDestCheck bool `json:"noSourceDestCheck,omitempty"`

	// Status is available or in-use.
	Status     string                      `json:"status"`
	Attachment *NetworkInterfaceAttachment `json:"attachment,omitempty"`
	// Association is PrivateIP's public address, if any.
	Association *NetworkInterfaceAssociation `json:"association,omitempty"`
	// SecondaryAssociations are those of SecondaryIPs, all elastic.
	SecondaryAssociations map[netip.Addr]*NetworkInterfaceAssociation `json:"secondaryAssociations,omitempty"`

	Tags      Tags      `json:"tags,omitzero"`
	CreatedAt time.Time `json:"createdAt"`
}

// InterfaceTypeNetworkLoadBalancer is the type of a network load balancer's
// interfaces, which pass on what comes from others.
const InterfaceTypeNetworkLoadBalancer = "network_load_balancer"

// AssociationOf is the public address of one of the interface's private ones,
// nil if it has none.
func (v *NetworkInterface) AssociationOf(a netip.Addr) *NetworkInterfaceAssociation {
	if a == v.PrivateIP {
		return v.Association
	}
	return v.SecondaryAssociations[a]
}

// Associate sets the public address of a private one; nil takes it away.
func (v *NetworkInterface) Associate(a netip.Addr, with *NetworkInterfaceAssociation) {
	switch {
	case a == v.PrivateIP:
		v.Association = with
	case with == nil:
		delete(v.SecondaryAssociations, a)
	default:
		if v.SecondaryAssociations == nil {
			v.SecondaryAssociations = map[netip.Addr]*NetworkInterfaceAssociation{}
		}
		v.SecondaryAssociations[a] = with
	}
}

// PrivateIPs are all private addresses, the primary one first.
func (v *NetworkInterface) PrivateIPs() []netip.Addr {
	return append([]netip.Addr{v.PrivateIP}, v.SecondaryIPs...)
}

// NetworkInterfaceAttachment says what an interface serves.
type NetworkInterfaceAttachment struct {
	ID                  string    `json:"id"` // eni-attach-, or ela-attach- of a service
	Status              string    `json:"status"`
	InstanceID          string    `json:"instanceId,omitempty"`
	InstanceOwnerID     string    `json:"instanceOwnerId,omitempty"` // account, or amazon-elb, …
	DeviceIndex         int32     `json:"deviceIndex"`
	DeleteOnTermination bool      `json:"deleteOnTermination,omitempty"`
	AttachedAt          time.Time `json:"attachedAt"`
}

// NetworkInterfaceAssociation is an interface's public address.
type NetworkInterfaceAssociation struct {
	PublicIP netip.Addr `json:"publicIp"`
	// AllocationID and AssociationID are set for elastic addresses.
	AllocationID  string `json:"allocationId,omitempty"`
	AssociationID string `json:"associationId,omitempty"`
	// OwnerID is the account for elastic addresses, else amazon.
	OwnerID string `json:"ownerId"`
}

// Address is an elastic IP address.
type Address struct {
	ID       string     `json:"id"` // eipalloc-
	Owner    string     `json:"owner"`
	PublicIP netip.Addr `json:"publicIp"`
	// AssociationID and NetworkInterfaceID are set while it is in use.
	AssociationID      string     `json:"associationId,omitempty"` // eipassoc-
	NetworkInterfaceID string     `json:"networkInterfaceId,omitempty"`
	PrivateIP          netip.Addr `json:"privateIp,omitzero"`
	InstanceID         string     `json:"instanceId,omitempty"`
	Tags               Tags       `json:"tags,omitzero"`
	CreatedAt          time.Time  `json:"createdAt"`
}

// DHCPOptions is a set of options for a VPC's hosts.
type DHCPOptions struct {
	ID        string              `json:"id"`
	Owner     string              `json:"owner"`
	Options   map[string][]string `json:"options"`
	Tags      Tags                `json:"tags,omitzero"`
	CreatedAt time.Time           `json:"createdAt"`
	Deleting  bool                `json:"deleting,omitempty"`
}

// PrivateAddressClaim says that an interface holds a private address. Its id
// is "<subnet>/<address>", so that an address is held once.
type PrivateAddressClaim struct {
	NetworkInterfaceID string `json:"networkInterfaceId"`
}

// PublicAddressClaim says who holds a public address. Public addresses are
// unique over all accounts and regions of a server: their claims live under
// the account AmazonAccount and no region, with the address as the id.
type PublicAddressClaim struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	// Holder is a network interface's or an elastic address's id.
	Holder string `json:"holder"`
}

// PublicPool is the range that public addresses come from, one record with id
// PublicPoolID under AmazonAccount.
type PublicPool struct {
	Prefix netip.Prefix `json:"prefix"`
}

// AmazonAccount owns what belongs to no account of the user's.
const AmazonAccount = "amazon"

// PublicPoolID is the id of the only PublicPool.
const PublicPoolID = "amazon"

// RegionDefaults marks that the defaults of an account's region (VPC,
// subnets, …) were made once; a user may have deleted them since. Its id is
// "defaults".
type RegionDefaults struct {
	CreatedAt time.Time `json:"createdAt"`
}

// KeyPair is the public half of a pair whose private half its owner keeps.
// Names are unique in an account's region.
type KeyPair struct {
	ID   string `json:"id"` // key-
	Name string `json:"name"`
	// Type is rsa or ed25519.
	Type        string `json:"type"`
	Fingerprint string `json:"fingerprint"`
	// PublicKey is in OpenSSH's format, without a comment.
	PublicKey string    `json:"publicKey"`
	Tags      Tags      `json:"tags,omitzero"`
	CreatedAt time.Time `json:"createdAt"`
}

// PrefixList is a list of blocks that routes and security groups name as one.
type PrefixList struct {
	ID            string `json:"id"` // pl-
	Owner         string `json:"owner"`
	Name          string `json:"name"`
	AddressFamily string `json:"addressFamily"` // IPv4 or IPv6
	MaxEntries    int32  `json:"maxEntries"`
	// State is what the last change is called when it is complete.
	State string `json:"state"`
	// Versions are all there ever were, the first one first. A change of the
	// entries adds one; the last one counts.
	Versions  [][]PrefixListEntry `json:"versions"`
	Tags      Tags                `json:"tags,omitzero"`
	CreatedAt time.Time           `json:"createdAt"`
	Deleting  bool                `json:"deleting,omitempty"`
}

// PrefixListEntry is a block of a prefix list.
type PrefixListEntry struct {
	CIDR        netip.Prefix `json:"cidr"`
	Description string       `json:"description,omitempty"`
}

// Entries are those of the version that counts.
func (p *PrefixList) Entries() []PrefixListEntry {
	if len(p.Versions) == 0 {
		return nil
	}
	return p.Versions[len(p.Versions)-1]
}

// ClientToken remembers a creation that came with a client token, for a day.
// Its id is "<operation>/<hash of the token>".
type ClientToken struct {
	// Request is a hash of the other parameters.
	Request    string    `json:"request"`
	ResourceID string    `json:"resourceId"`
	At         time.Time `json:"at"`
}
