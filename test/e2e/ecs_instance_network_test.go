package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// page is what a URL answers an instance: the machine itself reaches the
// default VPC of one server only, and others run beside this one.
func (n *nodes) page(from, url string) (string, error) {
	return n.inside(from, "curl", "-sf", "--max-time", "3", url)
}

// answers waits until a URL answers an instance with a text.
func (n *nodes) answers(from, url, want string) {
	n.t.Helper()
	eventually(n.t, 20*time.Second, url+" answers", func() error {
		got, err := n.page(from, url)
		if err == nil && !strings.Contains(got, want) {
			err = errors.New(got)
		}
		return err
	})
}

// interfaces are those of an instance, and the address of the first.
func (n *nodes) interfaces(instance string) (ids []string, address string) {
	n.t.Helper()
	out, err := n.ec2.DescribeInstances(n.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{instance}})
	if err != nil {
		n.t.Fatal(err)
	}
	i := out.Reservations[0].Instances[0]
	for _, e := range i.NetworkInterfaces {
		ids = append(ids, *e.NetworkInterfaceId)
	}
	return ids, *i.PrivateIpAddress
}

// TestInstanceNetworkModes has tasks of bridge and awsvpc mode on one instance:
// they find each other, their metadata, their role and the API, and are found at
// the ports of the instance, or at interfaces of their own. The agent is killed
// among them.
func TestInstanceNetworkModes(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"/usr/bin/python3", "nsenter", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
	}
	n := newNodes(t, ownServer(t, "containerd"))
	ctx := t.Context()
	open := n.group("open", 80, "0.0.0.0/0")
	if _, err := n.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: new(open), IpProtocol: new("tcp"), FromPort: new(int32(49153)), ToPort: new(int32(65535)), CidrIp: new("0.0.0.0/0"),
	}); err != nil {
		t.Fatal(err)
	}
	id := *n.fleet.launch("#!/bin/bash\necho ECS_CLUSTER="+n.name+" >> /etc/ecs/ecs.config\nsetsid /usr/bin/python3 -m http.server 8088 >/dev/null 2>&1 &\n", func(in *ec2.RunInstancesInput) {
		in.ImageId, in.InstanceType, in.SubnetId = new(ecsImage), ec2types.InstanceTypeT3Small, new(n.subnets[0])
		in.SecurityGroupIds = []string{open}
		in.IamInstanceProfile = &ec2types.IamInstanceProfileSpecification{Name: new(n.profile)}
	}).InstanceId
	node := n.joined(id)
	visitor := *n.fleet.launch("", nil).InstanceId
	n.fleet.is(visitor, ec2types.InstanceStateNameRunning)
	own, at := n.interfaces(id)
	role := n.role(n.name + "-task")
	withRole := func(mode ecstypes.NetworkMode) func(*ecs.RegisterTaskDefinitionInput) {
		return func(in *ecs.RegisterTaskDefinitionInput) {
			onInstances(mode)(in)
			in.TaskRoleArn, in.Memory = new(role), new("256")
		}
	}

	// A web server that finds its store by a link.
	store := n.container("serve", "-port", "5000", "-name", "the-store")
	store.Name, store.PortMappings = new("store"), nil
	web := n.container("seq", "get", "http://data:5000/", "--", "env", "DATA_NAME", "--", "caller", "--", "metadata", "--", "serve", "-name", "the-web")
	web.Links = []string{"store:data"}
	web.PortMappings = []ecstypes.PortMapping{{ContainerPort: new(int32(80))}, {ContainerPort: new(int32(53)), HostPort: new(int32(5353)), Protocol: ecstypes.TransportProtocolUdp}, {ContainerPortRange: new("9000-9002")}}
	bridge := n.place(n.register("bridge", withRole(ecstypes.NetworkModeBridge), web, store), nil)
	task := n.await(bridge, "RUNNING")
	var port int32
	got := map[string]bool{}
	for _, c := range task.Containers {
		for _, b := range c.NetworkBindings {
			got[fmt.Sprint(*c.Name, " ", *b.BindIP, " ", str(b.ContainerPortRange), " ", b.Protocol)] = true
			if b.ContainerPort != nil && *b.ContainerPort == 80 {
				port = *b.HostPort
			}
			if b.ContainerPort != nil && *b.ContainerPort == 53 && *b.HostPort != 5353 {
				t.Errorf("the fixed port is %d", *b.HostPort)
			}
		}
	}
	if len(got) != 3 || !got["tool 0.0.0.0  tcp"] || !got["tool 0.0.0.0  udp"] || !got["tool 0.0.0.0 9000-9002 tcp"] || port < 49153 {
		t.Errorf("bindings %v, port %d", got, port)
	}
	for _, line := range []string{"the-store", "/tool/data", ":assumed-role/" + n.name + "-task/", `"NetworkMode":"bridge"`} {
		n.logged(line)
	}
	url := fmt.Sprintf("http://%s:%d/", at, port)
	n.answers(visitor, url, "the-web")
	described, err := n.ecs.DescribeContainerInstances(ctx, &ecs.DescribeContainerInstancesInput{Cluster: new(n.name), ContainerInstances: []string{*node.ContainerInstanceArn}})
	if err != nil {
		t.Fatal(err)
	}
	if taken := fmt.Sprint(described.ContainerInstances[0].RemainingResources[2].StringSetValue); !strings.Contains(taken, fmt.Sprint(port)) {
		t.Errorf("taken ports %s", taken)
	}

	// A port that another program has.
	taken := n.container("sleep")
	taken.PortMappings = []ecstypes.PortMapping{{ContainerPort: new(int32(80)), HostPort: new(int32(8088))}}
	refused := n.await(n.place(n.register("taken", onInstances(ecstypes.NetworkModeBridge), taken), nil), "STOPPED")
	if why := str(refused.Containers[0].Reason); refused.StopCode != ecstypes.TaskStopCodeTaskFailedToStart || !strings.Contains(why, "CannotStartContainerError: Error response from daemon: driver failed programming external connectivity") ||
		!strings.Contains(why, "0.0.0.0:8088: bind: address already in use") {
		t.Errorf("a taken port: %s %s", refused.StopCode, why)
	}

	// Tasks with interfaces of their own, and groups of their own.
	c := n.container("seq", "get", fmt.Sprintf("http://%s:%d/", at, port), "--", "caller", "--", "metadata", "--", "serve", "-name", "the-task")
	definition := n.register("awsvpc", withRole(ecstypes.NetworkModeAwsvpc), c)
	private := func(groups ...string) *ecstypes.NetworkConfiguration {
		c := n.network(groups...)
		c.AwsvpcConfiguration.AssignPublicIp = ecstypes.AssignPublicIpDisabled
		return c
	}
	placed := func(groups ...string) string {
		return n.place(definition, func(in *ecs.RunTaskInput) { in.NetworkConfiguration = private(groups...) })
	}
	began := time.Now()
	reached, closed := placed(open), placed(n.group("closed", 0, ""))
	task = n.await(reached, "RUNNING")
	t.Logf("a task with an interface of its own ran after %v", time.Since(began).Round(time.Millisecond))
	shut := n.await(closed, "RUNNING")
	if a := task.Attachments[0]; str(a.Status) != "ATTACHED" {
		t.Errorf("attachment %+v", a)
	}
	n.answers(visitor, "http://"+address(t, task)+"/", "the-task")
	n.logged(`"NetworkMode":"awsvpc","IPv4Addresses":["` + address(t, task) + `"]`)
	if ids, _ := n.interfaces(id); len(ids) != 3 {
		t.Errorf("the instance has %v", ids)
	}
	if got, err := n.page(visitor, "http://"+address(t, shut)+"/"); err == nil {
		t.Errorf("a task whose group lets nothing in answers %q", got)
	}
	// The type has no more interfaces.
	full, err := n.ecs.RunTask(ctx, &ecs.RunTaskInput{Cluster: new(n.name), TaskDefinition: new(definition), LaunchType: ecstypes.LaunchTypeEc2, NetworkConfiguration: private(open)})
	if err != nil || len(full.Failures) != 1 || *full.Failures[0].Reason != "RESOURCE:ENI" {
		t.Errorf("a third one: %+v, %v", full, err)
	}

	// The server is killed; the next one leaves all as it is.
	if err := n.kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.server.start(); err != nil {
		t.Fatal(err)
	}
	n.joined(id)
	n.answers(visitor, url, "the-web")
	n.answers(visitor, "http://"+address(t, task)+"/", "the-task")

	// The agent is killed; the next one finds all as it was, and can end it.
	if out, err := n.inside(id, "pkill", "-9", "-f", "roadstead node"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	n.answers(visitor, url, "the-web")
	n.answers(visitor, "http://"+address(t, task)+"/", "the-task")
	eventually(t, 30*time.Second, "the agent's second start", func() error {
		if got := n.fleet.read(id, "var/log/ecs/ecs-agent.log"); strings.Count(got, "registered") < 2 {
			return errors.New(got)
		}
		return nil
	})
	for _, arn := range []string{bridge, reached, closed} {
		if _, err := n.ecs.StopTask(ctx, &ecs.StopTaskInput{Cluster: new(n.name), Task: new(arn)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, arn := range []string{bridge, reached, closed} {
		if got := n.await(arn, "STOPPED"); got.StopCode != ecstypes.TaskStopCodeUserInitiated {
			t.Errorf("it stopped for %s: %s", got.StopCode, str(got.StoppedReason))
		}
	}
	if ids, _ := n.interfaces(id); len(ids) != len(own) {
		t.Errorf("the instance has %v left, and had %v", ids, own)
	}
	eventually(t, 10*time.Second, "the devices go", func() error {
		out, err := n.inside(id, "ls", "/sys/class/net")
		if err == nil {
			for name := range strings.FieldsSeq(out) {
				if strings.HasPrefix(name, "vet") || strings.HasPrefix(name, "eni") || name == "eth1" {
					return fmt.Errorf("device %s is left", name)
				}
			}
		}
		return err
	})
	if _, err := n.page(visitor, url); err == nil {
		t.Error("the port answers still")
	}

	// The instance boots anew: what ran there is lost, and what comes then has
	// its network.
	plain := n.container("serve", "-name", "after-boot")
	plain.PortMappings[0].HostPort = new(int32(80))
	solo := n.register("solo", onInstances(ecstypes.NetworkModeAwsvpc), n.container("serve", "-name", "the-task"))
	alone := func() string {
		return n.place(solo, func(in *ecs.RunTaskInput) { in.NetworkConfiguration = private(open) })
	}
	lost := []string{n.place(n.register("plain", onInstances(ecstypes.NetworkModeBridge), plain), nil), alone()}
	for _, arn := range lost {
		n.await(arn, "RUNNING")
	}
	n.answers(visitor, "http://"+at+"/", "after-boot")
	if _, err := n.ec2.RebootInstances(ctx, &ec2.RebootInstancesInput{InstanceIds: []string{id}}); err != nil {
		t.Fatal(err)
	}
	for _, arn := range lost {
		n.await(arn, "STOPPED")
	}
	n.joined(id)
	n.await(n.place(n.register("plain", onInstances(ecstypes.NetworkModeBridge), plain), nil), "RUNNING")
	n.answers(visitor, "http://"+at+"/", "after-boot")
	task = n.await(alone(), "RUNNING")
	n.answers(visitor, "http://"+address(t, task)+"/", "the-task")
	if _, err := n.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id, visitor}}); err != nil {
		t.Fatal(err)
	}
	n.fleet.is(id, ec2types.InstanceStateNameTerminated)
	if err := n.fleet.left(id); err != nil {
		t.Error(err)
	}
}

