package identity

import (
	"context"
	"strings"
	"sync"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// usageInterval is how often last uses are written down.
const usageInterval = time.Minute

// usage remembers when keys and roles were last used, until it is written.
type usage struct {
	mu      sync.Mutex
	pending map[usageKey]model.IAMLastUsed
}

type usageKey struct{ account, id string }

func (u *usage) note(c *api.Call, action string) {
	if c.Identity.Unsigned || c.Identity.Root || action == "iam:PassRole" {
		return // iam:PassRole is asked for on the way to another action
	}
	id := c.Identity.AccessKeyID
	if c.Identity.RoleARN != "" {
		id, _, _ = strings.Cut(c.Identity.UserID, ":")
	} else if !strings.HasPrefix(id, model.IAMAccessKeyPrefix) {
		return
	}
	service, _, _ := strings.Cut(action, ":")
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pending == nil {
		u.pending = map[usageKey]model.IAMLastUsed{}
	}
	u.pending[usageKey{c.Account, id}] = model.IAMLastUsed{Time: c.Time.UTC().Truncate(time.Second), Service: service, Region: c.Region}
}

// Run writes down when access keys and roles were last used, until ctx ends.
func (d *Directory) Run(ctx context.Context) error {
	for {
		t := d.clock.NewTimer(usageInterval)
		select {
		case <-ctx.Done():
			t.Stop()
			// The last minute's uses are worth one more write.
			return d.FlushUsage(context.WithoutCancel(ctx))
		case <-t.C:
		}
		if err := d.FlushUsage(ctx); err != nil {
			d.log.Warn("last uses of access keys were not written", "error", err)
		}
	}
}

// FlushUsage writes the uses that are not written yet. What is lost in a
// crash is a minute of these.
func (d *Directory) FlushUsage(ctx context.Context) error {
	d.used.mu.Lock()
	pending := d.used.pending
	d.used.pending = nil
	d.used.mu.Unlock()
	tx := store.NewTxn()
	for k, v := range pending {
		tables.IAMLastUsed.Put(tx, k.account, "", k.id, &v)
	}
	_, err := tx.Commit(ctx, d.store)
	return err
}
