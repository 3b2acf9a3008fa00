package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// TestEC2CLI makes a network with the AWS CLI as scripts do: waiters end,
// pages join, errors read as AWS's.
func TestEC2CLI(t *testing.T) {
	t.Parallel()
	c := ownServer(t, "fake").cliAsRoot(t)
	id := func(query string, args ...string) string {
		t.Helper()
		return strings.Join(c.text(append(append([]string{"ec2"}, args...), "--query", query)...), " ")
	}
	vpc := id("Vpc.VpcId", "create-vpc", "--cidr-block", "10.60.0.0/16", "--tag-specifications", "ResourceType=vpc,Tags=[{Key=Name,Value=cli}]")
	c.ok("ec2", "wait", "vpc-available", "--filters", "Name=tag:Name,Values=c?i")
	subnet := id("Subnet.SubnetId", "create-subnet", "--vpc-id", vpc, "--cidr-block", "10.60.1.0/24")
	c.ok("ec2", "wait", "subnet-available", "--subnet-ids", subnet)
	igw := id("InternetGateway.InternetGatewayId", "create-internet-gateway")
	c.ok("ec2", "attach-internet-gateway", "--internet-gateway-id", igw, "--vpc-id", vpc)
	address := id("AllocationId", "allocate-address")
	nat := id("NatGateway.NatGatewayId", "create-nat-gateway", "--subnet-id", subnet, "--allocation-id", address)
	c.ok("ec2", "wait", "nat-gateway-available", "--nat-gateway-ids", nat)
	eni := id("NetworkInterface.NetworkInterfaceId", "create-network-interface", "--subnet-id", subnet, "--private-ip-address", "10.60.1.9")
	c.ok("ec2", "wait", "network-interface-available", "--network-interface-ids", eni)

	c.refused("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", "ec2", "create-vpc", "--cidr-block", "10.0.0.0/16", "--dry-run")
	c.refused("InvalidVpcID.NotFound", "The vpc ID 'vpc-0' does not exist", "ec2", "describe-vpcs", "--vpc-ids", "vpc-0")
	c.refused("DependencyViolation", "The vpc '"+vpc+"' has dependencies and cannot be deleted.", "ec2", "delete-vpc", "--vpc-id", vpc)
	c.refused("InvalidParameterValue", "The filter 'name' is invalid", "ec2", "describe-subnets", "--filters", "Name=name,Values=x")

	c.ok("ec2", "delete-nat-gateway", "--nat-gateway-id", nat)
	c.ok("ec2", "wait", "nat-gateway-deleted", "--nat-gateway-ids", nat)
}

