package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// resourceTagKey begins the condition keys of a resource's tags.
const resourceTagKey = "resourcetag/"

// asksForResourceTags tells whether a policy of the set speaks of the tags of
// the resource asked for. Only then are they read.
func asksForResourceTags(set *policy.Set) bool {
	lists := [][]policy.Named{set.Identity, set.Session}
	if set.Boundary != nil {
		lists = append(lists, []policy.Named{*set.Boundary})
	}
	if set.Resource != nil {
		lists = append(lists, []policy.Named{*set.Resource})
	}
	for _, list := range lists {
		for _, n := range list {
			for i := range n.Statements {
				for _, k := range n.Statements[i].Keys {
					if _, rest, ok := strings.Cut(strings.ToLower(k), ":"); ok && strings.HasPrefix(rest, resourceTagKey) {
						return true
					}
				}
			}
		}
	}
	return false
}

// addResourceTags sets the tags of the resource asked for, in place of those
// of another one that was asked for before; given are keys that the request
// brought with it, and that stay.
func (d *Directory) addResourceTags(ctx context.Context, req *policy.Request, given map[string]string) error {
	for k := range req.Context {
		if _, rest, _ := strings.Cut(k, ":"); strings.HasPrefix(rest, resourceTagKey) {
			delete(req.Context, k)
		}
	}
	service := ""
	if a, err := model.ParseARN(req.Resource); err == nil {
		service = a.Service
		tags, err := d.tagsOf(ctx, a)
		if err != nil {
			return fmt.Errorf("tags of %s: %w", req.Resource, err)
		}
		for k, v := range tags {
			req.Context.Set("aws:ResourceTag/"+k, v)
			req.Context.Set(service+":ResourceTag/"+k, v)
		}
	}
	for k, v := range given {
		if _, rest, _ := strings.Cut(strings.ToLower(k), ":"); strings.HasPrefix(rest, resourceTagKey) {
			req.Context.Set(k, v)
		}
	}
	return nil
}

// tagsOf are the tags of a resource, none where it is not known.
func (d *Directory) tagsOf(ctx context.Context, a model.ARN) (model.Tags, error) {
	kind, id, _ := strings.Cut(a.Resource, "/")
	read := taggedTypes[a.Service+"/"+kind]
	switch a.Service {
	case "logs":
		read, id = taggedTypes["logs"], strings.TrimSuffix(strings.TrimPrefix(a.Resource, "log-group:"), ":*")
		id, _, _ = strings.Cut(id, ":")
	case "secretsmanager":
		read, id = taggedTypes["secretsmanager"], secretName(a)
	case "autoscaling": // autoScalingGroup:<id>:autoScalingGroupName/<name>
		read = autoScalingTags
	case "iam":
		id = id[strings.LastIndexByte(id, '/')+1:]
	}
	if read == nil || id == "" || strings.ContainsAny(id, "*?") {
		return nil, nil
	}
	tags, err := read(ctx, d.store, a, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return tags, err
}

// secretName is the name in a secret's ARN: what comes before the suffix.
func secretName(a model.ARN) string {
	name := strings.TrimPrefix(a.Resource, "secret:")
	if i := strings.LastIndexByte(name, '-'); i > 0 && len(name)-i == 7 {
		return name[:i]
	}
	return name
}

// tagReader reads the tags of one type of resource by what follows the type in
// its ARN.
type tagReader func(ctx context.Context, s store.Store, a model.ARN, id string) (model.Tags, error)

// tagged reads a table whose records' ids follow from ARNs by key; nil takes
// them as they are.
func tagged[T any](table *store.Table[T], tags func(*T) model.Tags, key func(a model.ARN, id string) string) tagReader {
	return func(ctx context.Context, s store.Store, a model.ARN, id string) (model.Tags, error) {
		if key != nil {
			if id = key(a, id); id == "" {
				return nil, nil
			}
		}
		row, err := table.Get(ctx, s, a.Account, a.Region, id)
		if err != nil {
			return nil, err
		}
		return tags(row.V), nil
	}
}

// byARN turns a function of a whole ARN into a key.
func byARN(id func(arn string) string) func(model.ARN, string) string {
	return func(a model.ARN, _ string) string { return id(a.String()) }
}

func lower(_ model.ARN, id string) string { return strings.ToLower(id) }

func taskDefinitionID(a model.ARN, _ string) string {
	id, _ := model.TaskDefinitionIDFromARN(a.String())
	return id
}

// autoScalingTags reads an Auto Scaling group's tags.
func autoScalingTags(ctx context.Context, s store.Store, a model.ARN, name string) (model.Tags, error) {
	row, err := tables.AutoScalingGroups.Get(ctx, s, a.Account, a.Region, name)
	if err != nil {
		return nil, err
	}
	tags := model.Tags{}
	for _, t := range row.V.Tags {
		tags[t.Key] = t.Value
	}
	return tags, nil
}

// parameterTags reads a parameter's tags; its name may begin with a slash that
// the ARN does not show.
func parameterTags(ctx context.Context, s store.Store, a model.ARN, id string) (model.Tags, error) {
	row, err := tables.Parameters.Get(ctx, s, a.Account, a.Region, "/"+id)
	if errors.Is(err, store.ErrNotFound) {
		row, err = tables.Parameters.Get(ctx, s, a.Account, a.Region, id)
	}
	if err != nil {
		return nil, err
	}
	return row.V.Tags, nil
}

// loadBalancerTags reads the tags of a load balancer; classic ones are named in
// their ARNs.
func loadBalancerTags(ctx context.Context, s store.Store, a model.ARN, _ string) (model.Tags, error) {
	id := model.LoadBalancerID(a.String())
	if name := model.ClassicName(a.String()); name != "" {
		held, err := tables.ELBNames.Get(ctx, s, a.Account, a.Region, "classic/"+name)
		if err != nil {
			return nil, err
		}
		id = held.V.ID
	}
	row, err := tables.LoadBalancers.Get(ctx, s, a.Account, a.Region, id)
	if err != nil {
		return nil, err
	}
	return row.V.Tags, nil
}

// groupRuleTags reads the tags of a security group's rule, which is part of its
// group's record.
func groupRuleTags(ctx context.Context, s store.Store, a model.ARN, id string) (model.Tags, error) {
	groups, err := tables.SecurityGroups.List(ctx, s, store.Query{Account: a.Account, Region: a.Region})
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		for i := range g.V.Rules {
			if g.V.Rules[i].ID == id {
				return g.V.Rules[i].Tags, nil
			}
		}
	}
	return nil, nil
}

