package ec2

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
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
	{"KeyName", typeKey},
	{"PrefixListId", typePrefixList},
	{"InstanceId", typeInstance},
	{"InstanceIds", typeInstance},
	{"SecurityGroupIds", typeGroup},
	{"LaunchTemplateId", typeTemplate},
}

// created are the types of resources that operations make.
var created = map[string]string{
	"CreateVpc": typeVPC, "CreateDefaultVpc": typeVPC, "CreateSubnet": typeSubnet, "CreateDefaultSubnet": typeSubnet,
	"CreateRouteTable": typeRouteTab, "CreateInternetGateway": typeIGW, "CreateNatGateway": typeNAT, "CreateNetworkAcl": typeACL,
	"CreateSecurityGroup": typeGroup, "CreateNetworkInterface": typeInterface, "AllocateAddress": typeAddress, "CreateDhcpOptions": typeDHCP,
	"CreateKeyPair": typeKey, "ImportKeyPair": typeKey, "CreateManagedPrefixList": typePrefixList,
	"RunInstances": typeInstance, "CreateLaunchTemplate": typeTemplate,
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
	s.addNamed(ctx, call, in, add)
	if resource, ok := created[op.Name]; ok {
		add(resource, "*")
	}
	return arns, nil
}

// addNamed finds the resources that an input names by something else than
// their id.
func (s *Service) addNamed(ctx context.Context, call *api.Call, in any, add func(resource, id string)) {
	member := func(name string) *string {
		f := reflect.ValueOf(in).Elem().FieldByName(name)
		if !f.IsValid() {
			return nil
		}
		p, _ := reflect.TypeAssert[*string](f)
		return p
	}
	association := deref(member("AssociationId"))
	switch in.(type) {
	case *ec2.AuthorizeSecurityGroupIngressInput, *ec2.RevokeSecurityGroupIngressInput, *ec2.DeleteSecurityGroupInput,
		*ec2.UpdateSecurityGroupRuleDescriptionsIngressInput, *ec2.UpdateSecurityGroupRuleDescriptionsEgressInput:
		if row, err := s.groupBy(ctx, call, nil, member("GroupName")); err == nil && member("GroupId") == nil {
			add(typeGroup, row.V.ID)
		}
	case *ec2.DeleteLaunchTemplateInput, *ec2.DeleteLaunchTemplateVersionsInput, *ec2.ModifyLaunchTemplateInput, *ec2.CreateLaunchTemplateVersionInput:
		if row, err := s.template(ctx, call, nil, member("LaunchTemplateName")); err == nil && member("LaunchTemplateId") == nil {
			add(typeTemplate, row.V.ID)
		}
	case *ec2.ReplaceIamInstanceProfileAssociationInput, *ec2.DisassociateIamInstanceProfileInput:
		if v, err := s.associated(ctx, call, association); err == nil {
			add(typeInstance, v.ID)
		}
	case *ec2.DeleteKeyPairInput:
		if row, err := keyPairs.get(ctx, s, call, deref(member("KeyPairId"))); err == nil {
			add(typeKey, row.V.Name)
		}
	case *ec2.ReleaseAddressInput, *ec2.AssociateAddressInput:
		if row, err := s.addressBy(ctx, call, nil, member("PublicIp")); err == nil && member("AllocationId") == nil {
			add(typeAddress, row.V.ID)
		}
	case *ec2.DisassociateAddressInput:
		all, err := addresses.all(ctx, s, call)
		for i := range all {
			if a := all[i]; err == nil && a.AssociationID != "" && (a.AssociationID == association || association == "" && a.PublicIP.String() == deref(member("PublicIp"))) {
				add(typeAddress, a.ID)
				add(typeInterface, a.NetworkInterfaceID)
			}
		}
	case *ec2.DisassociateRouteTableInput, *ec2.ReplaceRouteTableAssociationInput, *ec2.ReplaceNetworkAclAssociationInput, *ec2.DisassociateVpcCidrBlockInput:
		if around, err := s.around(ctx, call); err == nil && association != "" {
			addAssociated(around, association, add)
		}
	}
}

// addAssociated adds what an association of a route table, a network ACL or a
// block of a VPC joins.
func addAssociated(around *surroundings, association string, add func(resource, id string)) {
	for _, v := range around.vpcs {
		if v.MainRouteTableAssociationID == association {
			add(typeRouteTab, v.MainRouteTableID)
		}
		if slices.ContainsFunc(v.CIDRs, func(c model.VPCCIDR) bool { return c.AssociationID == association }) {
			add(typeVPC, v.ID)
		}
	}
	for _, sub := range around.subnets {
		switch association {
		case sub.RouteTableAssociationID:
			add(typeRouteTab, sub.RouteTableID)
			add(typeSubnet, sub.ID)
		case sub.NetworkACLAssociationID:
			add(typeACL, sub.NetworkACLID)
			add(typeSubnet, sub.ID)
		}
	}
}
