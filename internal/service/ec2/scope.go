package ec2

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/model"
)

var _ api.ResourceScoper = (*Service)(nil)

// scoped are the members of inputs that name resources, with the resource
// types of their ARNs.
var scoped = []struct{ member, resource string }{
	{"VpcId", typeVPC},
	{"SubnetId", typeSubnet},
	{"RouteTableId", typeRouteTab},
	{"InternetGatewayId", typeIGW},
	{"NatGatewayId", typeNAT},
	{"NetworkAclId", typeACL},
	{"GroupId", typeGroup},
	{"Groups", typeGroup},
	{"NetworkInterfaceId", typeInterface},
	{"AllocationId", typeAddress},
	{"DhcpOptionsId", typeDHCP},
}

// created are the types of resources that operations make.
var created = map[string]string{
	"CreateVpc": typeVPC, "CreateDefaultVpc": typeVPC, "CreateSubnet": typeSubnet, "CreateDefaultSubnet": typeSubnet,
	"CreateRouteTable": typeRouteTab, "CreateInternetGateway": typeIGW, "CreateNatGateway": typeNAT, "CreateNetworkAcl": typeACL,
	"CreateSecurityGroup": typeGroup, "CreateNetworkInterface": typeInterface, "AllocateAddress": typeAddress, "CreateDhcpOptions": typeDHCP,
}

// ScopeOf names the resources that an operation acts on. Operations that
// describe act on all: EC2 knows no resource-level permissions for them.
func (s *Service) ScopeOf(ctx context.Context, op *api.Operation, in any) ([]string, map[string]string) {
	if strings.HasPrefix(op.Name, "Describe") || strings.HasPrefix(op.Name, "Get") {
		return nil, nil
	}
	call := api.CallFrom(ctx)
	var arns []string
	add := func(resource, id string) {
		if id != "" {
			arns = append(arns, model.MakeARN("ec2", call.Region, call.Account, resource+"/"+id))
		}
	}
	v := reflect.ValueOf(in).Elem()
	if f := v.FieldByName("Resources"); f.IsValid() { // CreateTags and DeleteTags
		kinds := taggables()
		for _, id := range f.Interface().([]string) {
			if i := slices.IndexFunc(kinds, func(t taggable) bool { return strings.HasPrefix(id, t.noun.prefix+"-") }); i >= 0 {
				add(kinds[i].name, id)
			}
		}
	}
	for _, m := range scoped {
		// A route's targets are no resources of its operations.
		if strings.HasSuffix(op.Name, "Route") && m.resource != typeRouteTab {
			continue
		}
		f := v.FieldByName(m.member)
		if !f.IsValid() {
			continue
		}
		switch x := f.Interface().(type) {
		case *string:
			add(m.resource, deref(x))
		case []string:
			for _, id := range x {
				add(m.resource, id)
			}
		}
	}
	if resource, ok := created[op.Name]; ok {
		add(resource, "*")
	}
	return arns, nil
}
