package ecrreplication

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
)

var (
	west  = model.ECRDestination{Region: "us-west-2", Account: account}
	other = model.ECRDestination{Region: region, Account: "111122223333"}
)

// copies notes what it is asked for, and fails as it is told.
type copies struct {
	made []string
	fail map[model.ECRDestination]error
}

func (c *copies) Replicate(_ context.Context, _, _, repository, digest string, to model.ECRDestination, tags []string) error {
	if err := c.fail[to]; err != nil {
		return err
	}
	c.made = append(c.made, fmt.Sprintf("%s@%s to %s in %s %q", repository, digest, to.Account, to.Region, tags))
	return nil
}

type bench struct {
	t   *testing.T
	s   store.Store
	c   *copies
	ctl *controller.Controller
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, s: memory.New(), c: &copies{fail: map[model.ECRDestination]error{}}}
	t.Cleanup(func() { _ = b.s.Close() })
	b.ctl = New(Config{Store: b.s, Images: b.c})
	return b
}

func (b *bench) put(f func(*store.Txn)) {
	b.t.Helper()
	tx := store.NewTxn()
	f(tx)
	if _, err := tx.Commit(b.t.Context(), b.s); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) image(repository, digest string, pushed time.Time, replica bool) {
	b.put(func(tx *store.Txn) {
		tables.ECRImages.Put(tx, account, region, repository+"@"+digest, &model.ECRImage{Repository: repository, Digest: digest, PushedAt: pushed, Replica: replica})
	})
}

func (b *bench) tag(repository, tag, digest string, at time.Time) {
	b.put(func(tx *store.Txn) {
		tables.ECRTags.Put(tx, account, region, repository+":"+tag, &model.ECRTag{Repository: repository, Tag: tag, Digest: digest, TaggedAt: at})
	})
}

// reconcile returns what was copied for an image.
func (b *bench) reconcile(id string) ([]string, error) {
	b.c.made = nil
	_, err := b.ctl.Reconcile(b.t.Context(), controller.Key{Account: account, Region: region, ID: id})
	return b.c.made, err
}

func TestReplication(t *testing.T) {
	b := newBench(t)
	since := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	b.put(func(tx *store.Txn) {
		tables.ECRRegistries.Put(tx, account, region, model.ECRRegistryID, &model.ECRRegistry{
			ReplicationSince: since,
			Replication: []model.ECRReplicationRule{
				{Destinations: []model.ECRDestination{west}, Prefixes: []string{"prod"}},
				{Destinations: []model.ECRDestination{west, other}, Prefixes: []string{"prod-all"}},
			},
		})
	})
	after := since.Add(time.Minute)
	b.image("prod", "sha256:old", since.Add(-time.Minute), false)
	b.image("prod", "sha256:copy", after, true)
	b.image("dev", "sha256:new", after, false)
	b.image("prod", "sha256:new", after, false)
	b.image("prod-all", "sha256:new", after, false)
	b.tag("prod", "v1", "sha256:new", after)
	for id, want := range map[string][]string{
		"prod@sha256:old":     nil, // pushed before
		"prod@sha256:copy":    nil, // came from elsewhere
		"dev@sha256:new":      nil, // no rule
		"prod@sha256:gone":    nil,
		"prod@sha256:new":     {`prod@sha256:new to 000000000000 in us-west-2 ["v1"]`},
		"prod-all@sha256:new": {`prod-all@sha256:new to 000000000000 in us-west-2 []`, `prod-all@sha256:new to 111122223333 in us-east-1 []`},
	} {
		if got, err := b.reconcile(id); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q %v, want %q", id, got, err, want)
		}
	}
	// Once is enough; a new tag is brought by itself.
	if got, err := b.reconcile("prod@sha256:new"); err != nil || got != nil {
		t.Errorf("again: %q %v", got, err)
	}
	b.tag("prod", "v2", "sha256:new", after)
	if got, err := b.reconcile("prod@sha256:new"); err != nil || !slices.Equal(got, []string{`prod@sha256:new to 000000000000 in us-west-2 ["v2"]`}) {
		t.Errorf("with a new tag: %q %v", got, err)
	}
}

func TestReplicationFails(t *testing.T) {
	b := newBench(t)
	b.put(func(tx *store.Txn) {
		tables.ECRRegistries.Put(tx, account, region, model.ECRRegistryID, &model.ECRRegistry{
			Replication: []model.ECRReplicationRule{{Destinations: []model.ECRDestination{other, west}}},
		})
	})
	b.image("app", "sha256:1", time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), false)
	b.c.fail[other] = &model.ReplicationRefused{Code: "AccessDenied"}
	b.c.fail[west] = errors.New("the disk is full")
	if _, err := b.reconcile("app@sha256:1"); err == nil {
		t.Error("what may work later is no error")
	}
	delete(b.c.fail, west)
	if got, err := b.reconcile("app@sha256:1"); err != nil || len(got) != 1 {
		t.Errorf("later: %q %v", got, err)
	}
	row, err := tables.ECRReplications.Get(t.Context(), b.s, account, region, "app@sha256:1")
	if err != nil || len(row.V.Destinations) != 2 || row.V.Destinations[0].FailureCode != "AccessDenied" || row.V.Destinations[1].Status != "COMPLETE" {
		t.Errorf("%+v %v", row.V, err)
	}
	// What is refused is not asked for again and again.
	if got, err := b.reconcile("app@sha256:1"); err != nil || got != nil {
		t.Errorf("again: %q %v", got, err)
	}
}
