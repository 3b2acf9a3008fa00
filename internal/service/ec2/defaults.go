package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/address"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// defaultCIDR is every default VPC's block.
var defaultCIDR = netip.MustParsePrefix("172.31.0.0/16")

var anywhere = netip.MustParsePrefix("0.0.0.0/0")

// EnsureDefaults makes the default VPC of an account's region, once: a user
// who deletes it is left without.
func (s *Service) EnsureDefaults(ctx context.Context, account, region string) error {
	_, err := tables.RegionDefaults.Get(ctx, s.store, account, region, "defaults")
	if err == nil {
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	tx := store.NewTxn()
	now := s.clock.Now()
	tables.RegionDefaults.Create(tx, account, region, "defaults", &model.RegionDefaults{CreatedAt: now})
	options := &model.DHCPOptions{
		ID: defaultDHCPOptionsID(account, region), Owner: account, CreatedAt: now,
		Options: map[string][]string{"domain-name": {model.PrivateDomain(region)}, "domain-name-servers": {"AmazonProvidedDNS"}},
	}
	tables.DHCPOptions.Put(tx, account, region, options.ID, options)
	defaultVPC(tx, account, region, now)
	if _, err := tx.Commit(ctx, s.store); err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("make the defaults of %s: %w", region, err)
	}
	return nil
}

// defaultVPC adds to tx a default VPC with a subnet in each zone and a way
// out.
func defaultVPC(tx *store.Txn, account, region string, now time.Time) *model.VPC {
	v, table := newVPC(tx, account, region, defaultCIDR, now, func(v *model.VPC) {
		v.IsDefault, v.EnableHostname = true, true
	})
	igw := &model.InternetGateway{ID: id.Resource("igw"), Owner: account, VPCID: v.ID, CreatedAt: now}
	tables.InternetGateways.Create(tx, account, region, igw.ID, igw)
	table.Routes = []model.Route{{Destination: anywhere, Origin: "CreateRoute", GatewayID: igw.ID}}
	tables.RouteTables.Create(tx, account, region, table.ID, table)
	for i, zone := range model.AvailabilityZones(region) {
		cidr := netip.PrefixFrom(address.Nth(defaultCIDR, i<<12), 20)
		sub := newSubnet(v, cidr, zone, now)
		sub.DefaultForAZ, sub.MapPublicIPOnLaunch = true, true
		tables.Subnets.Create(tx, account, region, sub.ID, sub)
	}
	return v
}

// newVPC adds to tx a VPC with what each one starts with. The main route
// table is returned for the caller to fill and add.
func newVPC(tx *store.Txn, account, region string, cidr netip.Prefix, now time.Time, set func(*model.VPC)) (*model.VPC, *model.RouteTable) {
	v := &model.VPC{
		ID: id.Resource("vpc"), Owner: account, CIDR: cidr,
		CIDRs:   []model.VPCCIDR{{AssociationID: id.Resource("vpc-cidr-assoc"), CIDR: cidr}},
		Tenancy: "default", EnableDNS: true,
		DHCPOptionsID:               defaultDHCPOptionsID(account, region),
		MainRouteTableID:            id.Resource("rtb"),
		MainRouteTableAssociationID: id.Resource("rtbassoc"),
		DefaultGroupID:              id.Resource("sg"),
		DefaultNetworkACLID:         id.Resource("acl"),
		CreatedAt:                   now,
	}
	set(v)
	tables.VPCs.Create(tx, account, region, v.ID, v)

	group := &model.SecurityGroup{
		ID: v.DefaultGroupID, Owner: account, VPCID: v.ID, Name: "default", Description: "default VPC security group", CreatedAt: now,
		Rules: []model.SecurityGroupRule{
			{ID: id.Resource("sgr"), Protocol: "-1", FromPort: -1, ToPort: -1, GroupID: v.DefaultGroupID, GroupOwner: account},
			allowAllEgress(),
		},
	}
	tables.SecurityGroups.Create(tx, account, region, group.ID, group)
	tables.SecurityGroupNames.Create(tx, account, region, groupName(v.ID, group.Name), &group.ID)

	acl := &model.NetworkACL{
		ID: v.DefaultNetworkACLID, Owner: account, VPCID: v.ID, IsDefault: true, CreatedAt: now,
		Entries: []model.NetworkACLEntry{
			{Number: 100, Allow: true, Protocol: "-1", CIDR: anywhere},
			{Number: 100, Allow: true, Egress: true, Protocol: "-1", CIDR: anywhere},
		},
	}
	tables.NetworkACLs.Create(tx, account, region, acl.ID, acl)
	return v, &model.RouteTable{ID: v.MainRouteTableID, Owner: account, VPCID: v.ID, CreatedAt: now}
}

func allowAllEgress() model.SecurityGroupRule {
	return model.SecurityGroupRule{ID: id.Resource("sgr"), Egress: true, Protocol: "-1", FromPort: -1, ToPort: -1, CIDR: anywhere}
}

// defaultDHCPOptionsID is the id of a region's default options.
func defaultDHCPOptionsID(account, region string) string {
	sum := sha256.Sum256([]byte(account + "/" + region))
	return "dopt-" + hex.EncodeToString(sum[:])[:17]
}

func newSubnet(v *model.VPC, cidr netip.Prefix, zone model.AvailabilityZone, now time.Time) *model.Subnet {
	return &model.Subnet{
		ID: id.Resource("subnet"), Owner: v.Owner, VPCID: v.ID, CIDR: cidr, Zone: zone.Name, ZoneID: zone.ID,
		HostnameType: "ip-name", NetworkACLID: v.DefaultNetworkACLID, NetworkACLAssociationID: id.Resource("aclassoc"), CreatedAt: now,
	}
}
