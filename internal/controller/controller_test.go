package controller_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
)

type thing struct {
	N    int
	Part string
}

var (
	things = store.NewTable[thing]("test", "Thing")
	parts  = store.NewTable[thing]("test", "Part")
)

func put(t *testing.T, s store.Store, table *store.Table[thing], id string, v thing) {
	t.Helper()
	tx := store.NewTxn()
	table.Put(tx, "1", "r", id, &v)
	if _, err := tx.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// journal records the calls of Reconcile with the time since the start.
type journal struct {
	mu    sync.Mutex
	start time.Time
	calls []string
}

func (j *journal) add(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls = append(j.calls, fmt.Sprintf("%s@%s", id, time.Since(j.start)))
}

func (j *journal) take() []string {
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.calls
	j.calls = nil
	slices.Sort(c)
	return c
}

func (j *journal) want(t *testing.T, calls ...string) {
	t.Helper()
	if got := j.take(); !slices.Equal(got, calls) {
		t.Errorf("calls %q, want %q", got, calls)
	}
}

// run runs test with c running on a store, inside a bubble.
func run(t *testing.T, s func() store.Store, c func(store.Store, *journal) *controller.Controller, test func(*testing.T, store.Store, *journal)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st := s()
		put(t, st, things, "old", thing{})
		j := &journal{start: time.Now()}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			rt := controller.Runtime{Store: st, Clock: clock.System{}, MinBackoff: time.Second, MaxBackoff: 5 * time.Second}
			if err := rt.Run(ctx, c(st, j)); err != nil {
				t.Errorf("run: %v", err)
			}
		})
		test(t, st, j)
		cancel()
		wg.Wait()
		_ = st.Close()
	})
}

