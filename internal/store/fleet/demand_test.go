package fleet

import (
	"testing"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/placement"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// A task with an interface goes where its subnets are, the subnets of a zone
// take turns, and an instance that takes no tasks is as good as not there.
func TestSubnetsDecide(t *testing.T) {
	s := open(t)
	b := follow(t, s)
	tx := store.NewTxn()
	for id, at := range map[string][2]string{"a": {"zone-a", "vpc-1"}, "b": {"zone-b", "vpc-1"}, "other": {"zone-a", "vpc-2"}, "draining": {"zone-a", "vpc-1"}} {
		i := &model.ContainerInstance{
			ID: id, ClusterName: "c", Status: model.ContainerInstanceActive, CPU: 4096, Memory: 4096, ENIs: 2, Connection: model.AgentConnection{Connected: true},
			Attributes: map[string]string{model.AttributeZone: at[0], "ecs.vpc-id": at[1]},
		}
		if id == "draining" {
			i.Status = model.ContainerInstanceDraining
		}
		tables.ECSContainerInstances.Create(tx, account, region, "c/"+id, i)
	}
	revision, err := tx.Commit(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Reach(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	var subnets Subnets
	subnets.Add("subnet-1", "vpc-1", "zone-a")
	subnets.Add("subnet-2", "vpc-1", "zone-a")
	tasks := []*model.Task{task("1", "10"), task("2", "10"), task("3", "10")}
	for _, x := range tasks {
		x.Spec.NetworkMode = "awsvpc"
		x.Status.Attachments = []model.TaskAttachment{{Type: model.AttachmentENI}}
	}
	r, err := Compile(tasks[0], &model.TaskDefinition{}, placement.ServiceDefault, subnets)
	if err != nil {
		t.Fatal(err)
	}
	ch := b.Choose(account, region, "c", r, tasks)
	defer ch.Drop()
	ch.Settle(subnets, func() string { return "id" })
	if len(ch.Placed) != 2 || tasks[0].Status.Node != "a" || tasks[1].Status.Node != "a" ||
		tasks[0].Spec.SubnetID != "subnet-1" || tasks[1].ENI().Detail("subnetId") != "subnet-2" || tasks[1].Spec.AvailabilityZone != "zone-a" {
		t.Errorf("placed %+v", ch.Placed)
	}
	want := map[string]placement.Reason{"a": placement.ENI, "b": placement.MemberOf, "other": placement.MemberOf}
	for n, c := range ch.Closest() {
		if want[c.Instance] != c.Reason || n == 0 && c.Instance != "a" {
			t.Errorf("%d: %+v", n, c)
		}
		delete(want, c.Instance)
	}
	if len(want) > 0 {
		t.Errorf("nothing of %v", want)
	}
	if e := b.Eligible(account, region, "c", r); len(e) != 1 || e[0] != "a" {
		t.Errorf("eligible: %v", e)
	}
}
