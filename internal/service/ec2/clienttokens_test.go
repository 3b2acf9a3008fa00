package ec2_test

import (
	"strings"
	"testing"
	"time"

	api2 "roadstead.dev/internal/api/ec2"
)

// A request that comes again with its token makes nothing new, and another
// one with that token is refused.
func TestClientTokens(t *testing.T) {
	w := newWorld(t)
	v, other := w.vpc("10.0.0.0/16"), w.vpc("10.1.0.0/16")
	sub := w.subnet(v, "10.0.0.0/24")
	w.gateway(v)
	eip := must[*api2.AllocateAddressOutput](t)(w.AllocateAddress(w.ctx, &api2.AllocateAddressInput{})).AllocationId
	long := strings.Repeat("x", 65)
	// Each makes a resource with a token, as the first request or as one that
	// differs, and returns the resource's id.
	creations := map[string]func(token *string, differs bool) (string, error){
		"CreateRouteTable": func(token *string, differs bool) (string, error) {
			out, err := w.CreateRouteTable(w.ctx, &api2.CreateRouteTableInput{VpcId: either(differs, &other, &v), ClientToken: token})
			if err != nil {
				return "", err
			}
			return *out.RouteTable.RouteTableId, nil
		},
		"CreateNetworkAcl": func(token *string, differs bool) (string, error) {
			out, err := w.CreateNetworkAcl(w.ctx, &api2.CreateNetworkAclInput{VpcId: either(differs, &other, &v), ClientToken: token})
			if err != nil {
				return "", err
			}
			return *out.NetworkAcl.NetworkAclId, nil
		},
		"CreateNetworkInterface": func(token *string, differs bool) (string, error) {
			out, err := w.CreateNetworkInterface(w.ctx, &api2.CreateNetworkInterfaceInput{SubnetId: &sub, Description: either(differs, new("b"), new("a")), ClientToken: token})
			if err != nil {
				return "", err
			}
			return *out.NetworkInterface.NetworkInterfaceId, nil
		},
		"CreateNatGateway": func(token *string, differs bool) (string, error) {
			out, err := w.CreateNatGateway(w.ctx, &api2.CreateNatGatewayInput{SubnetId: &sub, AllocationId: eip, PrivateIpAddress: either(differs, new("10.0.0.9"), nil), ClientToken: token})
			if err != nil {
				return "", err
			}
			return *out.NatGateway.NatGatewayId, nil
		},
		"CreateManagedPrefixList": func(token *string, differs bool) (string, error) {
			out, err := w.CreateManagedPrefixList(w.ctx, &api2.CreateManagedPrefixListInput{
				PrefixListName: either(differs, new("b"), new("a")), AddressFamily: new("IPv4"), MaxEntries: new(int32(1)), ClientToken: token,
			})
			if err != nil {
				return "", err
			}
			return *out.PrefixList.PrefixListId, nil
		},
	}
	for name, create := range creations {
		t.Run(name, func(t *testing.T) {
			one := must[string](t)(create(new("t"), false))
			if two := must[string](t)(create(new("t"), false)); one != two {
				t.Error("the same request made another resource")
			}
			_, err := create(new("t"), true)
			fails(t, err, "IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
			_, err = create(&long, false)
			fails(t, err, "InvalidParameterValue", "")
		})
	}
}

// A token is forgotten after a day, and with its resource.
func TestClientTokensAreForgotten(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	in := &api2.CreateRouteTableInput{VpcId: &v, ClientToken: new("t")}
	create := func() string {
		t.Helper()
		return *must[*api2.CreateRouteTableOutput](t)(w.CreateRouteTable(w.ctx, in)).RouteTable.RouteTableId
	}
	first := create()
	must[*api2.DeleteRouteTableOutput](t)(w.DeleteRouteTable(w.ctx, &api2.DeleteRouteTableInput{RouteTableId: &first}))
	second := create()
	if second == first {
		t.Error("an id was used twice")
	}
	w.ctx = at(w.ctx, time.Unix(1_700_000_000, 0).Add(25*time.Hour).UTC())
	if create() == second {
		t.Error("the token is known after a day")
	}
}

func either[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}