func TestEventsAndFullPass(t *testing.T) {
	run(t, memory.New, func(_ store.Store, j *journal) *controller.Controller {
		return &controller.Controller{
			Name: "test",
			Watches: []controller.Watch{
				controller.Own(things),
				controller.On(parts, func(r store.Row[thing]) []controller.Key {
					return []controller.Key{{Account: r.Key.Account, Region: r.Key.Region, ID: r.V.Part}}
				}),
			},
			Reconcile: func(_ context.Context, k controller.Key) (controller.Result, error) {
				j.add(k.ID)
				return controller.Result{}, nil
			},
		}
	}, func(t *testing.T, s store.Store, j *journal) {
		j.want(t, "old@0s")
		put(t, s, things, "new", thing{})
		j.want(t, "new@0s")
		put(t, s, parts, "p", thing{Part: "old"})
		j.want(t, "old@0s")
		row, _ := things.Get(t.Context(), s, "1", "r", "new")
		tx := store.NewTxn()
		things.Delete(tx, row)
		if _, err := tx.Commit(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		j.want(t, "new@0s")
		time.Sleep(time.Hour)
		j.want(t)
	})
}

func TestBackoffAndRequeue(t *testing.T) {
	failures := 0
	run(t, memory.New, func(_ store.Store, j *journal) *controller.Controller {
		return &controller.Controller{
			Name:    "test",
			Watches: []controller.Watch{controller.Own(things)},
			Reconcile: func(_ context.Context, k controller.Key) (controller.Result, error) {
				j.add(k.ID)
				failures++
				switch {
				case failures == 3:
					panic("contained")
				case failures < 6:
					return controller.Result{}, errors.New("not yet")
				case failures < 8:
					return controller.Result{RequeueAfter: time.Minute}, nil
				}
				return controller.Result{}, nil
			},
		}
	}, func(t *testing.T, s store.Store, j *journal) {
		time.Sleep(time.Hour)
		// 1 s, 2 s, 4 s, 5 s, 5 s; then two waits of a minute.
		j.want(t, "old@0s", "old@12s", "old@17s", "old@1m17s", "old@1s", "old@2m17s", "old@3s", "old@7s")
	})
}

func TestEventCutsWait(t *testing.T) {
	run(t, memory.New, func(_ store.Store, j *journal) *controller.Controller {
		return &controller.Controller{
			Name:    "test",
			Watches: []controller.Watch{controller.Own(things)},
			Reconcile: func(_ context.Context, k controller.Key) (controller.Result, error) {
				j.add(k.ID)
				return controller.Result{RequeueAfter: time.Hour}, nil
			},
		}
	}, func(t *testing.T, s store.Store, j *journal) {
		j.want(t, "old@0s")
		time.Sleep(time.Minute)
		put(t, s, things, "old", thing{N: 1})
		j.want(t, "old@1m0s")
		time.Sleep(time.Hour - time.Second)
		j.want(t) // the former wait is forgotten
		time.Sleep(time.Second)
		j.want(t, "old@1h1m0s")
	})
}

func TestRest(t *testing.T) {
	run(t, memory.New, func(_ store.Store, j *journal) *controller.Controller {
		return &controller.Controller{
			Name:    "test",
			Watches: []controller.Watch{controller.Own(things)},
			Reconcile: func(_ context.Context, k controller.Key) (controller.Result, error) {
				j.add(k.ID)
				switch after := time.Since(j.start); {
				case after < time.Hour+time.Minute:
					return controller.Result{Rest: time.Second}, nil
				case after < time.Hour+time.Minute+time.Second:
					return controller.Result{RequeueAfter: time.Millisecond, Rest: time.Second}, nil
				}
				return controller.Result{}, nil
			},
		}
	}, func(t *testing.T, s store.Store, j *journal) {
		j.want(t, "old@0s")
		for i := range 5 { // all that comes while it rests is one look
			time.Sleep(100 * time.Millisecond)
			put(t, s, things, "old", thing{N: i})
		}
		put(t, s, things, "new", thing{}) // others do not wait
		j.want(t, "new@500ms")
		time.Sleep(time.Hour - 500*time.Millisecond)
		j.want(t, "old@1s")
		put(t, s, things, "old", thing{})
		j.want(t, "old@1h0m0s") // at once, behind the rest
		time.Sleep(time.Minute)
		// A wait that is shorter than the rest lasts as long as it.
		put(t, s, things, "old", thing{})
		j.want(t, "old@1h1m0s")
		time.Sleep(time.Minute)
		j.want(t, "old@1h1m1s")
	})
}

func TestOneAtATimeAndDedup(t *testing.T) {
	release := map[string]chan struct{}{}
	run(t, func() store.Store {
		release["old"], release["b"] = make(chan struct{}), make(chan struct{})
		return memory.New()
	}, func(_ store.Store, j *journal) *controller.Controller {
		return &controller.Controller{
			Name:    "test",
			Watches: []controller.Watch{controller.Own(things)},
			Workers: 2,
			Reconcile: func(_ context.Context, k controller.Key) (controller.Result, error) {
				j.add(k.ID)
				<-release[k.ID]
				return controller.Result{}, nil
			},
		}
	}, func(t *testing.T, s store.Store, j *journal) {
		j.want(t, "old@0s")
		for i := range 5 { // many changes while it runs are one more run
			put(t, s, things, "old", thing{N: i})
		}
		put(t, s, things, "b", thing{})
		j.want(t, "b@0s")
		release["old"] <- struct{}{}
		j.want(t, "old@0s")
		close(release["old"])
		close(release["b"])
		j.want(t)
	})
}

func TestRewatchAfterCompaction(t *testing.T) {
	block := make(chan struct{})
	var seen sync.Map
	run(t, func() store.Store { block = make(chan struct{}); return memory.WithHistory(4) },
		func(s store.Store, _ *journal) *controller.Controller {
			first := true
			return &controller.Controller{
				Name: "test",
				Watches: []controller.Watch{{Kind: things.Kind(), Keys: func(_ context.Context, r store.Record) ([]controller.Key, error) {
					if first {
						first = false
						<-block // the watch falls behind meanwhile
					}
					return []controller.Key{controller.KeyOf(r.Key)}, nil
				}}},
				Reconcile: func(ctx context.Context, k controller.Key) (controller.Result, error) {
					row, err := things.Get(ctx, s, k.Account, k.Region, k.ID)
					if err != nil {
						return controller.Result{}, err
					}
					seen.Store(k.ID, row.V.N)
					return controller.Result{}, nil
				},
			}
		}, func(t *testing.T, s store.Store, _ *journal) {
			for i := range 100 {
				put(t, s, things, strconv.Itoa(i%10), thing{N: i})
			}
			close(block)
			time.Sleep(time.Minute)
			synctest.Wait()
			for i := range 10 {
				if n, _ := seen.Load(strconv.Itoa(i)); n != 90+i {
					t.Errorf("record %d was last seen as %v", i, n)
				}
			}
		})
}

func TestResync(t *testing.T) {
	run(t, memory.New, func(_ store.Store, j *journal) *controller.Controller {
		return &controller.Controller{
			Name: "test", Resync: time.Minute,
			Watches: []controller.Watch{controller.Own(things)},
			Reconcile: func(_ context.Context, k controller.Key) (controller.Result, error) {
				j.add(k.ID)
				return controller.Result{}, nil
			},
		}
	}, func(t *testing.T, s store.Store, j *journal) {
		time.Sleep(2*time.Minute + time.Second)
		j.want(t, "old@0s", "old@1m0s", "old@2m0s")
	})
}

func TestStoreCloses(t *testing.T) {
	s := memory.New()
	c := &controller.Controller{
		Name:    "test",
		Watches: []controller.Watch{controller.Own(things)},
		Reconcile: func(context.Context, controller.Key) (controller.Result, error) {
			return controller.Result{}, nil
		},
	}
	done := make(chan error)
	go func() { done <- controller.Runtime{Store: s, Clock: clock.System{}}.Run(t.Context(), c) }()
	put(t, s, things, "a", thing{})
	_ = s.Close()
	if err := <-done; !errors.Is(err, store.ErrClosed) {
		t.Errorf("run: %v", err)
	}
}

// TestPass: a full pass looks at what its queries select, and later changes of
// the other records count all the same.
func TestPass(t *testing.T) {
	table := store.NewTable[thing]("test", "Thing").WithIndex("part", func(v *thing) []string { return []string{v.Part} })
	run(t, func() store.Store {
		s := memory.New()
		put(t, s, table, "live", thing{Part: "x"})
		return s
	}, func(_ store.Store, j *journal) *controller.Controller {
		return &controller.Controller{
			Name: "test",
			Watches: []controller.Watch{
				controller.Own(table).Passing(func() []store.Query {
					return []store.Query{{Index: store.Index{Name: "part", Value: "x"}}}
				}),
				controller.Own(parts).Passing(func() []store.Query { return nil }),
			},
			Reconcile: func(_ context.Context, k controller.Key) (controller.Result, error) {
				j.add(k.ID)
				return controller.Result{}, nil
			},
		}
	}, func(t *testing.T, s store.Store, j *journal) {
		j.want(t, "live@0s")
		put(t, s, table, "old", thing{N: 1})
		put(t, s, parts, "p", thing{})
		j.want(t, "old@0s", "p@0s")
	})
}
