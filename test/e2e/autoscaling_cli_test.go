package e2e

import (
	"strings"
	"testing"
)

// wantLines checks what a script printed, line by line, by how each begins.
func wantLines(t *testing.T, got string, want ...string) {
	t.Helper()
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

// TestAutoScalingBoto3 makes empty groups as a script would: described by tags
// and in pages, with hooks, suspended, refreshed, and in the wrong way.
func TestAutoScalingBoto3(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	wantLines(t, s.python(t, `
import boto3
asg, ec2, iam, elb = boto3.client("autoscaling"), boto3.client("ec2"), boto3.client("iam"), boto3.client("elbv2")
subnets = sorted(x["SubnetId"] for x in ec2.describe_subnets()["Subnets"])
vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
lt = ec2.create_launch_template(LaunchTemplateName="node", LaunchTemplateData={"ImageId": "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id", "InstanceType": "t3.micro"})["LaunchTemplate"]["LaunchTemplateId"]
template = {"LaunchTemplateName": "node", "Version": "$Latest"}
def make(name, **args):
    asg.create_auto_scaling_group(**{"AutoScalingGroupName": name, "MinSize": 0, "MaxSize": 2, "LaunchTemplate": template, "VPCZoneIdentifier": ",".join(subnets), **args})
def group(name, **args): return asg.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]
def refused(call, *args, **kw):
    try: call(*args, **kw)
    except asg.exceptions.ClientError as e: print(e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"], e.response["Error"]["Message"])

for i in range(3):
    make("g-%d" % i, Tags=[{"Key": "n", "Value": str(i), "PropagateAtLaunch": i > 0}],
         LifecycleHookSpecificationList=[{"LifecycleHookName": "up", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING", "HeartbeatTimeout": 60}])
g = group("g-0")
print(g["AutoScalingGroupARN"].endswith(":autoScalingGroupName/g-0"), g["DesiredCapacity"], g["AvailabilityZones"], g["LaunchTemplate"]["LaunchTemplateId"] == lt, g["HealthCheckType"], g["DefaultCooldown"], g["Instances"])
print(iam.get_role(RoleName="AWSServiceRoleForAutoScaling")["Role"]["Arn"] == g["ServiceLinkedRoleARN"])
print([x["AutoScalingGroupName"] for p in asg.get_paginator("describe_auto_scaling_groups").paginate(PaginationConfig={"PageSize": 2}) for x in p["AutoScalingGroups"]])
print([x["AutoScalingGroupName"] for x in asg.describe_auto_scaling_groups(Filters=[{"Name": "tag:n", "Values": ["1", "2"]}])["AutoScalingGroups"]])
asg.create_or_update_tags(Tags=[{"ResourceId": "g-0", "ResourceType": "auto-scaling-group", "Key": "m", "Value": "x", "PropagateAtLaunch": True}])
asg.delete_tags(Tags=[{"ResourceId": "g-1", "ResourceType": "auto-scaling-group", "Key": "n"}])
print([(x["ResourceId"], x["Key"], x["PropagateAtLaunch"]) for p in asg.get_paginator("describe_tags").paginate(PaginationConfig={"PageSize": 1}) for x in p["Tags"]])

asg.update_auto_scaling_group(AutoScalingGroupName="g-0", MaxSize=5, HealthCheckType="ELB", HealthCheckGracePeriod=30, CapacityRebalance=True, MixedInstancesPolicy={
    "LaunchTemplate": {"LaunchTemplateSpecification": template, "Overrides": [{"InstanceType": "t3.micro"}, {"InstanceType": "t3.small"}]},
    "InstancesDistribution": {"OnDemandBaseCapacity": 1, "OnDemandPercentageAboveBaseCapacity": 0, "SpotAllocationStrategy": "price-capacity-optimized"}})
g = group("g-0")
print(g["MaxSize"], g["HealthCheckType"], g["CapacityRebalance"], "LaunchTemplate" in g, [o["InstanceType"] for o in g["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]], g["MixedInstancesPolicy"]["InstancesDistribution"]["SpotAllocationStrategy"])

asg.put_lifecycle_hook(AutoScalingGroupName="g-0", LifecycleHookName="down", LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING", DefaultResult="CONTINUE")
print([(h["LifecycleHookName"], h["DefaultResult"], h["HeartbeatTimeout"], h["GlobalTimeout"]) for h in asg.describe_lifecycle_hooks(AutoScalingGroupName="g-0")["LifecycleHooks"]])
asg.delete_lifecycle_hook(AutoScalingGroupName="g-0", LifecycleHookName="up")
asg.suspend_processes(AutoScalingGroupName="g-0", ScalingProcesses=["Launch", "AZRebalance"])
asg.resume_processes(AutoScalingGroupName="g-0", ScalingProcesses=["AZRebalance"])
asg.enable_metrics_collection(AutoScalingGroupName="g-0", Granularity="1Minute", Metrics=["GroupMinSize", "GroupMaxSize"])
asg.disable_metrics_collection(AutoScalingGroupName="g-0", Metrics=["GroupMinSize"])
asg.set_desired_capacity(AutoScalingGroupName="g-0", DesiredCapacity=1)
g = group("g-0")
print([p["ProcessName"] for p in g["SuspendedProcesses"]], [m["Metric"] for m in g["EnabledMetrics"]], g["DesiredCapacity"])
asg.set_desired_capacity(AutoScalingGroupName="g-0", DesiredCapacity=0)

tg = elb.create_target_group(Name="tg", Protocol="HTTP", Port=80, VpcId=vpc, TargetType="instance")["TargetGroups"][0]["TargetGroupArn"]
asg.attach_load_balancer_target_groups(AutoScalingGroupName="g-0", TargetGroupARNs=[tg])
print([x["State"] for x in asg.describe_load_balancer_target_groups(AutoScalingGroupName="g-0")["LoadBalancerTargetGroups"]], [x["Type"] for x in asg.describe_traffic_sources(AutoScalingGroupName="g-0")["TrafficSources"]])
asg.detach_traffic_sources(AutoScalingGroupName="g-0", TrafficSources=[{"Identifier": tg, "Type": "elbv2"}])
print(group("g-0")["TargetGroupARNs"], asg.describe_load_balancers(AutoScalingGroupName="g-0")["LoadBalancers"], asg.describe_policies(AutoScalingGroupName="g-0")["ScalingPolicies"],
      asg.describe_scheduled_actions()["ScheduledUpdateGroupActions"], asg.describe_notification_configurations()["NotificationConfigurations"],
      "WarmPoolConfiguration" in asg.describe_warm_pool(AutoScalingGroupName="g-0"), asg.describe_launch_configurations()["LaunchConfigurations"])
print(len(asg.describe_scaling_process_types()["Processes"]), len(asg.describe_termination_policy_types()["TerminationPolicyTypes"]), len(asg.describe_adjustment_types()["AdjustmentTypes"]),
      len(asg.describe_lifecycle_hook_types()["LifecycleHookTypes"]), len(asg.describe_auto_scaling_notification_types()["AutoScalingNotificationTypes"]),
      asg.describe_metric_collection_types()["Granularities"][0]["Granularity"], asg.describe_account_limits()["NumberOfAutoScalingGroups"])

refused(make, "g-0")
refused(make, "g", MinSize=3)
refused(make, "g", DesiredCapacity=3)
refused(make, "g", LaunchTemplate={"LaunchTemplateName": "none"})
refused(make, "g", VPCZoneIdentifier="subnet-0123456789abcdef0")
refused(make, "g", AvailabilityZones=["us-east-1a"])
refused(asg.set_desired_capacity, AutoScalingGroupName="g-1", DesiredCapacity=3)
refused(asg.set_desired_capacity, AutoScalingGroupName="none", DesiredCapacity=3)
refused(asg.detach_instances, AutoScalingGroupName="g-1", InstanceIds=["i-0123456789abcdef0"], ShouldDecrementDesiredCapacity=True)
refused(asg.terminate_instance_in_auto_scaling_group, InstanceId="i-0123456789abcdef0", ShouldDecrementDesiredCapacity=True)
refused(asg.complete_lifecycle_action, AutoScalingGroupName="g-1", LifecycleHookName="up", LifecycleActionResult="CONTINUE", InstanceId="i-0123456789abcdef0")
refused(asg.put_lifecycle_hook, AutoScalingGroupName="g-1", LifecycleHookName="q", LifecycleTransition="autoscaling:EC2_INSTANCE_LAUNCHING", NotificationTargetARN="arn:aws:sqs:us-east-1:000000000000:q", RoleARN="arn:aws:iam::000000000000:role/r")
refused(asg.cancel_instance_refresh, AutoScalingGroupName="g-1")
refused(asg.attach_load_balancers, AutoScalingGroupName="g-1", LoadBalancerNames=["classic"])
refused(asg.create_launch_configuration, LaunchConfigurationName="lc", ImageId="ami-1", InstanceType="t3.micro")
refused(asg.put_scaling_policy, AutoScalingGroupName="g-1", PolicyName="p", AdjustmentType="ChangeInCapacity", ScalingAdjustment=1)
refused(asg.create_auto_scaling_group, AutoScalingGroupName="x" * 256, MinSize=0, MaxSize=0)
refused(asg.describe_auto_scaling_groups, NextToken="x")
for i in range(3): asg.delete_auto_scaling_group(AutoScalingGroupName="g-%d" % i)
refused(asg.delete_auto_scaling_group, AutoScalingGroupName="g-0")
print(asg.describe_auto_scaling_groups()["AutoScalingGroups"])
`),
		"True 0 ['us-east-1a', 'us-east-1b', 'us-east-1c'] True EC2 300 []",
		"True",
		"['g-0', 'g-1', 'g-2']",
		"['g-1', 'g-2']",
		"[('g-0', 'm', True), ('g-0', 'n', False), ('g-2', 'n', True)]",
		"5 ELB True False ['t3.micro', 't3.small'] price-capacity-optimized",
		"[('up', 'ABANDON', 60, 6000), ('down', 'CONTINUE', 3600, 172800)]",
		"['Launch'] ['GroupMaxSize'] 1",
		"['Added'] ['elbv2']",
		"[] [] [] [] [] False []",
		"9 7 3 2 5 1Minute 3",
		"AlreadyExists 400 AutoScalingGroup by this name already exists - A group with the name g-0 already exists",
		"ValidationError 400 Max bound, 2, must be greater than or equal to min bound, 3",
		"ValidationError 400 Desired capacity:3 must be between the specified min size:0 and max size:2",
		"ValidationError 400 You must use a valid fully-formed launch template. The specified launch template, with template name none, does not exist.",
		"ValidationError 400 The subnet ID 'subnet-0123456789abcdef0' does not exist",
		"ValidationError 400 The availability zones of the specified subnets and the AutoScalingGroup do not match",
		"ValidationError 400 New SetDesiredCapacity value 3 is above max value 2 for the AutoScalingGroup.",
		"ValidationError 400 AutoScalingGroup name not found",
		"ValidationError 400 The instance i-0123456789abcdef0 is not part of Auto Scaling group g-1.",
		"ValidationError 400 Instance Id not found - No managed instance found for instance ID: i-0123456789abcdef0",
		"ValidationError 400 No active Lifecycle Action found with instance ID i-0123456789abcdef0",
		"ValidationError 400 Unable to publish test message to notification target arn:aws:sqs:us-east-1:000000000000:q using IAM role arn:aws:iam::000000000000:role/r.",
		"ActiveInstanceRefreshNotFound 400 No in progress or pending Instance Refresh found for Auto Scaling group g-1",
		"ValidationError 400 Provided Load Balancers may not be valid.",
		"UnsupportedOperation 400 The Launch Configuration creation operation is not available in your account.",
		"ValidationError 400 The requested configuration is currently not supported: scaling policies.",
		"ValidationError 400 1 validation error detected",
		"InvalidNextToken 400 ",
		"ValidationError 400 AutoScalingGroup name not found",
		"[]",
	)
}

// TestAutoScalingInstances takes the instances of a group through what can be
// asked of them.
func TestAutoScalingInstances(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	wantLines(t, s.python(t, `
import boto3, time
asg, ec2 = boto3.client("autoscaling"), boto3.client("ec2")
subnets = [x["SubnetId"] for x in sorted(ec2.describe_subnets()["Subnets"], key=lambda x: x["AvailabilityZone"])][:2]
image = {"ImageId": "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id", "InstanceType": "t3.micro"}
ec2.create_launch_template(LaunchTemplateName="node", LaunchTemplateData=image)
def group(): return asg.describe_auto_scaling_groups(AutoScalingGroupNames=["g"])["AutoScalingGroups"]
def states(): return sorted(i["LifecycleState"] for g in group() for i in g["Instances"])
def ids(state): return sorted(i["InstanceId"] for g in group() for i in g["Instances"] if i["LifecycleState"] == state)
def until(check, want):
    for _ in range(300):
        if check() == want: return
        time.sleep(0.2)
    raise Exception("%s, not %s; %s" % (check(), want, [(a["Description"], a["StatusCode"], a.get("StatusMessage")) for a in asg.describe_scaling_activities(AutoScalingGroupName="g")["Activities"]]))
def activity(a): print(a["StatusCode"], a["Description"].split(":")[0], a["Cause"].split(" ", 2)[2].replace(a["Description"].split(": ")[1], "ID"))
def ended(a): until(lambda: asg.describe_scaling_activities(AutoScalingGroupName="g", ActivityIds=[a["ActivityId"]])["Activities"][0]["StatusCode"], "Successful")

asg.create_auto_scaling_group(AutoScalingGroupName="g", MinSize=1, MaxSize=4, DesiredCapacity=2, VPCZoneIdentifier=",".join(subnets),
    LaunchTemplate={"LaunchTemplateName": "node", "Version": "$Latest"}, Tags=[{"Key": "k", "Value": "v"}, {"Key": "own", "Value": "v", "PropagateAtLaunch": False}])
until(states, ["InService"] * 2)
print(sorted(i["AvailabilityZone"] for i in group()[0]["Instances"]), {i["HealthStatus"] for i in group()[0]["Instances"]})
one, two = ids("InService")
print(sorted((t["Key"], t["Value"]) for t in ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [one]}])["Tags"] if "launchtemplate:id" not in t["Key"]))

a = asg.enter_standby(AutoScalingGroupName="g", InstanceIds=[one], ShouldDecrementDesiredCapacity=True)["Activities"][0]
activity(a); ended(a); until(states, ["InService", "Standby"])
a = asg.exit_standby(AutoScalingGroupName="g", InstanceIds=[one])["Activities"][0]
activity(a); ended(a); until(states, ["InService"] * 2)

a = asg.detach_instances(AutoScalingGroupName="g", InstanceIds=[one], ShouldDecrementDesiredCapacity=True)["Activities"][0]
activity(a); ended(a); until(lambda: ids("InService"), [two])
print(ec2.describe_instances(InstanceIds=[one])["Reservations"][0]["Instances"][0]["State"]["Name"], group()[0]["DesiredCapacity"])
asg.attach_instances(AutoScalingGroupName="g", InstanceIds=[one])
until(lambda: ids("InService"), sorted([one, two]))
print([x["AutoScalingGroupName"] for x in asg.describe_auto_scaling_instances(InstanceIds=[one])["AutoScalingInstances"]], group()[0]["DesiredCapacity"])

a = asg.terminate_instance_in_auto_scaling_group(InstanceId=one, ShouldDecrementDesiredCapacity=True)["Activity"]
activity(a); ended(a); until(lambda: ids("InService"), [two])
asg.set_instance_health(InstanceId=two, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False)
until(lambda: [i != two for i in ids("InService")], [True])
last = ids("InService")[0]
asg.set_instance_protection(AutoScalingGroupName="g", InstanceIds=[last], ProtectedFromScaleIn=True)
asg.set_desired_capacity(AutoScalingGroupName="g", DesiredCapacity=3)
until(states, ["InService"] * 3)
asg.set_desired_capacity(AutoScalingGroupName="g", DesiredCapacity=1)
until(lambda: ids("InService") + states(), [last, "InService"])

asg.put_lifecycle_hook(AutoScalingGroupName="g", LifecycleHookName="up", LifecycleTransition="autoscaling:EC2_INSTANCE_LAUNCHING")
asg.set_desired_capacity(AutoScalingGroupName="g", DesiredCapacity=2)
until(states, ["InService", "Pending:Wait"])
new = ids("Pending:Wait")[0]
asg.record_lifecycle_action_heartbeat(AutoScalingGroupName="g", LifecycleHookName="up", InstanceId=new)
asg.complete_lifecycle_action(AutoScalingGroupName="g", LifecycleHookName="up", InstanceId=new, LifecycleActionResult="CONTINUE")
until(states, ["InService"] * 2)
asg.delete_lifecycle_hook(AutoScalingGroupName="g", LifecycleHookName="up")

ec2.create_launch_template_version(LaunchTemplateName="node", LaunchTemplateData={**image, "InstanceType": "t3.small"})
asg.set_instance_protection(AutoScalingGroupName="g", InstanceIds=[last], ProtectedFromScaleIn=False)
r = asg.start_instance_refresh(AutoScalingGroupName="g", Preferences={"MinHealthyPercentage": 0, "InstanceWarmup": 0})["InstanceRefreshId"]
def refresh(): return asg.describe_instance_refreshes(AutoScalingGroupName="g", InstanceRefreshIds=[r])["InstanceRefreshes"][0]
until(lambda: refresh()["Status"], "Successful")
print(refresh()["PercentageComplete"], {i["InstanceType"] for i in group()[0]["Instances"] if i["LifecycleState"] == "InService"})
r = asg.start_instance_refresh(AutoScalingGroupName="g", Preferences={"InstanceWarmup": 600})["InstanceRefreshId"]
print(asg.cancel_instance_refresh(AutoScalingGroupName="g")["InstanceRefreshId"] == r)
until(lambda: refresh()["Status"], "Cancelled")

try: asg.delete_auto_scaling_group(AutoScalingGroupName="g")
except asg.exceptions.ResourceInUseFault as e: print(e.response["Error"]["Message"])
asg.delete_auto_scaling_group(AutoScalingGroupName="g", ForceDelete=True)
until(group, [])
until(lambda: [i["InstanceId"] for r in ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["pending", "running", "shutting-down"]}])["Reservations"] for i in r["Instances"]], [])
print({a["AutoScalingGroupState"] for a in asg.describe_scaling_activities(IncludeDeletedGroups=True)["Activities"]})
`),
		"['us-east-1a', 'us-east-1b'] {'Healthy'}",
		"[('aws:autoscaling:groupName', 'g'), ('aws:ec2launchtemplate:version', '1'), ('k', 'v')]",
		"InProgress Moving EC2 instance to Standby instance ID was moved to standby in response to a user request, shrinking the capacity from 2 to 1.",
		"PreInService Moving EC2 instance out of Standby instance ID was moved out of standby in response to a user request, increasing the capacity from 1 to 2.",
		"InProgress Detaching EC2 instance instance ID was detached in response to a user request, shrinking the capacity from 2 to 1.",
		"running 1",
		"['g'] 2",
		"InProgress Terminating EC2 instance instance ID was taken out of service in response to a user request, shrinking the capacity from 2 to 1.",
		"100 {'t3.small'}",
		"True",
		"You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.",
		"{'Deleted'}",
	)
}
