package e2e

import (
	"strings"
	"testing"
)

// TestBalancersBoto3 makes load balancers as a script would: again with the
// same settings, in pages, waiting, and in the wrong way.
func TestBalancersBoto3(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	got := s.python(t, `
import boto3
elb, ec2 = boto3.client("elbv2"), boto3.client("ec2")
vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
subnets = [x["SubnetId"] for x in ec2.describe_subnets()["Subnets"]]
def waited(name, **args): elb.get_waiter(name).wait(WaiterConfig={"Delay": 1, "MaxAttempts": 60}, **args)
def make(name, **args): return elb.create_load_balancer(Name=name, Subnets=subnets, **args)["LoadBalancers"][0]["LoadBalancerArn"]
lbs = [make("lb-%d" % i) for i in range(3)]
print(make("lb-0") == lbs[0])
waited("load_balancer_exists", Names=["lb-0"])
waited("load_balancer_available", LoadBalancerArns=lbs)
print(sorted(x["LoadBalancerName"] for p in elb.get_paginator("describe_load_balancers").paginate(PaginationConfig={"PageSize": 2}) for x in p["LoadBalancers"]))
group = elb.create_target_group(Name="g", Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")["TargetGroups"][0]["TargetGroupArn"]
print(elb.create_target_group(Name="g", Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")["TargetGroups"][0]["TargetGroupArn"] == group)
elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "0"}])
forward = [{"Type": "forward", "TargetGroupArn": group}]
listener = elb.create_listener(LoadBalancerArn=lbs[0], Protocol="HTTP", Port=80, DefaultActions=forward)["Listeners"][0]["ListenerArn"]
for priority in (30, 10, 20):
    elb.create_rule(ListenerArn=listener, Priority=priority, Conditions=[{"Field": "path-pattern", "Values": ["/%d" % priority]}], Actions=forward)
print([r["Priority"] for p in elb.get_paginator("describe_rules").paginate(ListenerArn=listener, PaginationConfig={"PageSize": 3}) for r in p["Rules"]])
targets = [{"Id": "172.31.0.77"}]
elb.register_targets(TargetGroupArn=group, Targets=targets)
waited("target_in_service", TargetGroupArn=group)
elb.deregister_targets(TargetGroupArn=group, Targets=targets)
waited("target_deregistered", TargetGroupArn=group, Targets=targets)
print([l["Max"] for p in elb.get_paginator("describe_account_limits").paginate(PaginationConfig={"PageSize": 1}) for l in p["Limits"] if l["Name"] == "application-load-balancers"])
def refused(call, **args):
    try: call(**args)
    except elb.exceptions.ClientError as e: print(e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"], e.response["Error"]["Message"])
refused(elb.create_load_balancer, Name="lb-0", Subnets=subnets, Scheme="internal")
refused(elb.describe_load_balancers, Names=["none", "lb-0", "nil"])
refused(elb.describe_load_balancers, Marker="x")
refused(elb.create_listener, LoadBalancerArn=lbs[0], Protocol="HTTP", Port=80, DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}])
refused(elb.create_rule, ListenerArn=listener, Priority=10, Conditions=[{"Field": "path-pattern", "Values": ["/"]}], Actions=forward)
refused(elb.delete_target_group, TargetGroupArn=group)
refused(elb.add_tags, ResourceArns=[group], Tags=[{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}])
for lb in lbs: elb.delete_load_balancer(LoadBalancerArn=lb)
waited("load_balancers_deleted", LoadBalancerArns=lbs)
elb.delete_target_group(TargetGroupArn=group)
refused(elb.describe_target_groups, Names=["g"])
`)
	want := []string{
		"True", "['lb-0', 'lb-1', 'lb-2']", "True", "['10', '20', '30', 'default']", "['50']",
		"DuplicateLoadBalancerName 400 A load balancer with the same name 'lb-0' exists, but with different settings",
		"LoadBalancerNotFound 400 Load balancers '[none, nil]' not found",
		"ValidationError 400 The marker 'x' is not valid",
		"DuplicateListener 400 A listener already exists on this port for this load balancer 'arn:",
		"PriorityInUse 400 Priority '10' is currently in use",
		"ResourceInUse 400 Target group 'arn:",
		"DuplicateTagKeys 400 Tag key 'k' was specified more than once",
		"TargetGroupNotFound 400 One or more target groups not found",
	}
	lines := strings.Split(got, "\n")
	if len(lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), got)
	}
	for i, w := range want {
		if !strings.HasPrefix(lines[i], w) {
			t.Errorf("got  %s\nwant %s", lines[i], w)
		}
	}
}

// TestBalancersCLI waits with the CLI's own waiters, each of which has reason
// to end at once.
func TestBalancersCLI(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	c := s.cliAsRoot(t)
	subnets := c.text("ec2", "describe-subnets", "--query", "Subnets[].SubnetId")
	arn := c.text(append([]string{"elbv2", "create-load-balancer", "--name", "web", "--query", "LoadBalancers[].LoadBalancerArn", "--subnets"}, subnets...)...)[0]
	c.ok("elbv2", "wait", "load-balancer-exists", "--load-balancer-arns", arn)
	c.ok("elbv2", "wait", "load-balancer-available", "--names", "web")
	c.refused("ValidationError", "'x' is not a valid load balancer ARN", "elbv2", "delete-load-balancer", "--load-balancer-arn", "x")
	c.ok("elbv2", "delete-load-balancer", "--load-balancer-arn", arn)
	c.ok("elbv2", "wait", "load-balancers-deleted", "--load-balancer-arns", arn)
}
