package autoscaling_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	api2 "roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func TestHooks(t *testing.T) {
	w := newWorld(t)
	w.group("web", func(in *api2.CreateAutoScalingGroupInput) {
		in.LifecycleHookSpecificationList = []api2.LifecycleHookSpecification{{LifecycleHookName: new("up"), LifecycleTransition: new("autoscaling:EC2_INSTANCE_LAUNCHING")}}
	})
	put := func(change func(in *api2.PutLifecycleHookInput)) error {
		in := &api2.PutLifecycleHookInput{AutoScalingGroupName: new("web"), LifecycleHookName: new("down")}
		change(in)
		_, err := w.PutLifecycleHook(w.ctx, in)
		return err
	}
	transition := new("autoscaling:EC2_INSTANCE_TERMINATING")
	fails(t, put(func(*api2.PutLifecycleHookInput) {}), "ValidationError", "LifecycleTransition parameter is required")
	fails(t, put(func(in *api2.PutLifecycleHookInput) {
		in.LifecycleTransition, in.HeartbeatTimeout = transition, new(int32(29))
	}), "ValidationError", "between 30 and 7200")
	fails(t, put(func(in *api2.PutLifecycleHookInput) {
		in.LifecycleTransition, in.DefaultResult = transition, new("STOP")
	}), "ValidationError", "either CONTINUE or ABANDON")
	queue, role := new("arn:aws:sqs:eu-west-1:000000000000:q"), new("arn:aws:iam::000000000000:role/r")
	fails(t, put(func(in *api2.PutLifecycleHookInput) {
		in.LifecycleTransition, in.NotificationTargetARN, in.RoleARN = transition, queue, role
	}),
		"ValidationError", "Unable to publish test message to notification target arn:aws:sqs:eu-west-1:000000000000:q using IAM role arn:aws:iam::000000000000:role/r.")
	fails(t, put(func(in *api2.PutLifecycleHookInput) {
		in.LifecycleTransition, in.NotificationTargetARN = transition, queue
	}), "ValidationError", "Unable to publish")
	fails(t, put(func(in *api2.PutLifecycleHookInput) { in.LifecycleTransition, in.RoleARN = transition, role }), "ValidationError", "NotificationTargetARN")
	w.denied = "iam:PassRole"
	fails(t, put(func(in *api2.PutLifecycleHookInput) {
		in.LifecycleTransition, in.NotificationTargetARN, in.RoleARN = transition, queue, role
	}), "AccessDenied", "iam:PassRole")
	if err := put(func(in *api2.PutLifecycleHookInput) {
		in.LifecycleTransition, in.HeartbeatTimeout, in.NotificationMetadata = transition, new(int32(60)), new("m")
	}); err != nil {
		t.Fatal(err)
	}
	// A change leaves what it does not name.
	if err := put(func(in *api2.PutLifecycleHookInput) { in.DefaultResult = new("CONTINUE") }); err != nil {
		t.Fatal(err)
	}
	list := func(names ...string) []api2.LifecycleHook {
		t.Helper()
		return must[*api2.DescribeLifecycleHooksOutput](t)(w.DescribeLifecycleHooks(w.ctx, &api2.DescribeLifecycleHooksInput{AutoScalingGroupName: new("web"), LifecycleHookNames: names})).LifecycleHooks
	}
	want := []api2.LifecycleHook{
		{
			AutoScalingGroupName: new("web"), LifecycleHookName: new("up"), LifecycleTransition: new("autoscaling:EC2_INSTANCE_LAUNCHING"), DefaultResult: new("ABANDON"),
			HeartbeatTimeout: new(int32(3600)), GlobalTimeout: new(int32(172800)),
		},
		{
			AutoScalingGroupName: new("web"), LifecycleHookName: new("down"), LifecycleTransition: transition, DefaultResult: new("CONTINUE"),
			HeartbeatTimeout: new(int32(60)), GlobalTimeout: new(int32(6000)), NotificationMetadata: new("m"),
		},
	}
	if d := cmp.Diff(want, list()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want[1:], list("down")); d != "" {
		t.Error(d)
	}
	remove := func(name string) error {
		_, err := w.DeleteLifecycleHook(w.ctx, &api2.DeleteLifecycleHookInput{AutoScalingGroupName: new("web"), LifecycleHookName: &name})
		return err
	}
	if err := remove("down"); err != nil {
		t.Fatal(err)
	}
	fails(t, remove("down"), "ValidationError", "No Lifecycle Hook found with name: down")
	for i := range 49 {
		if err := put(func(in *api2.PutLifecycleHookInput) {
			in.LifecycleTransition, in.LifecycleHookName = transition, new("h"+strconv.Itoa(i))
		}); err != nil {
			t.Fatal(err)
		}
	}
	fails(t, put(func(in *api2.PutLifecycleHookInput) { in.LifecycleTransition = transition }), "LimitExceeded", "50 lifecycle hooks")
}

