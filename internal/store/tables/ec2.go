package tables

import (
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// Names of indexes that EC2's tables share.
const (
	ByVPC    = "vpc"
	BySubnet = "subnet"
	ByGroup  = "group"
	ByDay    = "day"
	// ByRequester: "<requester's id>/<description>", of interfaces that a
	// service has for itself.
	ByRequester = "requester"
)

// The tables of EC2's networking part. Ids are AWS's.
var (
	VPCs = store.NewTable[model.VPC]("ec2", "VPC")

	Subnets = store.NewTable[model.Subnet]("ec2", "Subnet").
		WithIndex(ByVPC, func(v *model.Subnet) []string { return []string{v.VPCID} })

	RouteTables = store.NewTable[model.RouteTable]("ec2", "RouteTable").
			WithIndex(ByVPC, func(v *model.RouteTable) []string { return []string{v.VPCID} })

	InternetGateways = store.NewTable[model.InternetGateway]("ec2", "InternetGateway").
				WithIndex(ByVPC, func(v *model.InternetGateway) []string { return nonEmpty(v.VPCID) })

	NatGateways = store.NewTable[model.NatGateway]("ec2", "NatGateway").
			WithIndex(ByVPC, func(v *model.NatGateway) []string { return []string{v.VPCID} })

	NetworkACLs = store.NewTable[model.NetworkACL]("ec2", "NetworkAcl").
			WithIndex(ByVPC, func(v *model.NetworkACL) []string { return []string{v.VPCID} })

	SecurityGroups = store.NewTable[model.SecurityGroup]("ec2", "SecurityGroup").
			WithIndex(ByVPC, func(v *model.SecurityGroup) []string { return []string{v.VPCID} })

	// NetworkInterfaces are made and removed through package eni alone.
	NetworkInterfaces = store.NewTable[model.NetworkInterface]("ec2", "NetworkInterface").
				WithIndex(ByVPC, func(v *model.NetworkInterface) []string { return []string{v.VPCID} }).
				WithIndex(BySubnet, func(v *model.NetworkInterface) []string { return []string{v.SubnetID} }).
				WithIndex(ByGroup, func(v *model.NetworkInterface) []string { return v.GroupIDs }).
				WithIndex(ByRequester, interfaceRequester)

	Addresses = store.NewTable[model.Address]("ec2", "Address")

	DHCPOptions = store.NewTable[model.DHCPOptions]("ec2", "DhcpOptions")

	PrefixLists = store.NewTable[model.PrefixList]("ec2", "PrefixList")

	KeyPairs = store.NewTable[model.KeyPair]("ec2", "KeyPair")

	// KeyPairNames hold the id of the pair with a name.
	KeyPairNames = store.NewTable[string]("ec2", "KeyPairName")

	ClientTokens = store.NewTable[model.ClientToken]("ec2", "ClientToken").
			WithIndex(ByDay, func(v *model.ClientToken) []string { return []string{v.At.UTC().Format(time.DateOnly)} })

	// SecurityGroupNames hold "<vpc>/<lower-case name>", so that names are
	// unique in a VPC.
	SecurityGroupNames = store.NewTable[string]("ec2", "SecurityGroupName")

	// PrivateAddressClaims hold "<subnet>/<address>".
	PrivateAddressClaims = store.NewTable[model.PrivateAddressClaim]("ec2", "PrivateAddressClaim")

	// PublicAddressClaims and PublicPools live under model.AmazonAccount.
	PublicAddressClaims = store.NewTable[model.PublicAddressClaim]("ec2", "PublicAddressClaim")
	PublicPools         = store.NewTable[model.PublicPool]("ec2", "PublicPool")

	// RegionDefaults hold one record a region.
	RegionDefaults = store.NewTable[model.RegionDefaults]("ec2", "RegionDefaults")
)

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func interfaceRequester(v *model.NetworkInterface) []string {
	if v.RequesterID == "" || v.RequesterID == v.Owner {
		return nil
	}
	return []string{v.RequesterID + "/" + v.Description}
}