// taggedTypes are the types whose tags conditions can ask for, by the service
// and the type in ARNs.
var taggedTypes = map[string]tagReader{
	"acm/certificate": tagged(tables.Certificates, func(v *model.Certificate) model.Tags { return v.Tags }, nil),

	"ec2/dhcp-options":        tagged(tables.DHCPOptions, func(v *model.DHCPOptions) model.Tags { return v.Tags }, nil),
	"ec2/elastic-ip":          tagged(tables.Addresses, func(v *model.Address) model.Tags { return v.Tags }, nil),
	"ec2/internet-gateway":    tagged(tables.InternetGateways, func(v *model.InternetGateway) model.Tags { return v.Tags }, nil),
	"ec2/key-pair":            tagged(tables.KeyPairs, func(v *model.KeyPair) model.Tags { return v.Tags }, nil),
	"ec2/natgateway":          tagged(tables.NatGateways, func(v *model.NatGateway) model.Tags { return v.Tags }, nil),
	"ec2/network-acl":         tagged(tables.NetworkACLs, func(v *model.NetworkACL) model.Tags { return v.Tags }, nil),
	"ec2/network-interface":   tagged(tables.NetworkInterfaces, func(v *model.NetworkInterface) model.Tags { return v.Tags }, nil),
	"ec2/prefix-list":         tagged(tables.PrefixLists, func(v *model.PrefixList) model.Tags { return v.Tags }, nil),
	"ec2/route-table":         tagged(tables.RouteTables, func(v *model.RouteTable) model.Tags { return v.Tags }, nil),
	"ec2/security-group":      tagged(tables.SecurityGroups, func(v *model.SecurityGroup) model.Tags { return v.Tags }, nil),
	"ec2/security-group-rule": groupRuleTags,
	"ec2/subnet":              tagged(tables.Subnets, func(v *model.Subnet) model.Tags { return v.Tags }, nil),
	"ec2/vpc":                 tagged(tables.VPCs, func(v *model.VPC) model.Tags { return v.Tags }, nil),

	"ecr/repository": tagged(tables.ECRRepositories, func(v *model.ECRRepository) model.Tags { return v.Tags }, nil),

	"ecs/cluster":         tagged(tables.ECSClusters, func(v *model.Cluster) model.Tags { return v.Tags }, nil),
	"ecs/service":         tagged(tables.ECSServices, func(v *model.Service) model.Tags { return v.Tags }, nil),
	"ecs/task":            tagged(tables.ECSTasks, func(v *model.Task) model.Tags { return v.Tags }, nil),
	"ecs/task-definition": tagged(tables.ECSTaskDefinitions, func(v *model.TaskDefinition) model.Tags { return v.Tags }, taskDefinitionID),

	"elasticloadbalancing/loadbalancer":  loadBalancerTags,
	"elasticloadbalancing/targetgroup":   tagged(tables.TargetGroups, func(v *model.TargetGroup) model.Tags { return v.Tags }, byARN(model.TargetGroupID)),
	"elasticloadbalancing/listener":      tagged(tables.Listeners, func(v *model.Listener) model.Tags { return v.Tags }, byARN(model.ListenerID)),
	"elasticloadbalancing/listener-rule": tagged(tables.Rules, func(v *model.Rule) model.Tags { return v.Tags }, byARN(model.RuleID)),
	"elasticloadbalancing/truststore":    tagged(tables.TrustStores, func(v *model.TrustStore) model.Tags { return v.Tags }, byARN(model.TrustStoreID)),

	"iam/instance-profile":   tagged(tables.InstanceProfiles, func(v *model.InstanceProfile) model.Tags { return v.Tags }, lower),
	"iam/policy":             tagged(tables.Policies, func(v *model.Policy) model.Tags { return v.Tags }, lower),
	"iam/role":               tagged(tables.Roles, func(v *model.Role) model.Tags { return v.Tags }, lower),
	"iam/server-certificate": tagged(tables.ServerCertificates, func(v *model.ServerCertificate) model.Tags { return v.Tags }, lower),
	"iam/user":               tagged(tables.Users, func(v *model.User) model.Tags { return v.Tags }, lower),

	"logs":           tagged(tables.LogGroups, func(v *model.LogGroup) model.Tags { return v.Tags }, nil),
	"secretsmanager": tagged(tables.Secrets, func(v *model.Secret) model.Tags { return v.Tags }, nil),
	"ssm/parameter":  parameterTags,
}
