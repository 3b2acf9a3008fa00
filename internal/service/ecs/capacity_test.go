package ecs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func asgARN(name string) string {
	return "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:6b1c0a5e-0000-4000-8000-000000000000:autoScalingGroupName/" + name
}

// group puts an Auto Scaling group.
func (h *harness) group(name string, change func(*model.AutoScalingGroup)) string {
	h.t.Helper()
	g := &model.AutoScalingGroup{Name: name, ARN: asgARN(name), Spec: model.ASGSpec{Max: 10}}
	if change != nil {
		change(g)
	}
	tx := store.NewTxn()
	tables.AutoScalingGroups.Put(tx, account, region, name, g)
	must(tx.Commit(h.ctx, h.store))(h.t)
	return g.ARN
}

func newProvider(name, group string) *ecs.CreateCapacityProviderInput {
	return &ecs.CreateCapacityProviderInput{Name: &name, AutoScalingGroupProvider: &ecs.AutoScalingGroupProvider{AutoScalingGroupArn: &group}}
}

// provide makes a group with a provider of the same name, and gives it to the
// cluster c besides those that it has.
func (h *harness) provide(name string, scales bool) {
	h.t.Helper()
	in := newProvider(name, h.group(name, nil))
	if scales {
		in.AutoScalingGroupProvider.ManagedScaling = &ecs.ManagedScaling{Status: "ENABLED"}
	}
	must(h.CreateCapacityProvider(h.ctx, in))(h.t)
	row := must(tables.ECSClusters.Get(h.ctx, h.store, account, region, "c"))(h.t)
	must(h.PutClusterCapacityProviders(h.ctx, &ecs.PutClusterCapacityProvidersInput{
		Cluster: new("c"), CapacityProviders: append(slices.Clone(row.V.CapacityProviders), name), DefaultCapacityProviderStrategy: []ecs.CapacityProviderStrategyItem{},
	}))(h.t)
	h.attached("c")
}

// attached ends the update of a cluster's attachments, as the controller does.
func (h *harness) attached(cluster string) {
	h.t.Helper()
	must(tables.ECSClusters.Update(h.ctx, h.store, account, region, cluster, func(c *model.Cluster) error {
		c.AttachmentsStatus, c.Provisioning = model.AttachmentsUpdated, false
		return nil
	}))(h.t)
}

func use(provider string, weight, base int32) ecs.CapacityProviderStrategyItem {
	return ecs.CapacityProviderStrategyItem{CapacityProvider: &provider, Weight: &weight, Base: &base}
}