func TestLifecycleActions(t *testing.T) {
	w := newWorld(t)
	w.group("web", func(in *api2.CreateAutoScalingGroupInput) {
		for _, name := range []string{"one", "two"} {
			in.LifecycleHookSpecificationList = append(in.LifecycleHookSpecificationList,
				api2.LifecycleHookSpecification{LifecycleHookName: &name, LifecycleTransition: new("autoscaling:EC2_INSTANCE_LAUNCHING"), HeartbeatTimeout: new(int32(60))})
		}
	})
	token := func(n int) string { return strings.Repeat(strconv.Itoa(n), 36) }
	w.joins("web", "i-1", model.ASGPendingWait, func(m *model.ASGInstance) {
		for i, name := range []string{"one", "two"} {
			m.HookActions = append(m.HookActions, model.ASGHookAction{
				Hook: name, Token: token(i + 1), BegunAt: start, ExpiresAt: start.Add(time.Minute), EndsAt: start.Add(100 * time.Second),
			})
		}
	})
	beat := func(hook string, tok, id *string) error {
		_, err := w.RecordLifecycleActionHeartbeat(w.ctx, &api2.RecordLifecycleActionHeartbeatInput{
			AutoScalingGroupName: new("web"), LifecycleHookName: &hook, LifecycleActionToken: tok, InstanceId: id,
		})
		return err
	}
	complete := func(hook, result string, tok, id *string) error {
		_, err := w.CompleteLifecycleAction(w.ctx, &api2.CompleteLifecycleActionInput{
			AutoScalingGroupName: &w.record("web").ARN, LifecycleHookName: &hook, LifecycleActionResult: &result, LifecycleActionToken: tok, InstanceId: id,
		})
		return err
	}
	w.ctx = w.at(30 * time.Second)
	if err := beat("one", nil, new("i-1")); err != nil {
		t.Fatal(err)
	}
	w.ctx = w.at(50 * time.Second)
	if err := beat("two", new(token(2)), nil); err != nil {
		t.Fatal(err)
	}
	if a := w.member("web", "i-1").HookActions; !a[0].ExpiresAt.Equal(start.Add(90*time.Second)) || !a[1].ExpiresAt.Equal(start.Add(100*time.Second)) {
		t.Errorf("actions %+v", a)
	}
	fails(t, beat("three", nil, new("i-1")), "ValidationError", "No Lifecycle Hook found with name: three")
	fails(t, beat("one", nil, nil), "ValidationError", "must be specified")
	fails(t, complete("one", "MAYBE", nil, new("i-1")), "ValidationError", "either CONTINUE or ABANDON")
	fails(t, complete("one", "CONTINUE", new(token(2)), nil), "ValidationError", "No active Lifecycle Action found with token "+token(2)) // it is the other's
	fails(t, complete("one", "CONTINUE", new(token(9)), nil), "ValidationError", "No active Lifecycle Action found with token "+token(9))
	fails(t, complete("one", "CONTINUE", nil, new("i-9")), "ValidationError", "No active Lifecycle Action found with instance ID i-9")
	if err := complete("one", "CONTINUE", new(token(1)), nil); err != nil {
		t.Fatal(err)
	}
	if err := complete("two", "ABANDON", nil, new("i-1")); err != nil {
		t.Fatal(err)
	}
	if a := w.member("web", "i-1").HookActions; a[0].Result != "CONTINUE" || a[1].Result != "ABANDON" {
		t.Errorf("actions %+v", a)
	}
	fails(t, complete("two", "CONTINUE", nil, new("i-1")), "ValidationError", "No active Lifecycle Action found with instance ID i-1")
}

func TestProcesses(t *testing.T) {
	w := newWorld(t)
	w.group("web", nil)
	suspended := func() (out []string) {
		for _, p := range w.describe("web").SuspendedProcesses {
			out = append(out, *p.ProcessName+": "+*p.SuspensionReason)
		}
		return out
	}
	_, err := w.SuspendProcesses(w.ctx, &api2.SuspendProcessesInput{AutoScalingGroupName: new("web"), ScalingProcesses: []string{"Sleep"}})
	fails(t, err, "ValidationError", "Sleep")
	must[*api2.SuspendProcessesOutput](t)(w.SuspendProcesses(w.ctx, &api2.SuspendProcessesInput{AutoScalingGroupName: new("web"), ScalingProcesses: []string{"Terminate", "Launch"}}))
	w.ctx = w.at(time.Hour)
	must[*api2.SuspendProcessesOutput](t)(w.SuspendProcesses(w.ctx, &api2.SuspendProcessesInput{AutoScalingGroupName: new("web")}))
	got := suspended()
	if len(got) != 9 || !slices.Contains(got, "Launch: User suspended at 2026-01-02T03:04:05Z") || !slices.Contains(got, "HealthCheck: User suspended at 2026-01-02T04:04:05Z") {
		t.Errorf("suspended %v", got)
	}
	types := must[*api2.DescribeScalingProcessTypesOutput](t)(w.DescribeScalingProcessTypes(w.ctx, nil)).Processes
	must[*api2.ResumeProcessesOutput](t)(w.ResumeProcesses(w.ctx, &api2.ResumeProcessesInput{AutoScalingGroupName: new("web"), ScalingProcesses: []string{"Launch"}}))
	if got := suspended(); len(got) != len(types)-1 {
		t.Errorf("suspended %v", got)
	}
	must[*api2.ResumeProcessesOutput](t)(w.ResumeProcesses(w.ctx, &api2.ResumeProcessesInput{AutoScalingGroupName: new("web")}))
	if got := suspended(); len(got) != 0 {
		t.Errorf("suspended %v", got)
	}
}

