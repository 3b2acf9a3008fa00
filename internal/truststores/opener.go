package truststores

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/truststore"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Opener opens trust stores, and remembers those that it opened: lists may have
// hundreds of thousands of entries. Safe for concurrent use.
type Opener struct {
	store    store.Store
	contents *Contents

	mu     sync.Mutex
	opened map[string]*opened // by ARN
}

// opened is a trust store as it was when it was opened last.
type opened struct {
	// names are its contents' names then.
	names []string
	trust *truststore.Trust
	// lists by the names of their contents.
	lists map[string]*truststore.List
}

// NewOpener makes an Opener.
func NewOpener(s store.Store, c *Contents) *Opener {
	return &Opener{store: s, contents: c, opened: map[string]*opened{}}
}

// Open opens the trust store with an ARN. Where there is none the error is a
// store.ErrNotFound.
func (o *Opener) Open(ctx context.Context, arn string) (*truststore.Trust, error) {
	t, err := o.open(ctx, arn)
	if err != nil {
		return nil, fmt.Errorf("trust store %s: %w", arn, err)
	}
	return t, nil
}

func (o *Opener) open(ctx context.Context, arn string) (*truststore.Trust, error) {
	a, err := model.ParseARN(arn)
	if err != nil {
		return nil, store.ErrNotFound
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	row, err := tables.TrustStores.Get(ctx, o.store, a.Account, a.Region, model.TrustStoreID(arn))
	if err == nil && row.V.ARN != arn {
		err = store.ErrNotFound
	}
	if err != nil {
		delete(o.opened, arn)
		return nil, err
	}
	names, before := row.V.Contents(), o.opened[arn]
	if before != nil && slices.Equal(names, before.names) {
		return before.trust, nil
	}
	now := &opened{names: names, lists: map[string]*truststore.List{}}
	text, err := o.contents.Get(row.V.Bundle)
	if err != nil {
		return nil, err
	}
	authorities, err := truststore.ParseBundle(text)
	if err != nil {
		return nil, err
	}
	var all []*truststore.List
	for _, r := range row.V.Revocations {
		var l *truststore.List
		if before != nil {
			l = before.lists[r.Content]
		}
		if l == nil {
			if text, err = o.contents.Get(r.Content); err != nil {
				return nil, err
			}
			if l, err = truststore.ParseList(text); err != nil {
				return nil, err
			}
		}
		now.lists[r.Content] = l
		all = append(all, l)
	}
	now.trust = truststore.New(authorities, all)
	o.opened[arn] = now
	return now.trust, nil
}