func TestCapacityProviders(t *testing.T) {
	h := start(t)
	arn := h.group("g", nil)
	in := newProvider("cp", arn)
	in.Tags = []ecs.Tag{{Key: new("a"), Value: new("b")}}
	p := must(h.CreateCapacityProvider(h.ctx, in))(t).CapacityProvider
	want := &ecs.CapacityProvider{
		CapacityProviderArn: new("arn:aws:ecs:us-east-1:000000000000:capacity-provider/cp"), Name: new("cp"), Status: "ACTIVE", Type: "EC2_AUTOSCALING", Tags: in.Tags,
		AutoScalingGroupProvider: &ecs.AutoScalingGroupProvider{
			AutoScalingGroupArn: &arn, ManagedDraining: "ENABLED", ManagedTerminationProtection: "DISABLED",
			ManagedScaling: &ecs.ManagedScaling{
				Status: "DISABLED", TargetCapacity: new(int32(100)), MinimumScalingStepSize: new(int32(1)), MaximumScalingStepSize: new(int32(10000)), InstanceWarmupPeriod: new(int32(300)),
			},
		},
	}
	if d := cmp.Diff(want, p); d != "" {
		t.Error(d)
	}
	g := must(tables.AutoScalingGroups.Get(h.ctx, h.store, account, region, "g"))(t)
	if d := cmp.Diff([]model.ASGTag{{Key: "AmazonECSManaged", PropagateAtLaunch: true}}, g.V.Tags); d != "" {
		t.Error(d)
	}

	_, err := h.CreateCapacityProvider(h.ctx, in)
	refused(t, err, "ClientException", "The specified capacity provider already exists.")
	_, err = h.CreateCapacityProvider(h.ctx, newProvider("cp2", "g"))
	refused(t, err, "ClientException", "The specified Auto Scaling group ARN is already being used by another capacity provider.")

	updated := must(h.UpdateCapacityProvider(h.ctx, &ecs.UpdateCapacityProviderInput{Name: new("cp"), AutoScalingGroupProvider: &ecs.AutoScalingGroupProviderUpdate{
		ManagedDraining: "DISABLED", ManagedScaling: &ecs.ManagedScaling{Status: "ENABLED", TargetCapacity: new(int32(80))},
	}}))(t).CapacityProvider
	want.UpdateStatus, want.AutoScalingGroupProvider.ManagedDraining = "UPDATE_COMPLETE", "DISABLED"
	want.AutoScalingGroupProvider.ManagedScaling.Status, want.AutoScalingGroupProvider.ManagedScaling.TargetCapacity = "ENABLED", new(int32(80))
	if d := cmp.Diff(want, updated); d != "" {
		t.Error(d)
	}

	must(h.TagResource(h.ctx, &ecs.TagResourceInput{ResourceArn: want.CapacityProviderArn, Tags: []ecs.Tag{{Key: new("c"), Value: new("d")}}}))(t)
	must(h.UntagResource(h.ctx, &ecs.UntagResourceInput{ResourceArn: want.CapacityProviderArn, TagKeys: []string{"a"}}))(t)
	tags := must(h.ListTagsForResource(h.ctx, &ecs.ListTagsForResourceInput{ResourceArn: want.CapacityProviderArn}))(t)
	if d := cmp.Diff([]ecs.Tag{{Key: new("c"), Value: new("d")}}, tags.Tags); d != "" {
		t.Error(d)
	}
	described := must(h.DescribeCapacityProviders(h.ctx, &ecs.DescribeCapacityProvidersInput{CapacityProviders: []string{*want.CapacityProviderArn, "no", "FARGATE"}, Include: []ecs.CapacityProviderField{"TAGS"}}))(t)
	want.Tags = tags.Tags
	if d := cmp.Diff(*want, described.CapacityProviders[0]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]ecs.Failure{missing("arn:aws:ecs:us-east-1:000000000000:capacity-provider/no")}, described.Failures); d != "" {
		t.Error(d)
	}
	if c := described.CapacityProviders[1]; val(c.Name) != "FARGATE" || c.Type != "FARGATE" {
		t.Errorf("got %+v", c)
	}

	deleted := must(h.DeleteCapacityProvider(h.ctx, &ecs.DeleteCapacityProviderInput{CapacityProvider: want.CapacityProviderArn}))(t).CapacityProvider
	if deleted.Status != "ACTIVE" || deleted.UpdateStatus != "DELETE_IN_PROGRESS" {
		t.Errorf("deleted: %+v", deleted)
	}
	_, err = h.CreateCluster(h.ctx, &ecs.CreateClusterInput{ClusterName: new("late"), CapacityProviders: []string{"cp"}})
	refused(t, err, "InvalidParameterException", "The specified capacity provider 'cp' is not in an ACTIVE state.")
}