func TestMetricsAndTypes(t *testing.T) {
	w := newWorld(t)
	w.group("web", nil)
	_, err := w.EnableMetricsCollection(w.ctx, &api2.EnableMetricsCollectionInput{AutoScalingGroupName: new("web"), Granularity: new("1Hour")})
	fails(t, err, "ValidationError", "1Hour")
	_, err = w.EnableMetricsCollection(w.ctx, &api2.EnableMetricsCollectionInput{AutoScalingGroupName: new("web"), Granularity: new("1Minute"), Metrics: []string{"Mood"}})
	fails(t, err, "ValidationError", "Mood")
	must[*api2.EnableMetricsCollectionOutput](t)(w.EnableMetricsCollection(w.ctx, &api2.EnableMetricsCollectionInput{AutoScalingGroupName: new("web"), Granularity: new("1Minute"), Metrics: []string{"GroupMinSize", "GroupMaxSize"}}))
	must[*api2.DisableMetricsCollectionOutput](t)(w.DisableMetricsCollection(w.ctx, &api2.DisableMetricsCollectionInput{AutoScalingGroupName: new("web"), Metrics: []string{"GroupMinSize"}}))
	if d := cmp.Diff([]api2.EnabledMetric{{Metric: new("GroupMaxSize"), Granularity: new("1Minute")}}, w.describe("web").EnabledMetrics); d != "" {
		t.Error(d)
	}
	must[*api2.EnableMetricsCollectionOutput](t)(w.EnableMetricsCollection(w.ctx, &api2.EnableMetricsCollectionInput{AutoScalingGroupName: new("web"), Granularity: new("1Minute")}))
	if got, all := w.describe("web").EnabledMetrics, must[*api2.DescribeMetricCollectionTypesOutput](t)(w.DescribeMetricCollectionTypes(w.ctx, nil)); len(got) != len(all.Metrics) {
		t.Errorf("%d metrics of %d", len(got), len(all.Metrics))
	}
	if got := must[*api2.DescribeAdjustmentTypesOutput](t)(w.DescribeAdjustmentTypes(w.ctx, nil)).AdjustmentTypes; len(got) != 3 {
		t.Errorf("got %v", got)
	}
	if got := must[*api2.DescribeTerminationPolicyTypesOutput](t)(w.DescribeTerminationPolicyTypes(w.ctx, nil)).TerminationPolicyTypes; !slices.Contains(got, "OldestLaunchTemplate") {
		t.Errorf("got %v", got)
	}
	if got := must[*api2.DescribeLifecycleHookTypesOutput](t)(w.DescribeLifecycleHookTypes(w.ctx, nil)).LifecycleHookTypes; len(got) != 2 {
		t.Errorf("got %v", got)
	}
	if got := must[*api2.DescribeAutoScalingNotificationTypesOutput](t)(w.DescribeAutoScalingNotificationTypes(w.ctx, nil)).AutoScalingNotificationTypes; len(got) != 5 {
		t.Errorf("got %v", got)
	}
}

func TestTags(t *testing.T) {
	w := newWorld(t)
	w.group("a", nil)
	w.group("b", nil)
	tag := func(group, key, value string, propagate *bool) api2.Tag {
		return api2.Tag{ResourceId: &group, ResourceType: new("auto-scaling-group"), Key: &key, Value: &value, PropagateAtLaunch: propagate}
	}
	put := func(tags ...api2.Tag) error {
		_, err := w.CreateOrUpdateTags(w.ctx, &api2.CreateOrUpdateTagsInput{Tags: tags})
		return err
	}
	if err := put(tag("a", "k", "1", nil), tag("b", "k", "2", new(false)), tag(w.record("b").ARN, "l", "", new(true))); err != nil {
		t.Fatal(err)
	}
	if err := put(tag("b", "k", "3", nil)); err != nil { // which goes on not being propagated
		t.Fatal(err)
	}
	list := func(in *api2.DescribeTagsInput) (out []string, next *string) {
		t.Helper()
		got := must[*api2.DescribeTagsOutput](t)(w.DescribeTags(w.ctx, in))
		for _, tag := range got.Tags {
			out = append(out, *tag.ResourceId+" "+*tag.Key+"="+*tag.Value+" "+strconv.FormatBool(*tag.PropagateAtLaunch))
		}
		return out, got.NextToken
	}
	all := []string{"a k=1 true", "b k=3 false", "b l= true"}
	filter := func(name string, values ...string) api2.Filter { return api2.Filter{Name: &name, Values: values} }
	for _, tt := range []struct {
		filters []api2.Filter
		want    []string
	}{
		{nil, all},
		{[]api2.Filter{filter("auto-scaling-group", "b"), filter("key", "k", "x")}, all[1:2]},
		{[]api2.Filter{filter("value", "1", "")}, []string{all[0], all[2]}},
		{[]api2.Filter{filter("propagate-at-launch", "false")}, all[1:2]},
	} {
		if got, _ := list(&api2.DescribeTagsInput{Filters: tt.filters}); !slices.Equal(got, tt.want) {
			t.Errorf("got %v, want %v", got, tt.want)
		}
	}
	first, next := list(&api2.DescribeTagsInput{MaxRecords: new(int32(1))})
	rest, _ := list(&api2.DescribeTagsInput{NextToken: next})
	if !slices.Equal(append(first, rest...), all) {
		t.Errorf("pages %v and %v", first, rest)
	}
	_, err := w.DescribeTags(w.ctx, &api2.DescribeTagsInput{Filters: []api2.Filter{filter("color", "red")}})
	fails(t, err, "ValidationError", "Filter type color is not correct")
	fails(t, put(tag("c", "k", "", nil)), "ValidationError", "AutoScalingGroup not found - AutoScaling Group c not found")
	fails(t, put(tag("a", "AWS:k", "", nil)), "ValidationError", "aws:")
	fails(t, put(api2.Tag{Key: new("k"), ResourceId: new("a")}), "ValidationError", "Resource type is required")
	fails(t, put(api2.Tag{Key: new("k"), ResourceType: new("auto-scaling-group")}), "ValidationError", "Resource ID is required")
	fails(t, put(api2.Tag{Key: new("k"), ResourceId: new("a"), ResourceType: new("vpc")}), "ValidationError", "Invalid resource type: vpc")
	var many []api2.Tag
	for i := range 50 {
		many = append(many, tag("a", "n"+strconv.Itoa(i), "", nil))
	}
	fails(t, put(many...), "LimitExceeded", "50 tags")
	must[*api2.DeleteTagsOutput](t)(w.DeleteTags(w.ctx, &api2.DeleteTagsInput{Tags: []api2.Tag{
		tag("a", "k", "another value", nil), {ResourceId: new("b"), ResourceType: new("auto-scaling-group"), Key: new("k")}, tag("b", "l", "", nil),
	}}))
	if got, _ := list(&api2.DescribeTagsInput{}); !slices.Equal(got, all[:1]) {
		t.Errorf("got %v", got)
	}
}

