package ec2

import (
	"context"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Resource types of tags.
const (
	typeVPC       = "vpc"
	typeSubnet    = "subnet"
	typeRouteTab  = "route-table"
	typeIGW       = "internet-gateway"
	typeNAT       = "natgateway"
	typeACL       = "network-acl"
	typeGroup     = "security-group"
	typeRule      = "security-group-rule"
	typeInterface = "network-interface"
	typeAddress   = "elastic-ip"
	typeDHCP      = "dhcp-options"
	typeKey       = "key-pair"

	typePrefixList = "prefix-list"
	typeInstance   = "instance"
	typeVolume     = "volume"
	typeTemplate   = "launch-template"
)

// tagsFor are the tags that a creation gives to resources of the type.
func tagsFor(resourceType string, specs []ec2.TagSpecification) (model.Tags, error) {
	tags := model.Tags{}
	for _, spec := range specs {
		switch {
		case spec.ResourceType == "":
			return nil, invalidValue("Tag specification resource type must have a value")
		case string(spec.ResourceType) != resourceType:
			return nil, invalidValue("'%s' is not a valid taggable resource type for this operation.", spec.ResourceType)
		case len(spec.Tags) == 0:
			return nil, invalidValue("Tag specification must have at least one tag")
		}
		if err := addTags(tags, spec.Tags); err != nil {
			return nil, err
		}
	}
	if len(tags) == 0 {
		return nil, nil
	}
	return tags, nil
}

func addTags(tags model.Tags, more []ec2.Tag) error {
	seen := map[string]bool{}
	for _, t := range more {
		k, v := deref(t.Key), deref(t.Value)
		switch {
		case seen[k]:
			return invalidValue("Duplicate tag key '%s' specified.", k)
		case k == "":
			return invalidValue("Tag keys cannot be empty")
		case utf8.RuneCountInString(k) > 127:
			return invalidValue("Tag key exceeds the maximum length of 127 characters")
		case utf8.RuneCountInString(v) > 256:
			return invalidValue("Tag value exceeds the maximum length of 256 characters")
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return invalidValue("Tag keys starting with 'aws:' are reserved for internal use")
		}
		seen[k] = true
		tags[k] = v
	}
	if len(tags) > 50 {
		return api.NewFault("TagLimitExceeded", "You have reached the maximum number of tags: 50")
	}
	return nil
}

func tagsOut(tags model.Tags) []ec2.Tag {
	out := make([]ec2.Tag, 0, len(tags))
	for k, v := range tags {
		out = append(out, ec2.Tag{Key: new(k), Value: new(v)})
	}
	sort.Slice(out, func(i, j int) bool { return *out[i].Key < *out[j].Key })
	return out
}

// taggable is how the tags of a kind of resources are reached by id.
type taggable struct {
	noun noun
	name string // the resource type
	list func(ctx context.Context, s *Service, call *api.Call) (map[string]model.Tags, error)
	// find fails when there is no resource with the id.
	find   func(ctx context.Context, s *Service, call *api.Call, id string) error
	change func(ctx context.Context, s *Service, call *api.Call, id string, f func(model.Tags) error) error
}

func taggableOf[T any](k kind[T], name string, at func(*T) *model.Tags) taggable {
	return taggable{
		noun: k.noun, name: name,
		list: func(ctx context.Context, s *Service, call *api.Call) (map[string]model.Tags, error) {
			found, err := k.all(ctx, s, call)
			out := map[string]model.Tags{}
			for _, v := range found {
				out[k.id(v)] = *at(v)
			}
			return out, err
		},
		find: func(ctx context.Context, s *Service, call *api.Call, id string) error {
			_, err := k.get(ctx, s, call, id)
			return err
		},
		change: func(ctx context.Context, s *Service, call *api.Call, id string, f func(model.Tags) error) error {
			_, err := k.table.Update(ctx, s.store, call.Account, call.Region, id, func(v *T) error {
				if k.hidden != nil && k.hidden(v) {
					return store.ErrNotFound
				}
				p := at(v)
				if *p == nil {
					*p = model.Tags{}
				}
				return f(*p)
			})
			return k.noun.orMissing(err, id)
		},
	}
}

// ruleTags reaches the tags of rules, which are stored within their groups.
var ruleTags = taggable{
	noun: nounRule, name: typeRule,
	list: func(ctx context.Context, s *Service, call *api.Call) (map[string]model.Tags, error) {
		groups, err := groups.all(ctx, s, call)
		out := map[string]model.Tags{}
		for _, g := range groups {
			for _, r := range g.Rules {
				out[r.ID] = r.Tags
			}
		}
		return out, err
	},
	find: func(ctx context.Context, s *Service, call *api.Call, id string) error {
		all, err := groups.all(ctx, s, call)
		if err == nil && !slices.ContainsFunc(all, func(g *model.SecurityGroup) bool {
			return slices.ContainsFunc(g.Rules, func(r model.SecurityGroupRule) bool { return r.ID == id })
		}) {
			err = nounRule.missing(id)
		}
		return err
	},
	change: func(ctx context.Context, s *Service, call *api.Call, id string, f func(model.Tags) error) error {
		all, err := groups.all(ctx, s, call)
		if err != nil {
			return err
		}
		for _, g := range all {
			if !slices.ContainsFunc(g.Rules, func(r model.SecurityGroupRule) bool { return r.ID == id }) {
				continue
			}
			_, err := tables.SecurityGroups.Update(ctx, s.store, call.Account, call.Region, g.ID, func(g *model.SecurityGroup) error {
				for i := range g.Rules {
					if r := &g.Rules[i]; r.ID == id {
						if r.Tags == nil {
							r.Tags = model.Tags{}
						}
						return f(r.Tags)
					}
				}
				return store.ErrNotFound
			})
			return nounRule.orMissing(err, id)
		}
		return nounRule.missing(id)
	},
}

func taggables() []taggable {
	return []taggable{
		taggableOf(vpcs, typeVPC, func(v *model.VPC) *model.Tags { return &v.Tags }),
		taggableOf(subnets, typeSubnet, func(v *model.Subnet) *model.Tags { return &v.Tags }),
		taggableOf(routeTables, typeRouteTab, func(v *model.RouteTable) *model.Tags { return &v.Tags }),
		taggableOf(internetGateways, typeIGW, func(v *model.InternetGateway) *model.Tags { return &v.Tags }),
		taggableOf(natGateways, typeNAT, func(v *model.NatGateway) *model.Tags { return &v.Tags }),
		taggableOf(networkACLs, typeACL, func(v *model.NetworkACL) *model.Tags { return &v.Tags }),
		taggableOf(groups, typeGroup, func(v *model.SecurityGroup) *model.Tags { return &v.Tags }),
		taggableOf(interfaces, typeInterface, func(v *model.NetworkInterface) *model.Tags { return &v.Tags }),
		taggableOf(addresses, typeAddress, func(v *model.Address) *model.Tags { return &v.Tags }),
		taggableOf(dhcpOptions, typeDHCP, func(v *model.DHCPOptions) *model.Tags { return &v.Tags }),
		taggableOf(keyPairs, typeKey, func(v *model.KeyPair) *model.Tags { return &v.Tags }),
		taggableOf(prefixLists, typePrefixList, func(v *model.PrefixList) *model.Tags { return &v.Tags }),
		instanceTags(), volumeTags,
		taggableOf(launchTemplates, typeTemplate, func(v *model.LaunchTemplate) *model.Tags { return &v.Tags }),
		ruleTags,
	}
}

// changeTags calls f with the tags of each resource, once all of them are
// found to be there.
func (s *Service) changeTags(ctx context.Context, call *api.Call, ids []string, f func(tags model.Tags) error) error {
	all, kinds := taggables(), make([]taggable, len(ids))
	for n, id := range ids {
		i := slices.IndexFunc(all, func(t taggable) bool { return strings.HasPrefix(id, t.noun.prefix+"-") })
		if i < 0 {
			return api.NewFault("InvalidID", "The ID '%s' is not valid", id)
		}
		kinds[n] = all[i]
		if err := kinds[n].find(ctx, s, call, id); err != nil {
			return err
		}
	}
	for n, id := range ids {
		if err := kinds[n].change(ctx, s, call, id, f); err != nil {
			return err
		}
	}
	return nil
}

// CreateTags adds or overwrites tags of resources.
func (s *Service) CreateTags(ctx context.Context, in *ec2.CreateTagsInput) (*ec2.CreateTagsOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	return &ec2.CreateTagsOutput{}, s.changeTags(ctx, call, in.Resources, func(tags model.Tags) error { return addTags(tags, in.Tags) })
}

// DeleteTags removes tags: all of them when none is named, and one with a
// value only if it has that value.
func (s *Service) DeleteTags(ctx context.Context, in *ec2.DeleteTagsInput) (*ec2.DeleteTagsOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	return &ec2.DeleteTagsOutput{}, s.changeTags(ctx, call, in.Resources, func(tags model.Tags) error {
		if len(in.Tags) == 0 {
			clear(tags)
		}
		for _, tag := range in.Tags {
			if k := deref(tag.Key); tag.Value == nil || tags[k] == *tag.Value {
				delete(tags, k)
			}
		}
		return nil
	})
}

// tagged is one tag of one resource.
type tagged struct{ id, resourceType, key, value string }

// DescribeTags lists tags.
func (s *Service) DescribeTags(ctx context.Context, in *ec2.DescribeTagsInput) (*ec2.DescribeTagsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	var all []*tagged
	for _, t := range taggables() {
		byID, err := t.list(ctx, s, call)
		if err != nil {
			return nil, err
		}
		for id, tags := range byID {
			for k, v := range tags {
				all = append(all, &tagged{id, t.name, k, v})
			}
		}
	}
	found, next, err := selectPage(call, all, query{op: "DescribeTags", filters: in.Filters, max: in.MaxResults, token: in.NextToken},
		func(t *tagged) string { return t.id + "\x00" + t.key },
		func(t *tagged) model.Tags { return model.Tags{t.key: t.value} },
		func(t *tagged, name string) ([]string, bool) {
			switch name {
			case "key":
				return one(t.key)
			case "value":
				return one(t.value)
			case "resource-id":
				return one(t.id)
			case "resource-type":
				return one(t.resourceType)
			}
			return nil, false
		})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeTagsOutput{NextToken: next}
	for _, t := range found {
		out.Tags = append(out.Tags, ec2.TagDescription{
			Key: new(t.key), Value: new(t.value), ResourceId: new(t.id), ResourceType: ec2.ResourceType(t.resourceType),
		})
	}
	return out, nil
}
