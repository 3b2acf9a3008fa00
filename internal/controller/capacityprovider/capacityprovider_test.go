package capacityprovider

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "us-east-1"
)

var began = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// hand is a clock that is moved by hand.
type hand struct {
	clock.System
	now time.Time
}

func (h *hand) Now() time.Time { return h.now }

// world is a store with a cluster c, a group g of two instances and its
// provider cp.
type world struct {
	t     *testing.T
	store store.Store
	clock *hand
	work  *controller.Controller
	// also the attachments' and the waiting tasks'.
	attachments, waiting *controller.Controller
	book                 *fleet.Book
}

func start(t *testing.T, change func(*model.CapacityProvider)) *world {
	t.Helper()
	w := &world{t: t, store: memory.New(), clock: &hand{now: began}}
	w.book = fleet.New(w.store, func(int) int { return 0 })
	cfg := Config{Store: w.store, Clock: w.clock, Placer: w.book}
	w.work, w.attachments, w.waiting = New(cfg), NewAttachments(cfg), NewWaiting(cfg)
	p := &model.CapacityProvider{
		Name: "cp", Status: model.ECSActive, GroupARN: "arn:g", GroupName: "g", Draining: true,
		Scaling: model.ManagedScaling{Enabled: true, TargetCapacity: 100, MinimumStep: 1, MaximumStep: 10000, WarmupSeconds: 300},
	}
	if change != nil {
		change(p)
	}
	w.write(func(tx *store.Txn) {
		tables.ECSCapacityProviders.Put(tx, account, region, "cp", p)
		tables.ECSCapacityProviderGroups.Put(tx, account, region, "g", new("cp"))
		tables.ECSClusters.Put(tx, account, region, "c", &model.Cluster{
			ClusterName: "c", Status: model.ECSActive, CapacityProviders: []string{"FARGATE", "cp"}, AttachmentsStatus: model.AttachmentsUpdating, Provisioning: true,
		})
		tables.AutoScalingGroups.Put(tx, account, region, "g", &model.AutoScalingGroup{Name: "g", ARN: "arn:g", Desired: 2, Spec: model.ASGSpec{Max: 9}})
		tables.ECSTaskDefinitions.Put(tx, account, region, model.TaskDefinitionID("d", 1), &model.TaskDefinition{
			TaskDefinitionARN: model.ECSTaskDefinitionARN(region, account, "d", 1), Status: model.ECSActive, NetworkMode: "bridge",
		})
	})
	w.member("i-1", model.ASGInService)
	w.member("i-2", model.ASGInService)
	w.host("i-1", "c")
	w.host("i-2", "c")
	done := make(chan error, 1)
	ctx := t.Context()
	go func() { done <- w.book.Run(ctx) }()
	t.Cleanup(func() {
		_ = w.store.Close()
		<-done
	})
	return w
}

func (w *world) write(f func(*store.Txn)) {
	w.t.Helper()
	tx := store.NewTxn()
	f(tx)
	if _, err := tx.Commit(w.t.Context(), w.store); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) member(id, state string) {
	w.t.Helper()
	w.write(func(tx *store.Txn) {
		tables.ASGInstances.Put(tx, account, region, "g/"+id, &model.ASGInstance{Group: "g", InstanceID: id, InstanceType: "m5.large", LifecycleState: state, LaunchedAt: began.Add(-time.Hour)})
		tables.Instances.Put(tx, account, region, id, &model.Instance{ID: id, Spec: model.InstanceSpec{AutoScalingGroup: "g"}, Desired: model.InstanceDesired{State: model.InstanceRunning}})
	})
}

func (w *world) host(instance, cluster string) {
	w.t.Helper()
	w.write(func(tx *store.Txn) {
		id := "h" + instance
		tables.ECSContainerInstances.Put(tx, account, region, cluster+"/"+id, &model.ContainerInstance{
			ID: id, ClusterName: cluster, EC2InstanceID: instance, Status: model.ContainerInstanceActive, CPU: 1000, Memory: 1000, Connection: model.AgentConnection{Connected: true},
		})
	})
}