func (w *world) targetGroup(name, kind string) string {
	w.Helper()
	arn := "arn:aws:elasticloadbalancing:eu-west-1:000000000000:targetgroup/" + name + "/" + (name + "0123456789abcdef")[:16]
	tx := store.NewTxn()
	tables.TargetGroups.Create(tx, account, region, model.TargetGroupID(arn), &model.TargetGroup{ARN: arn, Name: name, TargetType: kind})
	w.commit(tx)
	return arn
}

func TestTargetGroups(t *testing.T) {
	w := newWorld(t)
	one, two, ip := w.targetGroup("a", "instance"), w.targetGroup("b", "instance"), w.targetGroup("c", "ip")
	w.group("web", func(in *api2.CreateAutoScalingGroupInput) {
		in.TrafficSources = []api2.TrafficSourceIdentifier{{Identifier: &one}}
	})
	attach := func(arns ...string) error {
		_, err := w.AttachLoadBalancerTargetGroups(w.ctx, &api2.AttachLoadBalancerTargetGroupsInput{AutoScalingGroupName: new("web"), TargetGroupARNs: arns})
		return err
	}
	fails(t, attach(ip), "ValidationError", "Provided Target Groups have invalid target type. Please ensure all Target Groups have target type of instance.")
	fails(t, attach(strings.Replace(two, "b0", "x0", 1)), "ValidationError", "Provided Target Groups may not be valid.")
	fails(t, attach(make([]string, 11)...), "ValidationError", "less than or equal to 10")
	if err := attach(two, one); err != nil {
		t.Fatal(err)
	}
	got := w.describe("web")
	if !slices.Equal(got.TargetGroupARNs, []string{one, two}) || len(got.TrafficSources) != 2 || *got.TrafficSources[1].Identifier != two || *got.TrafficSources[1].Type != "elbv2" {
		t.Errorf("target groups %v, %+v", got.TargetGroupARNs, got.TrafficSources)
	}
	states := func() (out []string) {
		t.Helper()
		for _, s := range must[*api2.DescribeLoadBalancerTargetGroupsOutput](t)(w.DescribeLoadBalancerTargetGroups(w.ctx, &api2.DescribeLoadBalancerTargetGroupsInput{AutoScalingGroupName: new("web")})).LoadBalancerTargetGroups {
			out = append(out, *s.State)
		}
		return out
	}
	if got := states(); !slices.Equal(got, []string{"Added", "Added"}) {
		t.Errorf("states %v", got)
	}
	w.joins("web", "i-1", model.ASGInService, nil)
	w.joins("web", "i-2", model.ASGStandby, nil)
	tx := store.NewTxn()
	tables.Targets.Create(tx, account, region, model.TargetKey(model.TargetGroupID(two), "i-1", 80), &model.Target{TargetGroupARN: two, ID: "i-1", Port: 80})
	w.commit(tx)
	if got := states(); !slices.Equal(got, []string{"Adding", "Added"}) {
		t.Errorf("states %v", got)
	}
	tx = store.NewTxn()
	tables.TargetsHealth.Create(tx, account, region, model.TargetKey(model.TargetGroupID(two), "i-1", 80), &model.TargetHealth{State: model.TargetHealthHealthy})
	w.commit(tx)
	if got := states(); !slices.Equal(got, []string{"Adding", "InService"}) {
		t.Errorf("states %v", got)
	}
	sources := must[*api2.DescribeTrafficSourcesOutput](t)(w.DescribeTrafficSources(w.ctx, &api2.DescribeTrafficSourcesInput{AutoScalingGroupName: new("web"), TrafficSourceType: new("elbv2"), MaxRecords: new(int32(1))}))
	if len(sources.TrafficSources) != 1 || *sources.TrafficSources[0].Identifier != one || sources.NextToken == nil {
		t.Errorf("sources %+v", sources)
	}
	if none := must[*api2.DescribeTrafficSourcesOutput](t)(w.DescribeTrafficSources(w.ctx, &api2.DescribeTrafficSourcesInput{AutoScalingGroupName: new("web"), TrafficSourceType: new("elb")})); len(none.TrafficSources) != 0 {
		t.Errorf("sources %+v", none)
	}
	_, err := w.DescribeTrafficSources(w.ctx, &api2.DescribeTrafficSourcesInput{AutoScalingGroupName: new("web"), TrafficSourceType: new("tap")})
	fails(t, err, "ValidationError", "tap")
	must[*api2.DetachLoadBalancerTargetGroupsOutput](t)(w.DetachLoadBalancerTargetGroups(w.ctx, &api2.DetachLoadBalancerTargetGroupsInput{AutoScalingGroupName: new("web"), TargetGroupARNs: []string{one}}))
	_, err = w.DetachTrafficSources(w.ctx, &api2.DetachTrafficSourcesInput{AutoScalingGroupName: new("web"), TrafficSources: []api2.TrafficSourceIdentifier{{Identifier: &one, Type: new("elbv2")}}})
	fails(t, err, "ValidationError", "not part of the group")
	must[*api2.AttachTrafficSourcesOutput](t)(w.AttachTrafficSources(w.ctx, &api2.AttachTrafficSourcesInput{AutoScalingGroupName: new("web"), TrafficSources: []api2.TrafficSourceIdentifier{{Identifier: &one, Type: new("elbv2")}}}))
	must[*api2.DetachTrafficSourcesOutput](t)(w.DetachTrafficSources(w.ctx, &api2.DetachTrafficSourcesInput{AutoScalingGroupName: new("web"), TrafficSources: []api2.TrafficSourceIdentifier{{Identifier: &two}}}))
	if got := w.describe("web").TargetGroupARNs; !slices.Equal(got, []string{one}) {
		t.Errorf("target groups %v", got)
	}
	for _, kind := range []string{"elb", "vpc-lattice", "tap"} {
		_, err := w.AttachTrafficSources(w.ctx, &api2.AttachTrafficSourcesInput{AutoScalingGroupName: new("web"), TrafficSources: []api2.TrafficSourceIdentifier{{Identifier: new("x"), Type: &kind}}})
		fails(t, err, "ValidationError", "")
	}
}

