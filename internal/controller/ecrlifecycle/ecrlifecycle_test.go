package ecrlifecycle

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "us-east-1"
	keepOne = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged","countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}`
)

type fakeClock struct{ now time.Time }

func (c *fakeClock) Now() time.Time                       { return c.now }
func (c *fakeClock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// images removes images from the store.
type images struct {
	s       store.Store
	mu      sync.Mutex
	expired []string
}

func (i *images) Expire(ctx context.Context, account, region, repository, digest string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.expired = append(i.expired, digest)
	row, err := tables.ECRImages.Get(ctx, i.s, account, region, repository+"@"+digest)
	if err != nil {
		return err
	}
	tx := store.NewTxn()
	tables.ECRImages.Delete(tx, row)
	_, err = tx.Commit(ctx, i.s)
	return err
}

func TestReconcile(t *testing.T) {
	s := memory.New()
	defer s.Close()
	c := &fakeClock{now: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)}
	im := &images{s: s}
	ctl := New(Config{Store: s, Clock: c, Images: im})
	put := func(digest string, age time.Duration, tags ...string) {
		t.Helper()
		tx := store.NewTxn()
		tables.ECRImages.Put(tx, account, region, "web@"+digest, &model.ECRImage{Repository: "web", Digest: digest, PushedAt: c.now.Add(-age)})
		for _, tag := range tags {
			tables.ECRTags.Put(tx, account, region, "web:"+tag, &model.ECRTag{Repository: "web", Tag: tag, Digest: digest})
		}
		if _, err := tx.Commit(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	repository := func(policy string) {
		t.Helper()
		tx := store.NewTxn()
		tables.ECRRepositories.Put(tx, account, region, "web", &model.ECRRepository{Name: "web", LifecyclePolicy: policy})
		if _, err := tx.Commit(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	reconcile := func() controller.Result {
		t.Helper()
		r, err := ctl.Reconcile(t.Context(), controller.Key{Account: account, Region: region, ID: "web"})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := reconcile(); r != (controller.Result{}) {
		t.Errorf("no repository: %+v", r)
	}
	repository("")
	put("old", 3*time.Hour)
	put("tagged", 4*time.Hour, "v1")
	put("new", time.Hour)
	if r := reconcile(); r != (controller.Result{}) || im.expired != nil {
		t.Errorf("no policy: %+v, expired %v", r, im.expired)
	}
	repository(keepOne)
	if r := reconcile(); r.RequeueAfter != DefaultInterval || !slices.Equal(im.expired, []string{"old"}) {
		t.Errorf("first: %+v, expired %v", r, im.expired)
	}
	// Not again before its time, however often it is asked.
	put("newer", 0)
	c.now = c.now.Add(DefaultInterval / 2)
	if r := reconcile(); r.RequeueAfter != DefaultInterval/2 || len(im.expired) != 1 {
		t.Errorf("too early: %+v, expired %v", r, im.expired)
	}
	c.now = c.now.Add(DefaultInterval / 2)
	if reconcile(); !slices.Equal(im.expired, []string{"old", "new"}) {
		t.Errorf("second: expired %v", im.expired)
	}
	row, err := tables.ECRRepositories.Get(t.Context(), s, account, region, "web")
	if err != nil || !row.V.LifecycleEvaluatedAt.Equal(c.now) {
		t.Errorf("%+v, %v", row.V, err)
	}
}