func TestCapacityProviderRefusals(t *testing.T) {
	h := start(t)
	open, guarded := h.group("open", nil), h.group("guarded", func(g *model.AutoScalingGroup) { g.Spec.NewInstancesProtected = true })
	h.group("going", func(g *model.AutoScalingGroup) { g.Deleting = true })
	with := func(name, group string, change func(*ecs.CreateCapacityProviderInput)) *ecs.CreateCapacityProviderInput {
		in := newProvider(name, group)
		if change != nil {
			change(in)
		}
		return in
	}
	protects := func(in *ecs.CreateCapacityProviderInput) {
		in.AutoScalingGroupProvider.ManagedTerminationProtection = "ENABLED"
	}
	scales := func(in *ecs.CreateCapacityProviderInput) {
		in.AutoScalingGroupProvider.ManagedScaling = &ecs.ManagedScaling{Status: "ENABLED"}
	}
	for name, c := range map[string]struct {
		in            *ecs.CreateCapacityProviderInput
		code, message string
	}{
		"aws":       {with("aws-x", open, nil), "ClientException", "The specified capacity provider name is invalid."},
		"ecs":       {with("ECSx", open, nil), "ClientException", "The specified capacity provider name is invalid."},
		"fargate":   {with("fargate", open, nil), "ClientException", "The specified capacity provider name is invalid."},
		"character": {with("a.b", open, nil), "ClientException", "The specified capacity provider name is invalid."},
		"long":      {with(strings.Repeat("a", 256), open, nil), "ClientException", "The specified capacity provider name is invalid."},
		"no group":  {with("a", asgARN("none"), nil), "ClientException", "The specified Auto Scaling group does not exist."},
		"going":     {with("a", asgARN("going"), nil), "ClientException", "The specified Auto Scaling group does not exist."},
		"other ARN": {with("a", "arn:aws:ecs:us-east-1:000000000000:cluster/a", nil), "ClientException", "The specified Auto Scaling group ARN is not valid."},
		"another account": {
			with("a", strings.Replace(open, account, "111111111111", 1), nil), "ClientException", "The specified Auto Scaling group ARN is not valid.",
		},
		"another group of the name": {with("a", strings.Replace(open, "6b1c", "7b1c", 1), nil), "ClientException", "The specified Auto Scaling group does not exist."},
		"protection without scaling": {
			with("a", guarded, protects), "ClientException", "managed scaling must be enabled.",
		},
		"protection of an open group": {
			with("a", open, func(in *ecs.CreateCapacityProviderInput) { protects(in); scales(in) }), "ClientException",
			"The managed termination protection setting for the capacity provider is invalid. To enable managed termination protection for a capacity provider, the Auto Scaling group must have instance protection from scale in enabled.",
		},
		"steps": {with("a", open, func(in *ecs.CreateCapacityProviderInput) {
			in.AutoScalingGroupProvider.ManagedScaling = &ecs.ManagedScaling{MinimumScalingStepSize: new(int32(5)), MaximumScalingStepSize: new(int32(4))}
		}), "ClientException", "minimumScalingStepSize"},
		"managed instances": {with("a", open, func(in *ecs.CreateCapacityProviderInput) {
			in.ManagedInstancesProvider = &ecs.CreateManagedInstancesProviderConfiguration{}
		}), "UnsupportedFeatureException", "managedInstancesProvider"},
		"none": {with("a", open, func(in *ecs.CreateCapacityProviderInput) { in.AutoScalingGroupProvider = nil }), "InvalidParameterException", "autoScalingGroupProvider"},
		"of a cluster": {
			with("a", open, func(in *ecs.CreateCapacityProviderInput) { in.Cluster = new("c") }), "InvalidParameterException", "A cluster can only be specified",
		},
		"tags": {with("a", open, func(in *ecs.CreateCapacityProviderInput) { in.Tags = []ecs.Tag{{Key: new("aws:a")}} }), "InvalidParameterException", "aws:"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.CreateCapacityProvider(h.ctx, c.in)
			refused(t, err, c.code, c.message)
		})
	}
	must(h.CreateCapacityProvider(h.ctx, with("fine", guarded, func(in *ecs.CreateCapacityProviderInput) { protects(in); scales(in) })))(t)
	_, err := h.UpdateCapacityProvider(h.ctx, &ecs.UpdateCapacityProviderInput{Name: new("fine"), AutoScalingGroupProvider: &ecs.AutoScalingGroupProviderUpdate{ManagedScaling: &ecs.ManagedScaling{Status: "DISABLED"}}})
	refused(t, err, "ClientException", "managed scaling must be enabled.")
	_, err = h.UpdateCapacityProvider(h.ctx, &ecs.UpdateCapacityProviderInput{Name: new("none"), AutoScalingGroupProvider: &ecs.AutoScalingGroupProviderUpdate{}})
	refused(t, err, "ClientException", "does not exist")
	for _, name := range []string{"none", "FARGATE_SPOT", "arn:aws:ecs:eu-west-1:000000000000:capacity-provider/fine"} {
		_, err = h.DeleteCapacityProvider(h.ctx, &ecs.DeleteCapacityProviderInput{CapacityProvider: &name})
		refused(t, err, "ClientException", "The specified capacity provider")
	}
}

