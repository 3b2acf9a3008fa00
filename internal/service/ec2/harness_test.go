package ec2_test

import (
	"context"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	api2 "roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/service/ec2"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
)

const (
	account = "000000000000"
	region  = "eu-west-1"
)

// world is a service over an empty store.
type world struct {
	*testing.T
	*ec2.Service
	ctx   context.Context
	store store.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := memory.New()
	t.Cleanup(func() { _ = s.Close() })
	return &world{
		T: t, Service: ec2.New(ec2.Config{Store: s, Clock: clock.System{}, Regions: []string{"us-east-1", region}}), store: s,
		ctx: at(t.Context(), time.Unix(1_700_000_000, 0).UTC()),
	}
}

func at(ctx context.Context, now time.Time) context.Context {
	return api.WithCall(ctx, &api.Call{Account: account, Region: region, Partition: "aws", Time: now, Identity: api.Identity{Root: true, UserID: account}})
}

// must returns what a call that has to succeed answers.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// fails checks the code and, unless empty, the message of an error.
func fails(t testing.TB, err error, code, message string) {
	t.Helper()
	if api.Code(err) != code {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	if e := err.(api.Error); message != "" && e.ErrorMessage() != message { //nolint:errorlint // Code found one
		t.Errorf("message %q, want %q", e.ErrorMessage(), message)
	}
}

func filter(name string, values ...string) []api2.Filter {
	return []api2.Filter{{Name: new(name), Values: values}}
}

func (w *world) vpc(cidr string) string {
	w.Helper()
	return *must[*api2.CreateVpcOutput](w)(w.CreateVpc(w.ctx, &api2.CreateVpcInput{CidrBlock: new(cidr)})).Vpc.VpcId
}

func (w *world) subnet(vpc, cidr string) string {
	w.Helper()
	return *must[*api2.CreateSubnetOutput](w)(w.CreateSubnet(w.ctx, &api2.CreateSubnetInput{VpcId: &vpc, CidrBlock: new(cidr)})).Subnet.SubnetId
}

func (w *world) group(vpc, name string) string {
	w.Helper()
	return *must[*api2.CreateSecurityGroupOutput](w)(w.CreateSecurityGroup(w.ctx, &api2.CreateSecurityGroupInput{VpcId: &vpc, GroupName: &name, Description: new("for a test")})).GroupId
}

func (w *world) gateway(vpc string) string {
	w.Helper()
	id := *must[*api2.CreateInternetGatewayOutput](w)(w.CreateInternetGateway(w.ctx, &api2.CreateInternetGatewayInput{})).InternetGateway.InternetGatewayId
	must[*api2.AttachInternetGatewayOutput](w)(w.AttachInternetGateway(w.ctx, &api2.AttachInternetGatewayInput{InternetGatewayId: &id, VpcId: &vpc}))
	return id
}

func (w *world) iface(subnet string, groups ...string) *api2.NetworkInterface {
	w.Helper()
	return must[*api2.CreateNetworkInterfaceOutput](w)(w.CreateNetworkInterface(w.ctx, &api2.CreateNetworkInterfaceInput{SubnetId: &subnet, Groups: groups})).NetworkInterface
}
