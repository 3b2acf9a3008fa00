package resourcegroupstaggingapi

import (
	"context"
	"strings"

	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// ec2Types are the types of EC2's taggable resources in ARNs, with what their
// ids begin with.
var ec2Types = map[string]string{
	"dhcp-options":        "dopt-",
	"elastic-ip":          "eipalloc-",
	"instance":            "i-",
	"internet-gateway":    "igw-",
	"key-pair":            "key-",
	"launch-template":     "lt-",
	"natgateway":          "nat-",
	"network-acl":         "acl-",
	"network-interface":   "eni-",
	"prefix-list":         "pl-",
	"route-table":         "rtb-",
	"security-group":      "sg-",
	"security-group-rule": "sgr-",
	"subnet":              "subnet-",
	"volume":              "vol-",
	"vpc":                 "vpc-",
}

var ec2Source = source{
	list: []lister{
		fromEC2(tables.DHCPOptions, "dhcp-options", func(v *model.DHCPOptions) (model.Tags, bool) { return v.Tags, v.Deleting }),
		fromEC2(tables.Addresses, "elastic-ip", func(v *model.Address) (model.Tags, bool) { return v.Tags, false }),
		fromEC2(tables.Instances, "instance", func(v *model.Instance) (model.Tags, bool) { return v.Tags, false }),
		fromEC2(tables.InternetGateways, "internet-gateway", func(v *model.InternetGateway) (model.Tags, bool) { return v.Tags, v.Deleting }),
		fromEC2(tables.KeyPairs, "key-pair", func(v *model.KeyPair) (model.Tags, bool) { return v.Tags, false }),
		fromEC2(tables.LaunchTemplates, "launch-template", func(v *model.LaunchTemplate) (model.Tags, bool) { return v.Tags, false }),
		fromEC2(tables.NatGateways, "natgateway", func(v *model.NatGateway) (model.Tags, bool) { return v.Tags, false }),
		fromEC2(tables.NetworkACLs, "network-acl", func(v *model.NetworkACL) (model.Tags, bool) { return v.Tags, v.Deleting }),
		fromEC2(tables.NetworkInterfaces, "network-interface", func(v *model.NetworkInterface) (model.Tags, bool) { return v.Tags, false }),
		fromEC2(tables.PrefixLists, "prefix-list", func(v *model.PrefixList) (model.Tags, bool) { return v.Tags, v.Deleting }),
		fromEC2(tables.RouteTables, "route-table", func(v *model.RouteTable) (model.Tags, bool) { return v.Tags, v.Deleting }),
		fromEC2(tables.SecurityGroups, "security-group", func(v *model.SecurityGroup) (model.Tags, bool) { return v.Tags, v.Deleting }),
		fromEC2(tables.Subnets, "subnet", func(v *model.Subnet) (model.Tags, bool) { return v.Tags, v.Deleting }),
		fromEC2(tables.VPCs, "vpc", func(v *model.VPC) (model.Tags, bool) { return v.Tags, v.Deleting }),
		rootVolumes,
		securityGroupRules,
	},
	tag: func(ctx context.Context, ops Operations, arn model.ARN, tags map[string]string) error {
		id, err := ec2ID(arn)
		if err != nil {
			return err
		}
		return does(ops.Invoke(ctx, "ec2", "CreateTags", &ec2.CreateTagsInput{Resources: []string{id}, Tags: tagList[ec2.Tag](tags)}))
	},
	untag: func(ctx context.Context, ops Operations, arn model.ARN, keys []string) error {
		id, err := ec2ID(arn)
		if err != nil {
			return err
		}
		in := &ec2.DeleteTagsInput{Resources: []string{id}}
		for _, k := range keys {
			in.Tags = append(in.Tags, ec2.Tag{Key: new(k)})
		}
		return does(ops.Invoke(ctx, "ec2", "DeleteTags", in))
	},
}

// ec2ID is the resource's id, by which EC2 tags.
func ec2ID(arn model.ARN) (string, error) {
	kind, id, _ := strings.Cut(arn.Resource, "/")
	prefix, known := ec2Types[kind]
	if !known {
		return "", errType
	}
	if !strings.HasPrefix(id, prefix) {
		return "", invalid("'%s' is not a valid ARN of a %s", arn, kind)
	}
	return id, nil
}

func fromEC2[T any](table *store.Table[T], kind string, of func(*T) (tags model.Tags, deleting bool)) lister {
	return from(table, func(v *T) model.Tags { t, _ := of(v); return t }, func(r store.Row[T]) string {
		if _, deleting := of(r.V); deleting {
			return ""
		}
		return model.MakeARN("ec2", r.Key.Region, r.Key.Account, kind+"/"+r.Key.ID)
	})
}

// rootVolumes lists volumes, which are part of their instances' records.
func rootVolumes(ctx context.Context, s store.Store, account, region string, yield func(resource)) error {
	instances, err := tables.Instances.List(ctx, s, store.Query{Account: account, Region: region})
	if err != nil {
		return err
	}
	for _, i := range instances {
		if v := &i.V.Spec.RootVolume; v.Tags != nil {
			yield(resource{model.MakeARN("ec2", region, account, "volume/"+v.ID), v.Tags})
		}
	}
	return nil
}

// securityGroupRules lists rules, which are part of their groups' records.
func securityGroupRules(ctx context.Context, s store.Store, account, region string, yield func(resource)) error {
	groups, err := tables.SecurityGroups.List(ctx, s, store.Query{Account: account, Region: region})
	if err != nil {
		return err
	}
	for _, g := range groups {
		for i := range g.V.Rules {
			if r := &g.V.Rules[i]; r.Tags != nil && !g.V.Deleting {
				yield(resource{model.MakeARN("ec2", region, account, "security-group-rule/"+r.ID), r.Tags})
			}
		}
	}
	return nil
}
