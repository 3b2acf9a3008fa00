package fleet

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/placement"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

// Tasks of capacity providers go to the instances of their providers alone, and
// are one choice.
func TestChooseMany(t *testing.T) {
	s := memory.New()
	b := New(s, func(int) int { return 0 })
	done := make(chan error, 1)
	ctx := t.Context()
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	tx := store.NewTxn()
	for id, provider := range map[string]string{"a1": "a", "b1": "b", "b2": "b", "n1": ""} {
		tables.ECSContainerInstances.Put(tx, "acc", "r", "c/"+id, &model.ContainerInstance{
			ID: id, ClusterName: "c", Status: model.ContainerInstanceActive, CPU: 1000, Memory: 1000, CapacityProviderName: provider, Connection: model.AgentConnection{Connected: true},
		})
	}
	at, err := tx.Commit(ctx, s)
	if err == nil {
		err = b.Reach(ctx, at)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := func(provider string, ids ...string) *Want {
		w := &Want{}
		for _, id := range ids {
			w.Tasks = append(w.Tasks, &model.Task{TaskID: id, ClusterName: "c", Spec: model.TaskSpec{
				CapacityProviderName: provider, Containers: []model.TaskContainer{{Name: "x", CPU: "600"}},
			}})
		}
		if w.Request, err = Compile(w.Tasks[0], &model.TaskDefinition{}, nil, Subnets{}); err != nil {
			t.Fatal(err)
		}
		return w
	}
	for range 2 { // what is dropped can be chosen again; a view answers then
		wants := []*Want{want("a", "t1", "t2"), want("b", "t3", "t4"), want("none", "t5"), want("", "t6")}
		ch := b.ChooseMany("acc", "r", "c", wants)
		on := map[string]string{}
		for _, p := range ch.Placed {
			on[p.Task.TaskID] = p.Instance.CapacityProviderName
		}
		if d := cmp.Diff(map[string]string{"t1": "a", "t3": "b", "t4": "b", "t6": ""}, on); d != "" {
			t.Error(d)
		}
		var placed []int
		for _, w := range wants {
			placed = append(placed, w.Placed)
		}
		if d := cmp.Diff([]int{1, 2, 0, 1}, placed); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]placement.Refusal{{Instance: "a1", Reason: placement.CPU}}, wants[0].Closest()); d != "" {
			t.Error(d)
		}
		if c := wants[2].Closest(); len(c) != 0 || len(wants[2].Refused) != 4 {
			t.Errorf("no instance is of the provider: %v of %v", c, wants[2].Refused)
		}
		ch.Drop()
	}
	wants := []*Want{want("a", "t1"), want("b", "t3")}
	ch := b.ChooseMany("acc", "r", "c", wants)
	tx = store.NewTxn()
	for _, p := range ch.Placed {
		p.Task.Status.Node = p.Instance.ID
		tables.ECSTasks.Create(tx, "acc", "r", "c/"+p.Task.TaskID, p.Task)
	}
	if _, err := ch.Commit(ctx, tx); err != nil {
		t.Fatal(err)
	}
	claims, err := tables.ECSInstanceClaims.List(ctx, s, store.Query{})
	if err != nil || len(claims) != 2 {
		t.Errorf("%d claims: %v", len(claims), err)
	}
}
