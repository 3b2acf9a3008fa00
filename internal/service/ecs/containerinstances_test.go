package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/tables"
)

// reports notes what was reported.
type reports struct{ got, attached []string }

func (r *reports) Submit(_ context.Context, node string, ch acs.TaskStateChange) error {
	for _, a := range ch.Attachments {
		r.attached = append(r.attached, ch.Task+" "+a.AttachmentArn+" "+a.Status)
	}
	r.got = append(r.got, node+" "+ch.Task[strings.LastIndexByte(ch.Task, '/')+1:]+" "+ch.Status)
	return nil
}

// instances is a harness with a cluster, an EC2 instance i-1 with a profile,
// and the book of what runs where.
type instances struct {
	*harness
	reports *reports
	book    *fleet.Book
}

func startInstances(t *testing.T) *instances {
	t.Helper()
	h := &instances{harness: start(t), reports: &reports{}}
	h.book = fleet.New(h.harness.store, func(int) int { return 0 })
	h.Service = New(Config{Store: h.harness.store, Fleet: h.book, Reports: h.reports})
	h.cluster()
	tx := store.NewTxn()
	for _, id := range []string{"i-1", "i-2"} {
		tables.Instances.Put(tx, account, region, id, &model.Instance{
			ID: id, Spec: model.InstanceSpec{Type: "m5.large", Zone: "us-east-1a", SubnetID: "subnet-a", VPCID: "vpc-1", ImageID: "ami-1", ProfileARN: "arn:aws:iam::000000000000:instance-profile/Host"},
			Status: model.InstanceStatus{State: model.InstanceRunning},
		})
	}
	tables.Roles.Put(tx, account, "", "host", &model.Role{IAMPrincipal: model.IAMPrincipal{Name: "host", ARN: role("host")}})
	tables.InstanceProfiles.Put(tx, account, "", "host", &model.InstanceProfile{Name: "Host", Role: "host"})
	if _, err := tx.Commit(t.Context(), h.harness.store); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.book.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	h.as("i-1")
	return h
}

// as has an instance's role session make the calls.
func (h *instances) as(instance string) {
	h.call.Identity.ARN = "arn:aws:sts::000000000000:assumed-role/host/" + instance
	h.call.Identity.UserID, h.call.Identity.RoleARN, h.call.Identity.Root = "AROAHOST:"+instance, role("host"), false
}

