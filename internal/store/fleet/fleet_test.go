package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/placement"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "us-east-1"
)

func open(t *testing.T) store.Store {
	t.Helper()
	s := memory.New()
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// follow runs a book for the test's time.
func follow(t *testing.T, s store.Store) *Book {
	t.Helper()
	b := New(s, rand.IntN)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b
}

func register(t *testing.T, s store.Store, b *Book, id string, memory int) {
	t.Helper()
	tx := store.NewTxn()
	tables.ECSContainerInstances.Create(tx, account, region, "c/"+id, &model.ContainerInstance{
		ID: id, ClusterName: "c", Status: model.ContainerInstanceActive, CPU: 4096, Memory: memory, Connection: model.AgentConnection{Connected: true},
	})
	revision, err := tx.Commit(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Reach(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
}

func task(id string, memory string) *model.Task {
	return &model.Task{
		TaskID: id, ClusterName: "c", Desired: model.TaskDesired{Status: model.TaskRunning}, Status: model.TaskStatus{LastStatus: model.TaskPending},
		Spec: model.TaskSpec{Group: "family:f", LaunchType: "EC2", NetworkMode: "bridge", Memory: memory},
	}
}

func request(t *testing.T, example *model.Task) *placement.Request {
	t.Helper()
	r, err := Compile(example, &model.TaskDefinition{}, placement.ServiceDefault, Subnets{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// put commits a choice with its tasks.
func put(ctx context.Context, ch *Choice) (uint64, error) {
	tx := store.NewTxn()
	for _, p := range ch.Placed {
		p.Task.Status.Node = p.Instance.ID
		tables.ECSTasks.Create(tx, account, region, "c/"+p.Task.TaskID, p.Task)
	}
	return ch.Commit(ctx, tx)
}

func TestChoose(t *testing.T) {
	s := open(t)
	b := follow(t, s)
	register(t, s, b, "i1", 1000)
	tasks := []*model.Task{task("1", "400"), task("2", "400"), task("3", "400")}
	r := request(t, tasks[0])

	// A choice that is dropped gives back what it kept.
	ch := b.Choose(account, region, "c", r, tasks)
	if len(ch.Placed) != 2 || len(ch.Refused) != 1 || ch.Refused[0].Reason != placement.Memory || ch.Instances != 1 {
		t.Fatalf("placed %v, refused %v", ch.Placed, ch.Refused)
	}
	if again := b.Choose(account, region, "c", r, []*model.Task{task("4", "400")}); len(again.Placed) != 0 {
		t.Error("the room of a choice was given twice")
	}
	ch.Drop()
	ch.Drop()
	if left, _, _ := b.Remaining(account, region, "c", "i1"); left.Memory != 1000 {
		t.Errorf("%d MiB left after a drop", left.Memory)
	}

	ch = b.Choose(account, region, "c", r, tasks)
	revision, err := put(t.Context(), ch)
	if err != nil {
		t.Fatal(err)
	}
	ch.Drop() // does nothing any more
	if err := b.Reach(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	if left, _, _ := b.Remaining(account, region, "c", "i1"); left.Memory != 200 {
		t.Errorf("%d MiB left", left.Memory)
	}
	// A task that stopped takes nothing.
	row, err := tables.ECSTasks.Update(t.Context(), s, account, region, "c/1", func(v *model.Task) error {
		v.Status.LastStatus = model.TaskStopped
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Reach(t.Context(), row.Modified); err != nil {
		t.Fatal(err)
	}
	if left, _, _ := b.Remaining(account, region, "c", "i1"); left.Memory != 600 {
		t.Errorf("%d MiB left after a task has stopped", left.Memory)
	}
	if ch := b.ChooseOn(account, region, "c", "i2", r, task("5", "1")); len(ch.Placed) != 0 || ch.Refused[0].Reason != placement.Inactive {
		t.Errorf("placed on an instance that is not there: %+v", ch)
	}
}

// TestTwoServers places from two books over one store at once: nothing is
// over-committed, and all room is found.
func TestTwoServers(t *testing.T) {
	s := open(t)
	books := []*Book{follow(t, s), follow(t, s)}
	const instances, each = 4, 10
	for i := range instances {
		for _, b := range books[:1] {
			register(t, s, b, fmt.Sprint("i", i), each*100)
		}
	}
	last, err := tables.ECSContainerInstances.Get(t.Context(), s, account, region, fmt.Sprintf("c/i%d", instances-1))
	if err != nil {
		t.Fatal(err)
	}
	if err := books[1].Reach(t.Context(), last.Modified); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		b := books[w%2]
		wg.Go(func() {
			for n := 0; ; {
				tk := task(fmt.Sprintf("%d-%d", w, n), "100")
				ch := b.Choose(account, region, "c", request(t, tk), []*model.Task{tk})
				if len(ch.Placed) == 0 {
					return
				}
				switch _, err := put(t.Context(), ch); {
				case errors.Is(err, ErrStale):
				case err != nil:
					t.Error(err)
					return
				default:
					n++
				}
			}
		})
	}
	wg.Wait()
	rows, err := tables.ECSTasks.List(t.Context(), s, store.Query{Account: account, Region: region})
	if err != nil {
		t.Fatal(err)
	}
	on := map[string]int{}
	for _, r := range rows {
		on[r.V.Status.Node]++
	}
	for i := range instances {
		if n := on[fmt.Sprint("i", i)]; n != each {
			t.Errorf("%d tasks on instance %d, want %d", n, i, each)
		}
	}
	// A book that starts later reads the same.
	late := follow(t, s)
	if err := late.Reach(t.Context(), rows[len(rows)-1].Modified); err != nil {
		t.Fatal(err)
	}
	if left, _, ok := late.Remaining(account, region, "c", "i0"); !ok || left.Memory != 0 {
		t.Errorf("a late book says %v left, %v", left, ok)
	}
}

// TestOneInstance places on one instance from many sides at once: those of one
// book do not get in each other's way, and what somebody else does to the
// instance is noticed.
func TestOneInstance(t *testing.T) {
	s := open(t)
	b := follow(t, s)
	register(t, s, b, "i1", 8*20)
	r := request(t, task("0", "1"))
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := range 20 {
				tk := task(fmt.Sprintf("%d-%d", w, n), "1")
				ch := b.Choose(account, region, "c", r, []*model.Task{tk})
				if n%5 == 4 {
					ch.Drop()
					continue
				}
				if _, err := put(t.Context(), ch); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	claim, err := tables.ECSInstanceClaims.Get(t.Context(), s, account, region, "c/i1")
	if err != nil || claim.V.Count != 8*16 {
		t.Errorf("claim %+v, %v", claim.V, err)
	}

	tk := task("late", "1")
	ch, next := b.Choose(account, region, "c", r, []*model.Task{tk}), b.Choose(account, region, "c", r, []*model.Task{task("later", "1")})
	tx := store.NewTxn()
	tables.ECSInstanceClaims.Replace(tx, claim, &model.InstanceClaim{Count: 1000})
	if _, err := tx.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for _, ch := range []*Choice{ch, next} {
		if _, err := put(t.Context(), ch); !errors.Is(err, ErrStale) {
			t.Errorf("commit of what was chosen before: %v", err)
		}
	}
	if _, err := put(t.Context(), b.Choose(account, region, "c", r, []*model.Task{tk})); err != nil {
		t.Errorf("commit of what was chosen behind it: %v", err)
	}
}

func TestCallersOwnConflict(t *testing.T) {
	s := open(t)
	b := follow(t, s)
	register(t, s, b, "i1", 1000)
	tk := task("1", "100")
	for i, want := range []error{nil, store.ErrConflict} {
		revision, err := put(t.Context(), b.Choose(account, region, "c", request(t, tk), []*model.Task{tk}))
		if !errors.Is(err, want) || errors.Is(err, ErrStale) {
			t.Errorf("commit %d: %v", i, err)
		}
		if err := b.Reach(t.Context(), revision); err != nil {
			t.Fatal(err)
		}
	}
}