// TestPretendedNetworkModes is the same where nothing runs: ports and interfaces
// are given out, so that what follows from them can be tested without root.
func TestPretendedNetworkModes(t *testing.T) {
	t.Parallel()
	n := newNodes(t, ownServer(t, "fake"))
	id := n.boot("ECS_RESERVED_PORTS=[22, 49153]", nil)
	n.joined(id)
	c := n.container("sleep")
	c.PortMappings = []ecstypes.PortMapping{{ContainerPort: new(int32(80))}}
	definition := n.register("bridge", onInstances(ecstypes.NetworkModeBridge), c)
	a, b := n.await(n.place(definition, nil), "RUNNING"), n.await(n.place(definition, nil), "RUNNING")
	for i, task := range []ecstypes.Task{a, b} {
		if got := task.Containers[0].NetworkBindings; len(got) != 1 || *got[0].HostPort != int32(49154+i) || *got[0].ContainerPort != 80 || *got[0].BindIP != "0.0.0.0" {
			t.Errorf("bindings %+v", got)
		}
	}
	task := n.await(n.place(n.register("awsvpc", onInstances(ecstypes.NetworkModeAwsvpc), n.container("sleep")), func(in *ecs.RunTaskInput) {
		in.NetworkConfiguration = &ecstypes.NetworkConfiguration{AwsvpcConfiguration: &ecstypes.AwsVpcConfiguration{Subnets: n.subnets}}
	}), "RUNNING")
	if ids, _ := n.interfaces(id); len(ids) != 2 || str(task.Attachments[0].Status) != "ATTACHED" {
		t.Errorf("interfaces %v, attachment %+v", ids, task.Attachments[0])
	}
	// The end of the instance takes the task's interface along.
	if _, err := n.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
		t.Fatal(err)
	}
	if got := n.await(*task.TaskArn, "STOPPED"); got.StopCode != ecstypes.TaskStopCodeTerminationNotice {
		t.Errorf("it stopped for %s", got.StopCode)
	}
	left, err := n.ec2.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{
		Filters: []ec2types.Filter{{Name: new("addresses.private-ip-address"), Values: []string{address(t, task)}}},
	})
	if err != nil || len(left.NetworkInterfaces) != 0 {
		t.Errorf("its interface is left: %+v, %v", left, err)
	}
}