// caughtUp waits until the book has what was written.
func (h *instances) caughtUp() {
	h.t.Helper()
	tx := store.NewTxn()
	tables.ECSInstanceClaims.Put(tx, account, region, "other/0", &model.InstanceClaim{})
	at, err := tx.Commit(h.ctx, h.harness.store)
	if err == nil {
		err = h.book.Reach(h.ctx, at)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func integer(name string, n int32) ecs.Resource {
	return ecs.Resource{Name: &name, Type: new("INTEGER"), IntegerValue: &n}
}

func stringSet(name string, v ...string) ecs.Resource {
	return ecs.Resource{Name: &name, Type: new("STRINGSET"), StringSetValue: v}
}

func registerInstance(id string, change ...func(*ecs.RegisterContainerInstanceInput)) *ecs.RegisterContainerInstanceInput {
	in := &ecs.RegisterContainerInstanceInput{
		Cluster: new("c"), InstanceIdentityDocument: new(`{"instanceId":"` + id + `","region":"us-east-1","accountId":"000000000000"}`),
		TotalResources: []ecs.Resource{integer("CPU", 2048), integer("MEMORY", 7900), stringSet("PORTS", "22", "2375", "51678"), stringSet("PORTS_UDP")},
		Attributes: []ecs.Attribute{
			{Name: new("com.amazonaws.ecs.capability.docker-remote-api.1.19")}, {Name: new("ecs.os-type"), Value: new("linux")}, {Name: new("stack"), Value: new("blue")},
		},
		Tags: []ecs.Tag{{Key: new("team"), Value: new("a")}},
	}
	for _, c := range change {
		c(in)
	}
	return in
}

func attributeMap(as []ecs.Attribute) map[string]string {
	m := map[string]string{}
	for _, a := range as {
		m[*a.Name] = val(a.Value)
	}
	return m
}

func resourceOf(rs []ecs.Resource, name string) (int32, []string) {
	for _, r := range rs {
		if *r.Name == name {
			return val(r.IntegerValue), r.StringSetValue
		}
	}
	return -1, nil
}

func (h *instances) describe(ref string) ecs.ContainerInstance {
	h.t.Helper()
	out := must(h.DescribeContainerInstances(h.ctx, &ecs.DescribeContainerInstancesInput{Cluster: new("c"), ContainerInstances: []string{ref}, Include: []ecs.ContainerInstanceField{"TAGS", "CONTAINER_INSTANCE_HEALTH"}}))(h.t)
	if len(out.ContainerInstances) != 1 {
		h.t.Fatalf("%s: %+v", ref, out.Failures)
	}
	return out.ContainerInstances[0]
}

func TestRegisterContainerInstance(t *testing.T) {
	h := startInstances(t)
	first := must(h.RegisterContainerInstance(h.ctx, registerInstance("i-1")))(t).ContainerInstance
	got := attributeMap(first.Attributes)
	for name, want := range map[string]string{
		"ecs.instance-type": "m5.large", "ecs.availability-zone": "us-east-1a", "ecs.ami-id": "ami-1", "ecs.vpc-id": "vpc-1", "ecs.subnet-id": "subnet-a",
		"ecs.os-type": "linux", "ecs.cpu-architecture": "x86_64", "stack": "blue", "com.amazonaws.ecs.capability.docker-remote-api.1.19": "",
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
	if again := must(h.RegisterContainerInstance(h.ctx, registerInstance("i-1")))(t).ContainerInstance; *again.ContainerInstanceArn != *first.ContainerInstanceArn {
		t.Error("an instance that registers twice is two")
	}
	must(h.PutAttributes(h.ctx, &ecs.PutAttributesInput{Cluster: new("c"), Attributes: []ecs.Attribute{{Name: new("mine"), Value: new("1"), TargetId: first.ContainerInstanceArn}}}))(t)
	must(h.RegisterContainerInstance(h.ctx, registerInstance("i-1", func(in *ecs.RegisterContainerInstanceInput) {
		in.ContainerInstanceArn, in.TotalResources[1] = first.ContainerInstanceArn, integer("MEMORY", 4000)
	})))(t)
	h.caughtUp()
	now := h.describe(*first.ContainerInstanceArn)
	if m, _ := resourceOf(now.RemainingResources, "MEMORY"); m != 4000 || attributeMap(now.Attributes)["mine"] != "1" || val(now.AgentConnected) ||
		now.HealthStatus.OverallStatus != ecs.InstanceHealthCheckStateInsufficientData || len(now.Tags) != 1 || *now.Ec2InstanceId != "i-1" {
		t.Errorf("%+v", now)
	}
	if _, p := resourceOf(now.RemainingResources, "PORTS"); !slices.Equal(p, []string{"22", "2375", "51678"}) {
		t.Error(p)
	}
	c := must(h.DescribeClusters(h.ctx, &ecs.DescribeClustersInput{Clusters: []string{"c"}}))(t).Clusters[0]
	if *c.RegisteredContainerInstancesCount != 1 {
		t.Error(*c.RegisteredContainerInstancesCount)
	}
	_, err := h.DeleteCluster(h.ctx, &ecs.DeleteClusterInput{Cluster: new("c")})
	refused(t, err, "ClusterContainsContainerInstancesException", "active or draining")
}

func TestRegistrationsThatLie(t *testing.T) {
	h := startInstances(t)
	for name, tt := range map[string]struct {
		in            *ecs.RegisterContainerInstanceInput
		code, message string
	}{
		"too much CPU":    {registerInstance("i-1", func(in *ecs.RegisterContainerInstanceInput) { in.TotalResources[0] = integer("CPU", 4096) }), "ClientException", "m5.large has 2048"},
		"too much memory": {registerInstance("i-1", func(in *ecs.RegisterContainerInstanceInput) { in.TotalResources[1] = integer("MEMORY", 8193) }), "ClientException", "m5.large has 8192"},
		"negative":        {registerInstance("i-1", func(in *ecs.RegisterContainerInstanceInput) { in.TotalResources[0] = integer("CPU", -1) }), "InvalidParameterException", "CPU cannot be -1"},
		"no memory":       {registerInstance("i-1", func(in *ecs.RegisterContainerInstanceInput) { in.TotalResources = in.TotalResources[:1] }), "InvalidParameterException", "must include MEMORY"},
		"bad port":        {registerInstance("i-1", func(in *ecs.RegisterContainerInstanceInput) { in.TotalResources[2] = stringSet("PORTS", "70000") }), "InvalidParameterException", "invalid port: 70000"},
		"another's":       {registerInstance("i-2"), "ClientException", "neither its signature nor the credentials"},
		"no instance":     {registerInstance("i-3"), "ClientException", "there is no instance i-3"},
		"another zone": {registerInstance("i-1", func(in *ecs.RegisterContainerInstanceInput) {
			in.Attributes = append(in.Attributes, ecs.Attribute{Name: new("ecs.vpc-id"), Value: new("vpc-9")})
		}), "ClientException", "ecs.vpc-id=vpc-9; it is vpc-1"},
		"bad name":   {registerInstance("i-1", func(in *ecs.RegisterContainerInstanceInput) { in.Attributes[0].Name = new("a b") }), "InvalidParameterException", "Invalid attribute name"},
		"no cluster": {registerInstance("i-1", func(in *ecs.RegisterContainerInstanceInput) { in.Cluster = nil }), "ClusterNotFoundException", ""},
		"unknown ARN": {registerInstance("i-1", func(in *ecs.RegisterContainerInstanceInput) {
			in.ContainerInstanceArn = new(model.ECSContainerInstanceARN(region, account, "c", strings.Repeat("0", 32)))
		}), "InvalidParameterException", "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.RegisterContainerInstance(h.ctx, tt.in)
			refused(t, err, tt.code, tt.message)
		})
	}
	if l := must(h.ListContainerInstances(h.ctx, &ecs.ListContainerInstancesInput{Cluster: new("c")}))(t); len(l.ContainerInstanceArns) != 0 {
		t.Error("a lie was registered")
	}
}

// external registers a machine of the user's.
func (h *instances) external() string {
	h.t.Helper()
	return *must(h.RegisterContainerInstance(h.ctx, registerInstance("")))(h.t).ContainerInstance.ContainerInstanceArn
}

func TestExternalInstancesKeepTheirOwner(t *testing.T) {
	h := startInstances(t)
	arn := h.external()
	in := registerInstance("", func(in *ecs.RegisterContainerInstanceInput) { in.ContainerInstanceArn = &arn })
	must(h.RegisterContainerInstance(h.ctx, in))(t)
	h.as("i-2")
	_, err := h.RegisterContainerInstance(h.ctx, in)
	refused(t, err, "ClientException", "registered with other credentials")
}

func TestListContainerInstances(t *testing.T) {
	h := startInstances(t)
	var arns []string
	for range 5 {
		arns = append(arns, h.external())
	}
	slices.Sort(arns)
	must(h.UpdateContainerInstancesState(h.ctx, &ecs.UpdateContainerInstancesStateInput{Cluster: new("c"), ContainerInstances: arns[:1], Status: "DRAINING"}))(t)
	must(h.DeregisterContainerInstance(h.ctx, &ecs.DeregisterContainerInstanceInput{Cluster: new("c"), ContainerInstance: &arns[4]}))(t)
	must(h.PutAttributes(h.ctx, &ecs.PutAttributesInput{Cluster: new("c"), Attributes: []ecs.Attribute{{Name: new("stack"), Value: new("green"), TargetId: &arns[1]}}}))(t)
	for name, tt := range map[string]struct {
		filter, status string
		want           []string
	}{
		"all that are there": {want: arns[:4]},
		"draining":           {status: "DRAINING", want: arns[:1]},
		"inactive":           {status: "INACTIVE", want: arns[4:]},
		"by attribute":       {filter: "attribute:stack == green", want: arns[1:2]},
		"by tasks":           {filter: "runningTasksCount == 0 and attribute:stack == blue", want: []string{arns[0], arns[2], arns[3]}},
	} {
		t.Run(name, func(t *testing.T) {
			in := &ecs.ListContainerInstancesInput{Cluster: new("c"), Filter: &tt.filter, Status: ecs.ContainerInstanceStatus(tt.status), MaxResults: new(int32(2))}
			var got []string
			for {
				out := must(h.ListContainerInstances(h.ctx, in))(t)
				got = append(got, out.ContainerInstanceArns...)
				if in.NextToken = out.NextToken; in.NextToken == nil {
					break
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
	_, err := h.ListContainerInstances(h.ctx, &ecs.ListContainerInstancesInput{Cluster: new("c"), Filter: new("attribute:")})
	refused(t, err, "InvalidParameterException", "Invalid filter")
	_, err = h.UpdateContainerAgent(h.ctx, &ecs.UpdateContainerAgentInput{Cluster: new("c"), ContainerInstance: &arns[0]})
	refused(t, err, "MissingVersionException", "")
	if _, err := tables.ECSContainerInstances.Update(h.ctx, h.harness.store, account, region, strings.SplitN(arns[0], "/", 2)[1], func(i *model.ContainerInstance) error {
		i.AgentVersion = "1.105.0"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	_, err = h.UpdateContainerAgent(h.ctx, &ecs.UpdateContainerAgentInput{Cluster: new("c"), ContainerInstance: &arns[0]})
	refused(t, err, "NoUpdateAvailableException", "")
}

// An external agent that has not heard that it is registered asks again, by the
// same client token.
func TestRegisterAgainByToken(t *testing.T) {
	h := startInstances(t)
	register := func(token string) string {
		t.Helper()
		in := registerInstance("", func(in *ecs.RegisterContainerInstanceInput) { in.InstanceIdentityDocument = nil })
		if token != "" {
			in.ClientToken = &token
		}
		return *must(h.RegisterContainerInstance(h.ctx, in))(t).ContainerInstance.ContainerInstanceArn
	}
	first := register("t1")
	if again := register("t1"); again != first {
		t.Errorf("registered as %s, was %s", again, first)
	}
	other := map[string]bool{first: true}
	for _, token := range []string{"t2", "", ""} {
		if arn := register(token); other[arn] {
			t.Errorf("%q is %s again", token, arn)
		} else {
			other[arn] = true
		}
	}
	h.as("i-2") // somebody else's token is not his
	if arn := register("t1"); other[arn] {
		t.Errorf("registered as somebody else's %s", arn)
	}
	h.as("i-1")
	must(h.DeregisterContainerInstance(h.ctx, &ecs.DeregisterContainerInstanceInput{Cluster: new("c"), ContainerInstance: &first}))(t)
	second := register("t1")
	if second == first || register("t1") != second {
		t.Errorf("registered as %s after %s", second, first)
	}
	in := registerInstance("i-1")
	in.ClientToken = new("a\x00b")
	_, err := h.RegisterContainerInstance(h.ctx, in)
	refused(t, err, "InvalidParameterException", "clientToken")
}

func TestAttributes(t *testing.T) {
	h := startInstances(t)
	arn := h.external()
	put := func(name, value string) error {
		_, err := h.PutAttributes(h.ctx, &ecs.PutAttributesInput{Cluster: new("c"), Attributes: []ecs.Attribute{{Name: &name, Value: &value, TargetId: &arn}}})
		return err
	}
	refused(t, put("ecs.instance-type", "x"), "InvalidParameterException", "reserved")
	refused(t, put("a", " x"), "InvalidParameterException", "Invalid attribute value")
	for i := range 9 { // beside stack
		if err := put(fmt.Sprint("n", i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, put("n9", "v"), "AttributeLimitExceededException", "10")
	if err := put("n1", "w"); err != nil {
		t.Error(err)
	}
	_, err := h.PutAttributes(h.ctx, &ecs.PutAttributesInput{Cluster: new("c"), Attributes: []ecs.Attribute{{Name: new("a"), TargetType: "container-instance", TargetId: new(strings.Repeat("0", 32))}}})
	refused(t, err, "TargetNotFoundException", "")
	in := &ecs.ListAttributesInput{Cluster: new("c"), TargetType: "container-instance", MaxResults: new(int32(3))}
	got := map[string]string{}
	for {
		out := must(h.ListAttributes(h.ctx, in))(t)
		for n, v := range attributeMap(out.Attributes) {
			if _, twice := got[n]; twice {
				t.Error("twice:", n)
			}
			got[n] = v
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if len(got) != 12 || got["n1"] != "w" { // ten custom ones, the system and a capability
		t.Errorf("%d: %v", len(got), got)
	}
	must(h.DeleteAttributes(h.ctx, &ecs.DeleteAttributesInput{Cluster: new("c"), Attributes: []ecs.Attribute{
		{Name: new("n1"), Value: new("other"), TargetId: &arn}, {Name: new("n2"), TargetId: &arn},
	}}))(t)
	left := attributeMap(h.describe(arn).Attributes)
	if _, ok := left["n2"]; ok || left["n1"] != "w" {
		t.Error(left)
	}
}

// task puts a task on an instance.
func (h *instances) task(id, instance string) string {
	h.t.Helper()
	tx := store.NewTxn()
	arn := model.ECSTaskARN(region, account, "c", id)
	tables.ECSTasks.Put(tx, account, region, "c/"+id, &model.Task{
		TaskARN: arn, TaskID: id, ClusterName: "c",
		Spec: model.TaskSpec{
			LaunchType: "EC2", CPU: "256", Memory: "512", Group: "family:web", HostPorts: []model.HostPort{{Number: 80}, {Number: 53, UDP: true}},
			Containers: []model.TaskContainer{{Name: "app"}},
		},
		Status: model.TaskStatus{LastStatus: model.TaskRunning, Node: instance},
	})
	if _, err := tx.Commit(h.ctx, h.harness.store); err != nil {
		h.t.Fatal(err)
	}
	return arn
}

func TestTasksOfAnInstance(t *testing.T) {
	h := startInstances(t)
	arn := *must(h.RegisterContainerInstance(h.ctx, registerInstance("i-1")))(t).ContainerInstance.ContainerInstanceArn
	id := arn[strings.LastIndexByte(arn, '/')+1:]
	task := h.task(strings.Repeat("a", 32), id)
	h.caughtUp()
	now := h.describe(id)
	cpu, _ := resourceOf(now.RemainingResources, "CPU")
	memory, _ := resourceOf(now.RemainingResources, "MEMORY")
	_, tcp := resourceOf(now.RemainingResources, "PORTS")
	_, udp := resourceOf(now.RemainingResources, "PORTS_UDP")
	if cpu != 2048-256 || memory != 7900-512 || !slices.Contains(tcp, "80") || !slices.Equal(udp, []string{"53"}) || *now.RunningTasksCount != 1 {
		t.Errorf("%d CPU, %d memory, %v, %v, %d tasks", cpu, memory, tcp, udp, *now.RunningTasksCount)
	}
	if total, p := resourceOf(now.RegisteredResources, "CPU"); total != 2048 || p != nil {
		t.Error(total)
	}
	report := func(container string) error {
		_, err := h.SubmitTaskStateChange(h.ctx, &ecs.SubmitTaskStateChangeInput{Cluster: new("c"), Task: &task, Status: new("RUNNING"), Containers: []ecs.ContainerStateChange{{ContainerName: &container}}})
		return err
	}
	if err := report("app"); err != nil || len(h.reports.got) != 1 {
		t.Error(err, h.reports.got)
	}
	refused(t, report("other"), "InvalidParameterException", "no container other")
	h.as("i-2")
	refused(t, report("app"), "AccessDeniedException", "is not the agent")
	if _, err := h.SubmitTaskStateChange(h.ctx, &ecs.SubmitTaskStateChangeInput{Cluster: new("c"), Task: new(strings.Repeat("b", 32)), Status: new("STOPPED")}); err != nil || len(h.reports.got) != 1 {
		t.Error(err, h.reports.got)
	}
	_, err := h.DeregisterContainerInstance(h.ctx, &ecs.DeregisterContainerInstanceInput{Cluster: new("c"), ContainerInstance: &id})
	refused(t, err, "InvalidParameterException", "Found running tasks")
	gone := must(h.DeregisterContainerInstance(h.ctx, &ecs.DeregisterContainerInstanceInput{Cluster: new("c"), ContainerInstance: &id, Force: new(true)}))(t)
	if *gone.ContainerInstance.Status != "INACTIVE" || h.reports.got[1] != id+" "+strings.Repeat("a", 32)+" STOPPED" {
		t.Error(*gone.ContainerInstance.Status, h.reports.got)
	}
	h.as("i-1")
	_, err = h.RegisterContainerInstance(h.ctx, registerInstance("i-1", func(in *ecs.RegisterContainerInstanceInput) { in.ContainerInstanceArn = &arn }))
	refused(t, err, "ClientException", "inactive")
}

func TestDiscoverPollEndpoint(t *testing.T) {
	h := startInstances(t)
	h.call.Host = "169.254.170.2:4566"
	out := must(h.DiscoverPollEndpoint(h.ctx, &ecs.DiscoverPollEndpointInput{Cluster: new("c")}))(t)
	if *out.Endpoint != "http://169.254.170.2:4566/_roadstead/agent/acs" || *out.TelemetryEndpoint != "http://169.254.170.2:4566/_roadstead/agent/tcs" {
		t.Error(*out.Endpoint, *out.TelemetryEndpoint)
	}
}