// A group's classic load balancers are told by name, and its instances' health
// there tells their states.
func TestClassicLoadBalancers(t *testing.T) {
	w := newWorld(t)
	tx := store.NewTxn()
	for name, id := range map[string]string{"one": "1111111111111111", "two": "2222222222222222"} {
		tables.ELBNames.Put(tx, account, region, "classic/"+name, &model.ELBName{ID: id})
		tables.TargetGroups.Put(tx, account, region, id, &model.TargetGroup{ID: id, ARN: model.ClassicGroupARN(region, account, name, id), TargetType: "instance", Classic: true})
	}
	w.commit(tx)
	one := model.ClassicGroupARN(region, account, "one", "1111111111111111")
	tg := w.targetGroup("a", "instance")
	w.group("web", func(in *api2.CreateAutoScalingGroupInput) {
		in.LoadBalancerNames, in.TargetGroupARNs = []string{"one"}, []string{tg}
	})
	got := w.describe("web")
	if !slices.Equal(got.LoadBalancerNames, []string{"one"}) || !slices.Equal(got.TargetGroupARNs, []string{tg}) || len(got.TrafficSources) != 2 || *got.TrafficSources[1].Identifier != "one" || *got.TrafficSources[1].Type != "elb" {
		t.Errorf("attached %v %v %+v", got.LoadBalancerNames, got.TargetGroupARNs, got.TrafficSources)
	}
	attach := func(names ...string) error {
		_, err := w.AttachLoadBalancers(w.ctx, &api2.AttachLoadBalancersInput{AutoScalingGroupName: new("web"), LoadBalancerNames: names})
		return err
	}
	detach := func(names ...string) error {
		_, err := w.DetachLoadBalancers(w.ctx, &api2.DetachLoadBalancersInput{AutoScalingGroupName: new("web"), LoadBalancerNames: names})
		return err
	}
	fails(t, attach("nope"), "ValidationError", "Provided Load Balancers may not be valid.")
	fails(t, attach(make([]string, 11)...), "ValidationError", "less than or equal to 10")
	fails(t, detach("two"), "ValidationError", "not part of the group")
	_, err := w.AttachLoadBalancerTargetGroups(w.ctx, &api2.AttachLoadBalancerTargetGroupsInput{AutoScalingGroupName: new("web"), TargetGroupARNs: []string{one}})
	fails(t, err, "ValidationError", "Provided Target Groups may not be valid.")
	if err := attach("two", "one"); err != nil {
		t.Fatal(err)
	}
	w.joins("web", "i-1", model.ASGInService, nil)
	tx = store.NewTxn()
	key := model.TargetKey("1111111111111111", "i-1", model.ClassicTargetPort)
	tables.Targets.Create(tx, account, region, key, &model.Target{TargetGroupARN: one, ID: "i-1", Port: model.ClassicTargetPort})
	tables.TargetsHealth.Create(tx, account, region, key, &model.TargetHealth{State: model.TargetHealthHealthy})
	w.commit(tx)
	states := must[*api2.DescribeLoadBalancersOutput](t)(w.DescribeLoadBalancers(w.ctx, &api2.DescribeLoadBalancersInput{AutoScalingGroupName: new("web")})).LoadBalancers
	if len(states) != 2 || *states[0].LoadBalancerName != "one" || *states[0].State != "InService" || *states[1].State != "Adding" {
		t.Errorf("states %+v", states)
	}
	if groups := must[*api2.DescribeLoadBalancerTargetGroupsOutput](t)(w.DescribeLoadBalancerTargetGroups(w.ctx, &api2.DescribeLoadBalancerTargetGroupsInput{AutoScalingGroupName: new("web")})).LoadBalancerTargetGroups; len(groups) != 1 {
		t.Errorf("target groups %+v", groups)
	}
	sources := must[*api2.DescribeTrafficSourcesOutput](t)(w.DescribeTrafficSources(w.ctx, &api2.DescribeTrafficSourcesInput{AutoScalingGroupName: new("web"), TrafficSourceType: new("elb")})).TrafficSources
	if len(sources) != 2 || *sources[1].Identifier != "two" || *sources[1].Type != "elb" {
		t.Errorf("sources %+v", sources)
	}
	// One that is gone can be detached still.
	tx = store.NewTxn()
	tables.ELBNames.Erase(tx, account, region, "classic/two")
	w.commit(tx)
	if err := detach("two"); err != nil {
		t.Error(err)
	}
	must[*api2.DetachTrafficSourcesOutput](t)(w.DetachTrafficSources(w.ctx, &api2.DetachTrafficSourcesInput{AutoScalingGroupName: new("web"), TrafficSources: []api2.TrafficSourceIdentifier{{Identifier: new("one"), Type: new("elb")}}}))
	if got := w.describe("web"); len(got.LoadBalancerNames) != 0 || len(got.TargetGroupARNs) != 1 {
		t.Errorf("left %v %v", got.LoadBalancerNames, got.TargetGroupARNs)
	}
}

