package ec2

import (
	"context"
	"slices"
	"sort"

	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

var dhcpOptions = kind[model.DHCPOptions]{
	noun: nounDHCP, table: tables.DHCPOptions,
	id:     func(v *model.DHCPOptions) string { return v.ID },
	tags:   func(v *model.DHCPOptions) model.Tags { return v.Tags },
	hidden: func(v *model.DHCPOptions) bool { return v.Deleting },
	field: func(v *model.DHCPOptions, name string) ([]string, bool) {
		var out []string
		switch name {
		case "dhcp-options-id":
			return one(v.ID)
		case "owner-id":
			return one(v.Owner)
		case "key":
			for k := range v.Options {
				out = append(out, k)
			}
			return out, true
		case "value":
			for _, values := range v.Options {
				out = append(out, values...)
			}
			return out, true
		}
		return nil, false
	},
}

func dhcpOut(v *model.DHCPOptions) *ec2.DhcpOptions {
	out := &ec2.DhcpOptions{DhcpOptionsId: new(v.ID), OwnerId: new(v.Owner), Tags: tagsOut(v.Tags)}
	for k, values := range v.Options {
		c := ec2.DhcpConfiguration{Key: new(k)}
		for _, x := range values {
			c.Values = append(c.Values, ec2.AttributeValue{Value: new(x)})
		}
		out.DhcpConfigurations = append(out.DhcpConfigurations, c)
	}
	sort.Slice(out.DhcpConfigurations, func(i, j int) bool { return *out.DhcpConfigurations[i].Key < *out.DhcpConfigurations[j].Key })
	return out
}

// CreateDhcpOptions makes a set of options.
func (s *Service) CreateDhcpOptions(ctx context.Context, in *ec2.CreateDhcpOptionsInput) (*ec2.CreateDhcpOptionsOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	tags, err := tagsFor(typeDHCP, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	known := []string{"domain-name", "domain-name-servers", "ntp-servers", "netbios-name-servers", "netbios-node-type", "ipv6-address-preferred-lease-time"}
	v := &model.DHCPOptions{ID: id.Resource("dopt"), Owner: call.Account, Options: map[string][]string{}, Tags: tags, CreatedAt: call.Time}
	for _, c := range in.DhcpConfigurations {
		k := deref(c.Key)
		if !slices.Contains(known, k) {
			return nil, invalidValue("Value (%s) for parameter name is invalid. Unknown DHCP option", k)
		}
		v.Options[k] = c.Values
	}
	if len(v.Options) == 0 {
		return nil, required("dhcpConfiguration")
	}
	tx := store.NewTxn()
	tables.DHCPOptions.Create(tx, call.Account, call.Region, v.ID, v)
	if _, err := tx.Commit(ctx, s.store); err != nil {
		return nil, err
	}
	return &ec2.CreateDhcpOptionsOutput{DhcpOptions: dhcpOut(v)}, nil
}

// DescribeDhcpOptions lists sets of options.
func (s *Service) DescribeDhcpOptions(ctx context.Context, in *ec2.DescribeDhcpOptionsInput) (*ec2.DescribeDhcpOptionsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	found, next, err := dhcpOptions.describe(ctx, s, call, query{"DescribeDhcpOptions", in.DhcpOptionsIds, in.Filters, in.MaxResults, in.NextToken})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeDhcpOptionsOutput{NextToken: next}
	for _, v := range found {
		out.DhcpOptions = append(out.DhcpOptions, *dhcpOut(v))
	}
	return out, nil
}

// DeleteDhcpOptions deletes a set that no VPC uses.
func (s *Service) DeleteDhcpOptions(ctx context.Context, in *ec2.DeleteDhcpOptionsInput) (*ec2.DeleteDhcpOptionsOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	did := deref(in.DhcpOptionsId)
	row, err := tables.DHCPOptions.Get(ctx, s.store, call.Account, call.Region, did)
	if err != nil {
		return nil, nounDHCP.orMissing(err, did)
	}
	err = inUse(ctx, s, tables.DHCPOptions, row, func(v *model.DHCPOptions) *bool { return &v.Deleting }, func() error {
		n, err := countRows(ctx, s, tables.VPCs, store.Query{Account: call.Account, Region: call.Region}, func(v *model.VPC) bool { return v.DHCPOptionsID == did })
		if err == nil && n > 0 {
			err = nounDHCP.hasDependencies(did)
		}
		return err
	}, nil)
	return &ec2.DeleteDhcpOptionsOutput{}, err
}

// AssociateDhcpOptions makes a VPC use a set; "default" means none.
func (s *Service) AssociateDhcpOptions(ctx context.Context, in *ec2.AssociateDhcpOptionsInput) (*ec2.AssociateDhcpOptionsOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	err = retry(func() error {
		vpc, err := vpcs.get(ctx, s, call, deref(in.VpcId))
		if err != nil {
			return err
		}
		tx := store.NewTxn()
		did := deref(in.DhcpOptionsId)
		if did != "default" {
			row, err := dhcpOptions.get(ctx, s, call, did)
			if err != nil {
				return err
			}
			tables.DHCPOptions.Check(tx, row)
		}
		v := vpc.Copy()
		v.DHCPOptionsID = did
		tables.VPCs.Replace(tx, vpc, v)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	return &ec2.AssociateDhcpOptionsOutput{}, err
}