// Pages neither skip nor repeat while providers come and go.
func TestCapacityProviderPages(t *testing.T) {
	h := start(t)
	var want []string
	for i := range 14 {
		name := fmt.Sprintf("p%02d", i)
		must(h.CreateCapacityProvider(h.ctx, newProvider(name, h.group(name, nil))))(t)
		want = append(want, name)
	}
	var got []string
	in := &ecs.DescribeCapacityProvidersInput{MaxResults: new(int32(3))}
	for page := 0; ; page++ {
		out := must(h.DescribeCapacityProviders(h.ctx, in))(t)
		for _, p := range out.CapacityProviders {
			got = append(got, val(p.Name))
		}
		if out.NextToken == nil {
			break
		}
		in.NextToken = out.NextToken
		if page == 1 { // the last one shown goes, and one comes before it
			last := got[len(got)-1]
			must(tables.ECSCapacityProviders.Update(h.ctx, h.store, account, region, last, func(p *model.CapacityProvider) error {
				p.Status = model.ECSInactive
				return nil
			}))(t)
			must(h.CreateCapacityProvider(h.ctx, newProvider("a", h.group("a", nil))))(t)
		}
	}
	if d := cmp.Diff(append([]string{"FARGATE", "FARGATE_SPOT"}, want...), got); d != "" {
		t.Error(d)
	}
	in.NextToken = new("nonsense")
	_, err := h.DescribeCapacityProviders(h.ctx, in)
	refused(t, err, "InvalidParameterException", "Invalid token")
}

func TestClusterCapacityProviders(t *testing.T) {
	h := start(t)
	must(h.CreateCapacityProvider(h.ctx, newProvider("cp", h.group("cp", nil))))(t)
	made := must(h.CreateCluster(h.ctx, &ecs.CreateClusterInput{
		ClusterName: new("c"), CapacityProviders: []string{"cp", "FARGATE"}, DefaultCapacityProviderStrategy: []ecs.CapacityProviderStrategyItem{use("cp", 1, 0)},
	}))(t).Cluster
	if val(made.Status) != "PROVISIONING" || val(made.AttachmentsStatus) != "UPDATE_IN_PROGRESS" {
		t.Errorf("made %s %s", val(made.Status), val(made.AttachmentsStatus))
	}
	put := func(strategy []ecs.CapacityProviderStrategyItem, providers ...string) error {
		_, err := h.PutClusterCapacityProviders(h.ctx, &ecs.PutClusterCapacityProvidersInput{Cluster: new("c"), CapacityProviders: providers, DefaultCapacityProviderStrategy: strategy})
		return err
	}
	refused(t, put(nil, "cp"), "UpdateInProgressException", "The specified cluster is in a busy state. Cluster attachments must be in UPDATE_COMPLETE or UPDATE_FAILED state before they can be updated. Wait and try again.")
	h.attached("c")
	refused(t, put([]ecs.CapacityProviderStrategyItem{use("cp", 1, 0), use("FARGATE", 1, 0)}, "cp", "FARGATE"), "InvalidParameterException",
		"A capacity provider strategy cannot contain a mix of capacity providers using Auto Scaling groups and Fargate providers. Specify one or the other and try again.")
	refused(t, put(nil, "cp", "cp"), "InvalidParameterException", "cannot contain duplicates")
	refused(t, put(nil, "none"), "InvalidParameterException", "'none' was not found")
	refused(t, put(nil, strings.Split(strings.Repeat("cp,", 20)+"cp", ",")...), "InvalidParameterException", "at most 20")

	// A provider that a cluster has stays, and one without clusters goes.
	out := must(h.DeleteCapacityProvider(h.ctx, &ecs.DeleteCapacityProviderInput{CapacityProvider: new("cp")}))(t).CapacityProvider
	if out.Status != "ACTIVE" || out.UpdateStatus != "DELETE_FAILED" || val(out.UpdateStatusReason) != "The capacity provider cannot be deleted because it is associated with cluster: c. Remove the capacity provider from the cluster and try again." {
		t.Errorf("deleted: %+v", out)
	}
	if err := put([]ecs.CapacityProviderStrategyItem{}, "FARGATE"); err != nil {
		t.Fatal(err)
	}
	h.attached("c")
	if out := must(h.DeleteCapacityProvider(h.ctx, &ecs.DeleteCapacityProviderInput{CapacityProvider: new("cp")}))(t).CapacityProvider; out.UpdateStatus != "DELETE_IN_PROGRESS" {
		t.Errorf("deleted: %+v", out)
	}
}