// task puts a task, which waits if it has no instance.
func (w *world) task(id, instance, service string) {
	w.t.Helper()
	t := &model.Task{
		TaskID: id, ClusterName: "c", Desired: model.TaskDesired{Status: model.TaskRunning}, Status: model.TaskStatus{LastStatus: model.TaskProvisioning},
		Spec: model.TaskSpec{
			TaskDefinitionARN: model.ECSTaskDefinitionARN(region, account, "d", 1), LaunchType: model.LaunchTypeEC2, CapacityProviderName: "cp",
			ServiceName: service, CreatedAt: w.clock.now, Containers: []model.TaskContainer{{Name: "a", CPU: "600", Memory: "100"}},
		},
	}
	if instance != "" {
		t.Status.LastStatus, t.Status.Node = model.TaskRunning, "h"+instance
	}
	w.write(func(tx *store.Txn) { tables.ECSTasks.Put(tx, account, region, "c/"+id, t) })
}

func (w *world) stopped(id string) {
	w.t.Helper()
	if _, err := tables.ECSTasks.Update(w.t.Context(), w.store, account, region, "c/"+id, func(t *model.Task) error {
		t.Status.LastStatus = model.TaskStopped
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// look reconciles the provider until nothing changes.
func (w *world) look() {
	w.t.Helper()
	for range 5 {
		before := w.store.Revision()
		if _, err := w.work.Reconcile(w.t.Context(), controller.Key{Account: account, Region: region, ID: "cp"}); err != nil {
			w.t.Fatal(err)
		}
		if w.store.Revision() == before {
			return
		}
	}
	w.t.Fatal("it never rests")
}

func get[T any](w *world, t *store.Table[T], id string) *T {
	w.t.Helper()
	row, err := t.Get(w.t.Context(), w.store, account, region, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return row.V
}

func (w *world) provider(change func(*model.CapacityProvider)) {
	w.t.Helper()
	if _, err := tables.ECSCapacityProviders.Update(w.t.Context(), w.store, account, region, "cp", func(p *model.CapacityProvider) error {
		change(p)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) cluster(providers ...string) {
	w.t.Helper()
	if _, err := tables.ECSClusters.Update(w.t.Context(), w.store, account, region, "c", func(c *model.Cluster) error {
		c.CapacityProviders, c.AttachmentsStatus = providers, model.AttachmentsUpdating
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// wait puts an instance before the hook of managed draining.
func (w *world) wait(id string, ends time.Duration) {
	w.t.Helper()
	if _, err := tables.ASGInstances.Update(w.t.Context(), w.store, account, region, "g/"+id, func(i *model.ASGInstance) error {
		i.LifecycleState = model.ASGTerminatingWait
		i.HookActions = []model.ASGHookAction{{Hook: "mine"}, {Hook: model.DrainingHook, ExpiresAt: w.clock.now.Add(time.Hour), EndsAt: w.clock.now.Add(ends)}}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

func TestInstancesGetTheProvidersName(t *testing.T) {
	w := start(t, nil)
	w.write(func(tx *store.Txn) {
		tables.ECSClusters.Put(tx, account, region, "other", &model.Cluster{ClusterName: "other", Status: model.ECSActive})
	})
	w.member("i-3", model.ASGInService)
	w.host("i-3", "other")
	names := func() map[string]string {
		out := map[string]string{}
		for id, cluster := range map[string]string{"hi-1": "c", "hi-2": "c", "hi-3": "other"} {
			out[id] = get(w, tables.ECSContainerInstances, cluster+"/"+id).CapacityProviderName
		}
		return out
	}
	w.look()
	if d := cmp.Diff(map[string]string{"hi-1": "cp", "hi-2": "cp", "hi-3": ""}, names()); d != "" {
		t.Error(d)
	}
	// One leaves the group, and then the provider the cluster.
	w.write(func(tx *store.Txn) { tables.ASGInstances.Erase(tx, account, region, "g/i-2") })
	w.look()
	if d := cmp.Diff(map[string]string{"hi-1": "cp", "hi-2": "", "hi-3": ""}, names()); d != "" {
		t.Error(d)
	}
	w.cluster("FARGATE")
	w.look()
	if d := cmp.Diff(map[string]string{"hi-1": "", "hi-2": "", "hi-3": ""}, names()); d != "" {
		t.Error(d)
	}
}

func TestManagedDraining(t *testing.T) {
	w := start(t, nil)
	w.look()
	hook := model.ASGHook{
		Name: "ecs-managed-draining-termination-hook", Transition: "autoscaling:EC2_INSTANCE_TERMINATING", DefaultResult: "CONTINUE", HeartbeatSeconds: 3600, GlobalTimeoutSeconds: 172800,
	}
	if d := cmp.Diff([]model.ASGHook{hook}, get(w, tables.AutoScalingGroups, "g").Spec.LifecycleHooks); d != "" {
		t.Error(d)
	}
	action := func(id string) model.ASGHookAction { return get(w, tables.ASGInstances, "g/"+id).HookActions[1] }
	status := func(id string) string { return get(w, tables.ECSContainerInstances, "c/h"+id).Status }

	w.task("t1", "i-1", "")
	w.wait("i-1", 48*time.Hour)
	w.look()
	if status("i-1") != "DRAINING" || status("i-2") != "ACTIVE" || action("i-1").Result != "" {
		t.Fatalf("%s %s %+v", status("i-1"), status("i-2"), action("i-1"))
	}
	// It waits for as long as there are tasks, and Auto Scaling lets it.
	for _, c := range []struct{ at, until time.Duration }{
		{29 * time.Minute, time.Hour}, {59 * time.Minute, 119 * time.Minute}, {47*time.Hour + 30*time.Minute, 48 * time.Hour}, {48 * time.Hour, 48 * time.Hour},
	} {
		w.clock.now = began.Add(c.at)
		w.look()
		if got := action("i-1"); !got.ExpiresAt.Equal(began.Add(c.until)) || got.Result != "" {
			t.Errorf("after %v: %+v", c.at, got)
		}
	}
	w.stopped("t1")
	w.look()
	if a := get(w, tables.ASGInstances, "g/i-1").HookActions; a[1].Result != "CONTINUE" || a[0].Result != "" {
		t.Errorf("got %+v", a)
	}
	// A Spot interruption drains, too; nobody waits at a hook.
	if _, err := tables.Instances.Update(t.Context(), w.store, account, region, "i-2", func(i *model.Instance) error {
		i.Desired.SpotInterruptionAt = w.clock.now.Add(2 * time.Minute)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.look()
	if status("i-2") != "DRAINING" {
		t.Errorf("an interrupted instance is %s", status("i-2"))
	}
	// Without managed draining there is no hook, and who waits at it goes.
	w.task("t2", "i-2", "")
	w.wait("i-2", time.Hour)
	w.provider(func(p *model.CapacityProvider) { p.Draining = false })
	w.look()
	if n := len(get(w, tables.AutoScalingGroups, "g").Spec.LifecycleHooks); n != 0 || action("i-2").Result != "CONTINUE" {
		t.Errorf("%d hooks; %+v", n, action("i-2"))
	}
}

// A hook of the name that somebody else made stays as it is.
func TestHookStays(t *testing.T) {
	w := start(t, nil)
	mine := model.ASGHook{Name: model.DrainingHook, HeartbeatSeconds: 60}
	if _, err := tables.AutoScalingGroups.Update(t.Context(), w.store, account, region, "g", func(g *model.AutoScalingGroup) error {
		g.Spec.LifecycleHooks = []model.ASGHook{{Name: "other"}, mine}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.look()
	if d := cmp.Diff([]model.ASGHook{{Name: "other"}, mine}, get(w, tables.AutoScalingGroups, "g").Spec.LifecycleHooks); d != "" {
		t.Error(d)
	}
	w.cluster("FARGATE")
	w.look()
	if d := cmp.Diff([]model.ASGHook{{Name: "other"}}, get(w, tables.AutoScalingGroups, "g").Spec.LifecycleHooks); d != "" {
		t.Error(d)
	}
}

func TestTerminationProtection(t *testing.T) {
	w := start(t, func(p *model.CapacityProvider) { p.TerminationProtection = true })
	w.write(func(tx *store.Txn) {
		tables.ECSServices.Put(tx, account, region, "c/log", &model.Service{ServiceName: "log", Spec: model.ServiceSpec{SchedulingStrategy: "DAEMON"}})
		tables.ECSServices.Put(tx, account, region, "c/web", &model.Service{ServiceName: "web", Spec: model.ServiceSpec{SchedulingStrategy: "REPLICA"}})
	})
	protected := func() (out []string) {
		for _, id := range []string{"i-1", "i-2"} {
			if get(w, tables.ASGInstances, "g/"+id).Protected {
				out = append(out, id)
			}
		}
		return out
	}
	w.task("d1", "i-1", "log")
	w.task("d2", "i-2", "log")
	w.task("w2", "i-2", "web")
	w.look()
	if got := protected(); !slices.Equal(got, []string{"i-2"}) {
		t.Errorf("protected: %v", got)
	}
	w.task("s1", "i-1", "")
	w.stopped("w2")
	w.look()
	if got := protected(); !slices.Equal(got, []string{"i-1"}) {
		t.Errorf("protected: %v", got)
	}
}

func TestScaling(t *testing.T) {
	w := start(t, nil)
	if _, err := w.attachments.Reconcile(t.Context(), controller.Key{Account: account, Region: region, ID: "c"}); err != nil {
		t.Fatal(err)
	}
	w.task("a", "i-1", "")
	w.task("b", "i-2", "")
	w.look()
	group := func() *model.AutoScalingGroup { return get(w, tables.AutoScalingGroups, "g") }
	if group().Desired != 2 {
		t.Fatalf("%d desired", group().Desired)
	}
	for i := range 3 {
		w.task(fmt.Sprintf("w%d", i), "", "")
	}
	w.clock.now = w.clock.now.Add(59 * time.Second)
	w.look()
	if group().Desired != 2 {
		t.Fatal("it does not wait for a minute")
	}
	w.clock.now = w.clock.now.Add(time.Second)
	w.look()
	// Two of them would fit on the m5.large that nobody has registered; those
	// that have take one.
	if group().Desired != 5 {
		t.Fatalf("%d desired", group().Desired)
	}
	policy := get(w, tables.ECSClusters, "c").Attachments[0]
	want := "At 2026-05-01T12:01:00Z a monitor alarm TargetTracking-g-AlarmHigh-" + policy.ID + " in state ALARM triggered policy " +
		policy.Detail("scalingPolicyName") + " changing the desired capacity from 2 to 5."
	if got := group().DesiredReason; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// All tasks stop, and the group gets smaller after fifteen minutes.
	for _, id := range []string{"a", "b", "w0", "w1", "w2"} {
		w.stopped(id)
	}
	for minute := 1; minute <= 15; minute++ {
		w.clock.now = w.clock.now.Add(time.Minute)
		w.look()
		if got := group().Desired; minute < 15 && got != 5 || minute == 15 && got != 1 {
			t.Fatalf("%d desired after %d minutes", got, minute)
		}
	}
	if !strings.Contains(group().DesiredReason, "-AlarmLow-") {
		t.Error(group().DesiredReason)
	}
	// Suspended policies change nothing.
	if _, err := tables.AutoScalingGroups.Update(t.Context(), w.store, account, region, "g", func(g *model.AutoScalingGroup) error {
		g.Suspended = map[string]string{"AlarmNotification": ""}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.clock.now = w.clock.now.Add(time.Minute)
		w.look()
	}
	if group().Desired != 1 {
		t.Errorf("%d desired", group().Desired)
	}
}

// What instances of a group may have comes from its template.
func TestSizes(t *testing.T) {
	w := start(t, nil)
	w.write(func(tx *store.Txn) {
		tables.LaunchTemplates.Put(tx, account, region, "lt-1", &model.LaunchTemplate{ID: "lt-1", Name: "one", DefaultVersion: 1, LatestVersion: 1})
		tables.LaunchTemplateNames.Put(tx, account, region, "one", new("lt-1"))
		tables.LaunchTemplateVersions.Put(tx, account, region, model.LaunchTemplateVersionID("lt-1", 1), &model.LaunchTemplateVersion{TemplateID: "lt-1", Version: 1, Data: []byte(`{"InstanceType":"c5.large"}`)})
	})
	c := &providers{Config: Config{Store: w.store, Clock: w.clock}}
	template := model.ASGLaunchTemplate{ID: "lt-1", Name: "one", Version: "$Latest"}
	for name, tt := range map[string]struct {
		spec model.ASGSpec
		want []string
	}{
		"template": {model.ASGSpec{LaunchTemplate: &template}, []string{"c5.large"}},
		"mixed":    {model.ASGSpec{MixedInstances: &model.ASGMixedInstances{LaunchTemplate: template}}, []string{"c5.large"}},
		"overrides": {model.ASGSpec{MixedInstances: &model.ASGMixedInstances{LaunchTemplate: template, Overrides: []model.ASGOverride{
			{InstanceType: "m5.large"}, {LaunchTemplate: &template}, {WeightedCapacity: "1"},
		}}}, []string{"m5.large", "c5.large", "c5.large"}},
		"gone": {model.ASGSpec{LaunchTemplate: &model.ASGLaunchTemplate{ID: "lt-2"}}, nil},
		"none": {model.ASGSpec{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			v := &view{group: &store.Row[model.AutoScalingGroup]{Key: tables.AutoScalingGroups.Key(account, region, "g"), V: &model.AutoScalingGroup{Spec: tt.spec}}}
			got, err := c.types(t.Context(), v)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %v %v", got, err)
			}
		})
	}
	row, err := tables.AutoScalingGroups.Get(t.Context(), w.store, account, region, "g")
	if err != nil {
		t.Fatal(err)
	}
	row.V.Spec.LaunchTemplate = &template
	sizes, err := c.sizes(t.Context(), &view{group: &row})
	if err != nil || len(sizes) != 1 || sizes[0].CPU != 2048 || sizes[0].Memory != 4096 || sizes[0].ENIs != 2 {
		t.Errorf("sizes %+v %v", sizes, err)
	}
}

func TestDeletion(t *testing.T) {
	w := start(t, nil)
	w.look()
	w.provider(func(p *model.CapacityProvider) { p.UpdateStatus = model.ProviderDeleting })
	w.look()
	if p := get(w, tables.ECSCapacityProviders, "cp"); p.Status != "ACTIVE" || p.UpdateStatus != "DELETE_FAILED" || !strings.Contains(p.UpdateStatusReason, "associated with cluster: c.") {
		t.Errorf("with a cluster: %+v", p)
	}
	w.cluster("FARGATE")
	w.provider(func(p *model.CapacityProvider) { p.UpdateStatus = model.ProviderDeleting })
	w.look()
	if p := get(w, tables.ECSCapacityProviders, "cp"); p.Status != "INACTIVE" || p.UpdateStatus != "DELETE_COMPLETE" {
		t.Errorf("without: %+v", p)
	}
	if n := len(get(w, tables.AutoScalingGroups, "g").Spec.LifecycleHooks); n != 0 {
		t.Errorf("%d hooks are left", n)
	}
	if _, err := tables.ECSCapacityProviderGroups.Get(t.Context(), w.store, account, region, "g"); err == nil {
		t.Error("the group is still claimed")
	}
}

func TestAttachments(t *testing.T) {
	w := start(t, nil)
	look := func() *model.Cluster {
		t.Helper()
		for range 2 { // the second changes nothing
			before := w.store.Revision()
			if _, err := w.attachments.Reconcile(t.Context(), controller.Key{Account: account, Region: region, ID: "c"}); err != nil {
				t.Fatal(err)
			}
			if w.store.Revision() == before {
				return get(w, tables.ECSClusters, "c")
			}
		}
		return get(w, tables.ECSClusters, "c")
	}
	c := look()
	if c.AttachmentsStatus != "UPDATE_COMPLETE" || c.Provisioning || len(c.Attachments) != 2 {
		t.Fatalf("got %+v", c)
	}
	policy, drains := c.Attachments[0], c.Attachments[1]
	if policy.Type != "as_policy" || policy.Status != "CREATED" || policy.Detail("capacityProviderName") != "cp" || !strings.HasPrefix(policy.Detail("scalingPolicyName"), "ECSManagedAutoScalingPolicy-") {
		t.Errorf("policy %+v", policy)
	}
	if drains.Type != "managed_draining" || drains.Detail("autoScalingLifecycleHookName") != "ecs-managed-draining-termination-hook" {
		t.Errorf("draining %+v", drains)
	}
	w.provider(func(p *model.CapacityProvider) { p.Draining = false })
	if d := cmp.Diff([]model.ClusterAttachment{policy}, look().Attachments); d != "" {
		t.Error(d)
	}
	w.cluster("FARGATE")
	if c := look(); len(c.Attachments) != 0 || c.AttachmentsStatus != "UPDATE_COMPLETE" {
		t.Errorf("got %+v", c)
	}
}

func TestWaitingTasks(t *testing.T) {
	w := start(t, nil)
	look := func() time.Duration {
		t.Helper()
		result, err := w.waiting.Reconcile(t.Context(), controller.Key{Account: account, Region: region, ID: "c"})
		if err != nil {
			t.Fatal(err)
		}
		return result.RequeueAfter
	}
	// reach catches the book up.
	reach := func() {
		t.Helper()
		if err := w.book.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		tx := store.NewTxn()
		tables.ECSInstanceClaims.Put(tx, account, region, "other/0", &model.InstanceClaim{})
		at, err := tx.Commit(t.Context(), w.store)
		if err == nil {
			err = w.book.Reach(t.Context(), at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// The instances are no provider's yet.
	w.task("a", "", "")
	reach()
	if again := look(); again != Patience {
		t.Errorf("looks again after %v", again)
	}
	w.look() // names them
	w.clock.now = w.clock.now.Add(time.Minute)
	w.task("b", "", "")
	w.task("c", "", "")
	reach()
	if again := look(); again != Patience {
		t.Errorf("looks again after %v", again)
	}
	on := map[string]string{}
	for _, id := range []string{"a", "b", "c"} {
		task := get(w, tables.ECSTasks, "c/"+id)
		on[id] = task.Status.LastStatus + " " + task.Status.Node
	}
	// The oldest first, one on each instance.
	delete(on, "a")
	if task := get(w, tables.ECSTasks, "c/a"); task.Status.LastStatus != model.TaskPending || task.Status.Version != 1 {
		t.Errorf("the oldest is %+v", task.Status)
	}
	if on["b"] == on["c"] || !strings.HasPrefix(on["b"], "PENDING h") || on["c"] != "PROVISIONING " {
		t.Errorf("got %v", on)
	}
	// The last one is given up, and says why it found no room.
	w.clock.now = w.clock.now.Add(Patience)
	reach()
	if again := look(); again != 0 {
		t.Errorf("looks again after %v", again)
	}
	if task := get(w, tables.ECSTasks, "c/c"); task.Desired.Status != model.TaskStopped || task.Desired.StopCode != "TaskFailedToStart" || task.Desired.StoppedReason != "RESOURCE:CPU" {
		t.Errorf("given up: %+v", task.Desired)
	}
}

func TestReasons(t *testing.T) {
	for status, want := range map[string]string{"ACTIVE": "AGENT", "DRAINING": "NO ACTIVE INSTANCES", "none": "EMPTY CAPACITY PROVIDER"} {
		w := start(t, nil)
		if status != "none" {
			w.look()
		}
		for _, id := range []string{"hi-1", "hi-2"} {
			if _, err := tables.ECSContainerInstances.Update(t.Context(), w.store, account, region, "c/"+id, func(i *model.ContainerInstance) error {
				if status != "none" {
					i.Status = status
				}
				i.Connection.Connected = false
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		w.task("a", "", "")
		w.clock.now = w.clock.now.Add(Patience)
		if err := w.book.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.book.Reach(t.Context(), w.store.Revision()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.waiting.Reconcile(t.Context(), controller.Key{Account: account, Region: region, ID: "c"}); err != nil {
			t.Fatal(err)
		}
		if got := get(w, tables.ECSTasks, "c/a").Desired.StoppedReason; got != want {
			t.Errorf("%s: %q; want %q", status, got, want)
		}
	}
}