func TestRefresh(t *testing.T) {
	w := newWorld(t)
	w.template("lt-2", "next", model.LaunchData{ImageID: ami, InstanceType: "t3.small"})
	w.group("web", func(in *api2.CreateAutoScalingGroupInput) {
		in.HealthCheckGracePeriod, in.LaunchTemplate.Version = new(int32(20)), new("1")
	})
	begin := func(change func(in *api2.StartInstanceRefreshInput)) (string, error) {
		in := &api2.StartInstanceRefreshInput{AutoScalingGroupName: new("web"), Preferences: &api2.RefreshPreferences{}}
		change(in)
		out, err := w.StartInstanceRefresh(w.ctx, in)
		if err != nil {
			return "", err
		}
		return *out.InstanceRefreshId, nil
	}
	next := func(in *api2.StartInstanceRefreshInput) {
		in.DesiredConfiguration = &api2.DesiredConfiguration{LaunchTemplate: &api2.LaunchTemplateSpecification{LaunchTemplateName: new("next"), Version: new("1")}}
	}
	for _, tt := range []struct {
		name, message string
		change        func(in *api2.StartInstanceRefreshInput)
	}{
		{"a strategy", "ReplaceRootVolume", func(in *api2.StartInstanceRefreshInput) { in.Strategy = "ReplaceRootVolume" }},
		{"alarms", "alarms", func(in *api2.StartInstanceRefreshInput) {
			in.Preferences.AlarmSpecification = &api2.AlarmSpecification{Alarms: []string{"a"}}
		}},
		{"checkpoints", "checkpoints", func(in *api2.StartInstanceRefreshInput) { in.Preferences.CheckpointPercentages = []int32{50} }},
		{"a checkpoint's delay", "CheckpointDelay", func(in *api2.StartInstanceRefreshInput) { in.Preferences.CheckpointDelay = new(int32(5)) }},
		{"a bake time", "bake time", func(in *api2.StartInstanceRefreshInput) { in.Preferences.BakeTime = new(int32(5)) }},
		{"max alone", "MinHealthyPercentage must be specified", func(in *api2.StartInstanceRefreshInput) { in.Preferences.MaxHealthyPercentage = new(int32(120)) }},
		{"far apart", "greater than 100", func(in *api2.StartInstanceRefreshInput) {
			in.Preferences.MinHealthyPercentage, in.Preferences.MaxHealthyPercentage = new(int32(50)), new(int32(160))
		}},
		{"nothing desired", "either LaunchTemplate or MixedInstancesPolicy", func(in *api2.StartInstanceRefreshInput) { in.DesiredConfiguration = &api2.DesiredConfiguration{} }},
		{"a template that is not there", "does not exist", func(in *api2.StartInstanceRefreshInput) {
			in.DesiredConfiguration = &api2.DesiredConfiguration{LaunchTemplate: &api2.LaunchTemplateSpecification{LaunchTemplateName: new("none")}}
		}},
		{"a rollback to nothing", "AutoRollback", func(in *api2.StartInstanceRefreshInput) { in.Preferences.AutoRollback = new(true) }},
	} {
		_, err := begin(tt.change)
		if api.Code(err) != "ValidationError" || !strings.Contains(err.Error(), tt.message) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	cancel := func() error {
		_, err := w.CancelInstanceRefresh(w.ctx, &api2.CancelInstanceRefreshInput{AutoScalingGroupName: new("web")})
		return err
	}
	fails(t, cancel(), "ActiveInstanceRefreshNotFound", "No in progress or pending Instance Refresh found for Auto Scaling group web")
	first, err := begin(func(*api2.StartInstanceRefreshInput) {})
	if err != nil {
		t.Fatal(err)
	}
	_, err = begin(func(*api2.StartInstanceRefreshInput) {})
	fails(t, err, "InstanceRefreshInProgress", "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.")
	_, err = w.RollbackInstanceRefresh(w.ctx, &api2.RollbackInstanceRefreshInput{AutoScalingGroupName: new("web")})
	fails(t, err, "IrreversibleInstanceRefresh", "no desired configuration")
	list := func(ids ...string) []api2.InstanceRefresh {
		t.Helper()
		return must[*api2.DescribeInstanceRefreshesOutput](t)(w.DescribeInstanceRefreshes(w.ctx, &api2.DescribeInstanceRefreshesInput{AutoScalingGroupName: new("web"), InstanceRefreshIds: ids})).InstanceRefreshes
	}
	want := api2.InstanceRefresh{
		InstanceRefreshId: &first, AutoScalingGroupName: new("web"), Status: "Pending", Strategy: "Rolling",
		Preferences: &api2.RefreshPreferences{
			MinHealthyPercentage: new(int32(90)), MaxHealthyPercentage: new(int32(100)), InstanceWarmup: new(int32(20)), SkipMatching: new(false), AutoRollback: new(false),
			ScaleInProtectedInstances: "Wait", StandbyInstances: "Wait",
		},
	}
	if d := cmp.Diff([]api2.InstanceRefresh{want}, list()); d != "" {
		t.Error(d)
	}
	_, err = w.CancelInstanceRefresh(w.ctx, &api2.CancelInstanceRefreshInput{AutoScalingGroupName: new("web"), WaitForTransitioningInstances: new(false)})
	fails(t, err, "ValidationError", "without waiting")
	if err := cancel(); err != nil || list()[0].Status != "Cancelling" {
		t.Fatalf("cancelled: %v, %s", err, list()[0].Status)
	}
	// The controller carries it out.
	update := func(id string, f func(v *model.InstanceRefresh)) {
		t.Helper()
		_, err := tables.InstanceRefreshes.Update(w.ctx, w.store, account, region, "web/"+id, func(v *model.InstanceRefresh) error { f(v); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	update(first, func(v *model.InstanceRefresh) {
		v.Status, v.EndedAt, v.Total, v.ToReplace = model.RefreshCancelled, start, 3, []string{"i-1"}
	})
	w.ctx = w.at(time.Second)
	second, err := begin(func(in *api2.StartInstanceRefreshInput) {
		next(in)
		in.Preferences = &api2.RefreshPreferences{
			MinHealthyPercentage: new(int32(100)), MaxHealthyPercentage: new(int32(150)), InstanceWarmup: new(int32(0)), SkipMatching: new(true), AutoRollback: new(true),
			ScaleInProtectedInstances: "Ignore", StandbyInstances: "Terminate",
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	both := list()
	if len(both) != 2 || *both[0].InstanceRefreshId != second || *both[1].PercentageComplete != 66 || *both[1].InstancesToUpdate != 1 || both[1].Status != "Cancelled" {
		t.Errorf("got %+v", both)
	}
	if got := list(second)[0]; *got.DesiredConfiguration.LaunchTemplate.LaunchTemplateId != "lt-2" || *got.Preferences.MaxHealthyPercentage != 150 || *got.Preferences.InstanceWarmup != 0 ||
		!*got.Preferences.SkipMatching || got.Preferences.ScaleInProtectedInstances != "Ignore" || got.Preferences.StandbyInstances != "Terminate" {
		t.Errorf("got %+v", got)
	}
	if w.record("web").Spec.LaunchTemplate.ID != "lt-1" {
		t.Error("the group launches from the new template before it is refreshed")
	}
	_, err = w.UpdateAutoScalingGroup(w.ctx, &api2.UpdateAutoScalingGroupInput{AutoScalingGroupName: new("web"), LaunchTemplate: &api2.LaunchTemplateSpecification{LaunchTemplateName: new("web")}})
	fails(t, err, "ValidationError", "An active instance refresh with a desired configuration exists.")
	must[*api2.RollbackInstanceRefreshOutput](t)(w.RollbackInstanceRefresh(w.ctx, &api2.RollbackInstanceRefreshInput{AutoScalingGroupName: new("web")}))
	update(second, func(v *model.InstanceRefresh) {
		if !v.Rollback || v.Previous.ID != "lt-1" {
			t.Errorf("refresh %+v", v)
		}
		v.Status, v.RollbackAt, v.RollbackReason, v.RollbackTotal, v.RollbackPercentage = model.RefreshRollbackInProgress, start, "why", 2, 50
	})
	if got := list(second)[0].RollbackDetails; got == nil || *got.RollbackReason != "why" || *got.PercentageCompleteOnRollback != 50 || *got.InstancesToUpdateOnRollback != 2 {
		t.Errorf("rollback %+v", got)
	}
	page := must[*api2.DescribeInstanceRefreshesOutput](t)(w.DescribeInstanceRefreshes(w.ctx, &api2.DescribeInstanceRefreshesInput{AutoScalingGroupName: new("web"), MaxRecords: new(int32(1))}))
	if len(page.InstanceRefreshes) != 1 || page.NextToken == nil {
		t.Errorf("page %+v", page)
	}
}

// What is not served is refused for a group that there is, and its lists are
// empty.
func TestWhatIsNotServed(t *testing.T) {
	w := newWorld(t)
	w.group("web", nil)
	web, none := new("web"), new("none")
	for name, call := range map[string]func(group *string) error{
		"scaling policies": func(g *string) error {
			_, err := w.PutScalingPolicy(w.ctx, &api2.PutScalingPolicyInput{AutoScalingGroupName: g, PolicyName: new("p")})
			return err
		},
		"scheduled actions": func(g *string) error {
			_, err := w.PutScheduledUpdateGroupAction(w.ctx, &api2.PutScheduledUpdateGroupActionInput{AutoScalingGroupName: g, ScheduledActionName: new("p")})
			return err
		},
		"scheduled actions.": func(g *string) error {
			_, err := w.BatchPutScheduledUpdateGroupAction(w.ctx, &api2.BatchPutScheduledUpdateGroupActionInput{AutoScalingGroupName: g})
			return err
		},
		"notifications": func(g *string) error {
			_, err := w.PutNotificationConfiguration(w.ctx, &api2.PutNotificationConfigurationInput{AutoScalingGroupName: g})
			return err
		},
		"warm pools": func(g *string) error {
			_, err := w.PutWarmPool(w.ctx, &api2.PutWarmPoolInput{AutoScalingGroupName: g})
			return err
		},
		"Provided Load Balancers may not be valid": func(g *string) error {
			_, err := w.AttachLoadBalancers(w.ctx, &api2.AttachLoadBalancersInput{AutoScalingGroupName: g, LoadBalancerNames: []string{"x"}})
			return err
		},
		"not part of the group": func(g *string) error {
			_, err := w.DetachLoadBalancers(w.ctx, &api2.DetachLoadBalancersInput{AutoScalingGroupName: g, LoadBalancerNames: []string{"x"}})
			return err
		},
	} {
		fails(t, call(web), "ValidationError", name)
		fails(t, call(none), "ValidationError", "not found")
	}
	_, err := w.CreateLaunchConfiguration(w.ctx, &api2.CreateLaunchConfigurationInput{})
	fails(t, err, "UnsupportedOperation", "The Launch Configuration creation operation is not available in your account.")
	if out := must[*api2.DescribeLaunchConfigurationsOutput](t)(w.DescribeLaunchConfigurations(w.ctx, &api2.DescribeLaunchConfigurationsInput{})); len(out.LaunchConfigurations) != 0 {
		t.Error("a launch configuration")
	}
	if out := must[*api2.DescribePoliciesOutput](t)(w.DescribePolicies(w.ctx, &api2.DescribePoliciesInput{AutoScalingGroupName: web})); len(out.ScalingPolicies) != 0 {
		t.Error("a policy")
	}
	if out := must[*api2.DescribeScheduledActionsOutput](t)(w.DescribeScheduledActions(w.ctx, &api2.DescribeScheduledActionsInput{})); len(out.ScheduledUpdateGroupActions) != 0 {
		t.Error("a scheduled action")
	}
	if out := must[*api2.DescribeNotificationConfigurationsOutput](t)(w.DescribeNotificationConfigurations(w.ctx, &api2.DescribeNotificationConfigurationsInput{})); len(out.NotificationConfigurations) != 0 {
		t.Error("a notification")
	}
	if out := must[*api2.DescribeWarmPoolOutput](t)(w.DescribeWarmPool(w.ctx, &api2.DescribeWarmPoolInput{AutoScalingGroupName: web})); out.WarmPoolConfiguration != nil {
		t.Error("a warm pool")
	}
	if out := must[*api2.DescribeLoadBalancersOutput](t)(w.DescribeLoadBalancers(w.ctx, &api2.DescribeLoadBalancersInput{AutoScalingGroupName: web})); len(out.LoadBalancers) != 0 {
		t.Error("a load balancer")
	}
	_, err = w.DescribeScheduledActions(w.ctx, &api2.DescribeScheduledActionsInput{NextToken: new("x")})
	fails(t, err, "InvalidNextToken", "")
}