// Tasks go to the instances of their provider alone; where it scales they wait
// for room.
func TestRunTaskOnProviders(t *testing.T) {
	h := onInstances(t)
	h.provide("fixed", false)
	h.provide("grows", true)
	run := func(count int32, strategy ...ecs.CapacityProviderStrategyItem) *ecs.RunTaskInput {
		in := runOn("small", count)
		in.CapacityProviderStrategy = strategy
		return in
	}
	_, err := h.RunTask(h.ctx, run(1, use("fixed", 1, 0)))
	refused(t, err, "InvalidParameterException", "No Container Instances were found in your capacity provider.")
	h.register("n", nil) // of no provider
	_, err = h.RunTask(h.ctx, run(1, use("fixed", 1, 0)))
	refused(t, err, "InvalidParameterException", "No Container Instances were found in your capacity provider.")
	_, err = h.RunTask(h.ctx, run(1, use("FARGATE", 1, 0)))
	refused(t, err, "InvalidParameterException", "not associated with the cluster")

	waiting := must(h.RunTask(h.ctx, run(2, use("grows", 1, 0))))(t)
	if len(waiting.Tasks) != 2 || len(waiting.Failures) != 0 {
		t.Fatalf("ran %+v", waiting)
	}
	for _, task := range waiting.Tasks {
		if val(task.LastStatus) != "PROVISIONING" || task.LaunchType != "EC2" || val(task.CapacityProviderName) != "grows" || task.ContainerInstanceArn != nil {
			t.Errorf("waits: %+v", task)
		}
	}

	fixed := h.register("a", func(i *model.ContainerInstance) { i.CapacityProviderName, i.Memory = "fixed", 200 })
	grows := h.register("b", func(i *model.ContainerInstance) { i.CapacityProviderName, i.Memory = "grows", 200 })
	out := must(h.RunTask(h.ctx, run(8, use("fixed", 1, 2), use("grows", 1, 0))))(t)
	on := map[string]int{}
	for _, task := range out.Tasks {
		on[val(task.CapacityProviderName)+" "+val(task.ContainerInstanceArn)+" "+val(task.LastStatus)]++
	}
	// Five are fixed's, of which two have room; three are grows's.
	if d := cmp.Diff(map[string]int{"fixed " + fixed + " PENDING": 2, "grows " + grows + " PENDING": 2, "grows  PROVISIONING": 1}, on); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{fixed: "RESOURCE:MEMORY"}, reasons(out.Failures)); d != "" {
		t.Error(d)
	}

	// As many as AWS lets wait, and no more.
	tx := store.NewTxn()
	for i := range model.MaxProvisioning - 5 {
		task := *must(tables.ECSTasks.List(h.ctx, h.store, store.Query{Index: store.Index{Name: tables.ByLastStatus, Value: "PROVISIONING"}}))(t)[0].Copy()
		task.TaskID = fmt.Sprintf("%032d", i)
		tables.ECSTasks.Create(tx, account, region, "c/"+task.TaskID, &task)
	}
	must(tx.Commit(h.ctx, h.store))(t)
	_, err = h.RunTask(h.ctx, run(3, use("grows", 1, 0)))
	refused(t, err, "ClientException", "Tasks provisioning capacity limit exceeded.")
	must(h.RunTask(h.ctx, run(2, use("grows", 1, 0))))(t)

	_, err = h.PutClusterCapacityProviders(h.ctx, &ecs.PutClusterCapacityProvidersInput{Cluster: new("c"), CapacityProviders: []string{"fixed"}, DefaultCapacityProviderStrategy: []ecs.CapacityProviderStrategyItem{}})
	refused(t, err, "ResourceInUseException", "The specified capacity provider is in use and cannot be removed.")
}

