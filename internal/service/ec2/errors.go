package ec2

import (
	"errors"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/store"
)

// noun is how EC2 names a kind of resource in ids and errors.
type noun struct {
	prefix    string // of ids, without the dash
	notFound  string // error codes
	malformed string
	word      string // in messages
}

var (
	nounVPC       = noun{"vpc", "InvalidVpcID.NotFound", "InvalidVpcID.Malformed", "vpc"}
	nounSubnet    = noun{"subnet", "InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed", "subnet"}
	nounRouteTab  = noun{"rtb", "InvalidRouteTableID.NotFound", "InvalidRouteTableId.Malformed", "routeTable"}
	nounIGW       = noun{"igw", "InvalidInternetGatewayID.NotFound", "InvalidInternetGatewayId.Malformed", "internetGateway"}
	nounACL       = noun{"acl", "InvalidNetworkAclID.NotFound", "InvalidNetworkAclId.Malformed", "networkAcl"}
	nounInterface = noun{"eni", "InvalidNetworkInterfaceID.NotFound", "InvalidNetworkInterfaceId.Malformed", "networkInterface"}
	nounDHCP      = noun{"dopt", "InvalidDhcpOptionID.NotFound", "InvalidDhcpOptionsId.Malformed", "dhcpOption"}
	nounAddress   = noun{"eipalloc", "InvalidAllocationID.NotFound", "InvalidAllocationID.Malformed", "allocation"}
	nounGroup     = noun{"sg", "InvalidGroup.NotFound", "InvalidGroupId.Malformed", "security group"}
	nounRule      = noun{"sgr", "InvalidSecurityGroupRuleId.NotFound", "InvalidSecurityGroupRuleId.Malformed", "security group rule"}
	nounNAT       = noun{"nat", "NatGatewayNotFound", "NatGatewayMalformed", "NAT gateway"}
	nounKey       = noun{"key", "InvalidKeyPair.NotFound", "InvalidParameterValue", "key pair"}

	nounInstance = noun{"i", "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed", "instance"}
	nounVolume   = noun{"vol", "InvalidVolume.NotFound", "InvalidVolumeID.Malformed", "volume"}
	nounTemplate = noun{"lt", "InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.Malformed", "launch template"}

	nounPrefixList = noun{"pl", "InvalidPrefixListID.NotFound", "InvalidPrefixListId.Malformed", "prefix list"}
)

// missing says that there is no resource with the id.
func (n noun) missing(id string) error {
	if !strings.HasPrefix(id, n.prefix+"-") {
		return api.NewFault(n.malformed, "Invalid id: %q (expecting \"%s-...\")", id, n.prefix)
	}
	switch n.prefix {
	case "sg":
		return api.NewFault(n.notFound, "The security group '%s' does not exist", id)
	case "vol":
		return api.NewFault(n.notFound, "The volume '%s' does not exist.", id)
	case "nat":
		return api.NewFault(n.notFound, "NAT gateway %s was not found", id)
	}
	return api.NewFault(n.notFound, "The %s ID '%s' does not exist", n.word, id)
}

// orMissing turns the store's "not found" into the resource's.
func (n noun) orMissing(err error, id string) error {
	if errors.Is(err, store.ErrNotFound) {
		return n.missing(id)
	}
	return err
}

func (n noun) hasDependencies(id string) error {
	if n.prefix == "sg" {
		return api.NewFault("DependencyViolation", "resource %s has a dependent object", id)
	}
	return api.NewFault("DependencyViolation", "The %s '%s' has dependencies and cannot be deleted.", n.word, id)
}

func required(name string) error {
	return api.NewFault("MissingParameter", "The request must contain the parameter %s", name)
}

func invalidValue(format string, args ...any) error {
	return api.NewFault("InvalidParameterValue", format, args...)
}

// unsupported refuses what Roadstead's networks cannot do.
func unsupported(what string) error {
	return api.NewFault("UnsupportedOperation", "The requested operation is not supported: %s", what)
}