// TestEC2Boto3 drives waiters and paginators of boto3.
func TestEC2Boto3(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	out := s.python(t, `
import boto3, json
from botocore.exceptions import ClientError
ec2 = boto3.client("ec2")
result = {}
vpcs = [ec2.create_vpc(CidrBlock="10.61.0.0/16")["Vpc"]["VpcId"] for _ in range(11)]
ec2.get_waiter("vpc_exists").wait(VpcIds=vpcs)
ec2.get_waiter("vpc_available").wait(VpcIds=vpcs)
pages = list(ec2.get_paginator("describe_vpcs").paginate(Filters=[{"Name": "cidr", "Values": ["10.61.*"]}], PaginationConfig={"PageSize": 5}))
result["pages"] = [len(p["Vpcs"]) for p in pages]
result["all"] = {v["VpcId"] for p in pages for v in p["Vpcs"]} == set(vpcs)
subnet = boto3.resource("ec2").Vpc(vpcs[0]).create_subnet(CidrBlock="10.61.0.0/24")
ec2.get_waiter("subnet_available").wait(SubnetIds=[subnet.id])
eni = subnet.create_network_interface(SecondaryPrivateIpAddressCount=2)
ec2.get_waiter("network_interface_available").wait(NetworkInterfaceIds=[eni.id])
result["addresses"] = len(eni.private_ip_addresses)
group = boto3.resource("ec2").Vpc(vpcs[0]).create_security_group(GroupName="b", Description="b")
ec2.get_waiter("security_group_exists").wait(GroupIds=[group.id])
ec2.create_key_pair(KeyName="b", KeyType="ed25519")
ec2.get_waiter("key_pair_exists").wait(KeyNames=["b"])
group.authorize_ingress(IpPermissions=[{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}])
rules = list(ec2.get_paginator("describe_security_group_rules").paginate(Filters=[{"Name": "group-id", "Values": [group.id]}]))
result["rules"] = sum(len(p["SecurityGroupRules"]) for p in rules)
types = [i["InstanceType"] for p in ec2.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 50}) for i in p["InstanceTypes"]]
result["types"] = len(types) == len(set(types)) > 200
images = [i["ImageId"] for p in ec2.get_paginator("describe_images").paginate(Owners=["amazon"], PaginationConfig={"PageSize": 5}) for i in p["Images"]]
result["images"] = len(images) == len(set(images)) > 10
def code(f, **kw):
    try: f(**kw)
    except ClientError as e: return e.response["Error"]["Code"]
result["codes"] = [
    code(ec2.create_subnet, VpcId=vpcs[0], CidrBlock="10.61.0.128/25"),
    code(ec2.delete_subnet, SubnetId=subnet.id),
    code(ec2.describe_route_tables, RouteTableIds=["rtb-0"]),
    code(ec2.describe_vpcs, VpcIds=vpcs[:1], MaxResults=5),
    code(ec2.describe_vpcs, NextToken="x"),
    code(ec2.create_route_table, VpcId=vpcs[0], ClientToken="t"),
    code(ec2.create_route_table, VpcId=vpcs[1], ClientToken="t"),
]
print(json.dumps(result))
`)
	var got struct {
		Pages              []int
		All, Types, Images bool
		Addresses, Rules   int
		Codes              []*string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(got.Pages) != 3 || got.Pages[0] != 5 || !got.All || !got.Types || !got.Images || got.Addresses != 3 || got.Rules != 2 {
		t.Errorf("boto3 found %s", out)
	}
	want := []string{"InvalidSubnet.Conflict", "DependencyViolation", "InvalidRouteTableID.NotFound", "InvalidParameterCombination", "InvalidParameterValue", "", "IdempotentParameterMismatch"}
	for i, code := range got.Codes {
		if str(code) != want[i] {
			t.Errorf("call %d: %q, want %s", i, str(code), want[i])
		}
	}
}

// TestEC2LeavesNothing makes a whole network on the real kernel, changes it,
// and looks at the kernel when it is deleted.
func TestEC2LeavesNothing(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	made, err := s.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: new("10.62.0.0/16")})
	must(err)
	vpc := *made.Vpc.VpcId
	namespace := func() string {
		found, err := filepath.Glob("/run/roadstead/*/net/vpc/" + vpc)
		must(err)
		return strings.Join(found, " ")
	}
	// rules are the rules of the VPC's own namespace.
	rules := func() string {
		out, err := exec.CommandContext(ctx, "nsenter", "--net="+namespace(), "nft", "list", "ruleset").CombinedOutput()
		if err != nil {
			return err.Error()
		}
		return string(out)
	}
	subnet, err := s.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: new("10.62.1.0/24")})
	must(err)
	list, err := s.ec2.CreateManagedPrefixList(ctx, &ec2.CreateManagedPrefixListInput{
		PrefixListName: new(unique(t, "pl")), AddressFamily: new("IPv4"), MaxEntries: new(int32(3)),
		Entries: []types.AddPrefixListEntry{{Cidr: new("192.0.2.0/25")}},
	})
	must(err)
	group, err := s.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &vpc, GroupName: new("g"), Description: new("g")})
	must(err)
	_, err = s.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group.GroupId, IpPermissions: []types.IpPermission{
		{IpProtocol: new("tcp"), FromPort: new(int32(22)), ToPort: new(int32(22)), PrefixListIds: []types.PrefixListId{{PrefixListId: list.PrefixList.PrefixListId}}},
	}})
	must(err)
	eni, err := s.ec2.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: subnet.Subnet.SubnetId, Groups: []string{*group.GroupId}})
	must(err)
	holds := func(what string) func() error {
		return func() error {
			if r := rules(); !strings.Contains(r, what) {
				return errorf("no %s in\n%s", what, r)
			}
			return nil
		}
	}
	eventually(t, 20*time.Second, "the list's block is in the rules", holds("192.0.2.0/25"))
	_, err = s.ec2.ModifyManagedPrefixList(ctx, &ec2.ModifyManagedPrefixListInput{
		PrefixListId: list.PrefixList.PrefixListId, CurrentVersion: new(int64(1)), AddEntries: []types.AddPrefixListEntry{{Cidr: new("198.51.100.0/25")}},
	})
	must(err)
	eventually(t, 20*time.Second, "the list's new block is in the rules", holds("198.51.100.0/25"))

	_, err = s.ec2.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: eni.NetworkInterface.NetworkInterfaceId})
	must(err)
	_, err = s.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: group.GroupId})
	must(err)
	_, err = s.ec2.DeleteManagedPrefixList(ctx, &ec2.DeleteManagedPrefixListInput{PrefixListId: list.PrefixList.PrefixListId})
	must(err)
	_, err = s.ec2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: subnet.Subnet.SubnetId})
	must(err)
	_, err = s.ec2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: &vpc})
	must(err)
	eventually(t, 20*time.Second, "the VPC's namespace is gone", func() error {
		if left := namespace(); left != "" {
			return errorf("%s is left", left)
		}
		return nil
	})
	mounts, err := os.ReadFile("/proc/self/mounts")
	must(err)
	if strings.Contains(string(mounts), vpc) {
		t.Error("a mount of the VPC is left")
	}
}