// A service can go between launch types and kinds of providers, and back.
func TestServiceMovesBetweenProviders(t *testing.T) {
	h := onInstances(t)
	h.provide("cp", true)
	must(h.PutClusterCapacityProviders(h.ctx, &ecs.PutClusterCapacityProvidersInput{Cluster: new("c"), CapacityProviders: []string{"cp", "FARGATE"}, DefaultCapacityProviderStrategy: []ecs.CapacityProviderStrategyItem{}}))(t)
	h.attached("c")
	in := webDefinition()
	in.RequiresCompatibilities = []ecs.Compatibility{"EC2", "FARGATE"}
	must(h.RegisterTaskDefinition(h.ctx, in))(t)
	must(h.CreateService(h.ctx, &ecs.CreateServiceInput{
		Cluster: new("c"), ServiceName: new("s"), TaskDefinition: new("web"), DesiredCount: new(int32(1)), LaunchType: "EC2", NetworkConfiguration: network(),
	}))(t)
	for _, c := range []struct {
		strategy   []ecs.CapacityProviderStrategyItem
		launchType ecs.LaunchType
		platform   string
	}{
		{[]ecs.CapacityProviderStrategyItem{use("cp", 1, 0)}, "", ""},
		{[]ecs.CapacityProviderStrategyItem{use("FARGATE", 1, 0)}, "", "LATEST"},
		{[]ecs.CapacityProviderStrategyItem{use("cp", 1, 0)}, "", ""},
		{[]ecs.CapacityProviderStrategyItem{}, "EC2", ""},
	} {
		s := must(h.UpdateService(h.ctx, &ecs.UpdateServiceInput{Cluster: new("c"), Service: new("s"), CapacityProviderStrategy: c.strategy, ForceNewDeployment: new(true)}))(t).Service
		if s.LaunchType != c.launchType || val(s.PlatformVersion) != c.platform || len(s.CapacityProviderStrategy) != len(c.strategy) {
			t.Errorf("with %v: %s %q %v", c.strategy, s.LaunchType, val(s.PlatformVersion), s.CapacityProviderStrategy)
		}
	}
	_, err := h.CreateService(h.ctx, &ecs.CreateServiceInput{
		Cluster: new("c"), ServiceName: new("d"), TaskDefinition: new("small"), SchedulingStrategy: "DAEMON", CapacityProviderStrategy: []ecs.CapacityProviderStrategyItem{use("cp", 1, 0)},
	})
	refused(t, err, "InvalidParameterException", "Specifying a capacity provider strategy is not supported when you create a service using the DAEMON scheduling strategy.")
	must(h.CreateService(h.ctx, &ecs.CreateServiceInput{Cluster: new("c"), ServiceName: new("d"), TaskDefinition: new("small"), SchedulingStrategy: "DAEMON", LaunchType: "EC2"}))(t)
	_, err = h.UpdateService(h.ctx, &ecs.UpdateServiceInput{
		Cluster: new("c"), Service: new("d"), ForceNewDeployment: new(true), CapacityProviderStrategy: []ecs.CapacityProviderStrategyItem{use("cp", 1, 0)},
	})
	refused(t, err, "InvalidParameterException", "DAEMON")
}

// An instance registers with its group's provider, where the cluster has it.
func TestRegistrationNamesTheProvider(t *testing.T) {
	h := startInstances(t)
	for _, id := range []string{"i-1", "i-2"} {
		must(tables.Instances.Update(h.ctx, h.harness.store, account, region, id, func(i *model.Instance) error {
			i.Spec.AutoScalingGroup = "cp"
			return nil
		}))(t)
	}
	before := must(h.RegisterContainerInstance(h.ctx, registerInstance("i-1")))(t).ContainerInstance
	if before.CapacityProviderName != nil {
		t.Errorf("registered with %s", *before.CapacityProviderName)
	}
	h.provide("cp", false)
	for _, id := range []string{"i-1", "i-2"} {
		h.as(id)
		if got := must(h.RegisterContainerInstance(h.ctx, registerInstance(id)))(t).ContainerInstance; val(got.CapacityProviderName) != "cp" {
			t.Errorf("%s registered with %q", id, val(got.CapacityProviderName))
		}
	}
}
