// Package ecrlifecycle is the controller that applies the lifecycle policies
// of ECR repositories.
package ecrlifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/ecrlifecycle"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// DefaultInterval is how often a policy is applied. ECR promises a day. It
// must be longer than the push of an index takes, whose images come first and
// have no tags.
const DefaultInterval = 10 * time.Minute

// Images removes images. It is no error when one is gone, or has to stay since
// an index lists it.
type Images interface {
	Expire(ctx context.Context, account, region, repository, digest string) error
}

// Config is what the controller needs.
type Config struct {
	Store  store.Store
	Clock  clock.Clock
	Images Images
	// Interval between two applications of a policy; 0 means DefaultInterval.
	Interval time.Duration
}

type policies struct{ Config }

// New makes the controller.
func New(c Config) *controller.Controller {
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	p := &policies{c}
	return &controller.Controller{
		Name:      "ecrlifecycle",
		Watches:   []controller.Watch{controller.Own(tables.ECRRepositories)},
		Reconcile: p.reconcile,
		Workers:   1,
	}
}

func (c *policies) reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	repo, err := tables.ECRRepositories.Get(ctx, c.Store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && repo.V.LifecyclePolicy == "" {
		return controller.Result{}, nil
	}
	if err != nil {
		return controller.Result{}, err
	}
	now := c.Clock.Now()
	if wait := repo.V.LifecycleEvaluatedAt.Add(c.Interval).Sub(now); wait > 0 {
		return controller.Result{RequeueAfter: wait}, nil
	}
	policy, err := ecrlifecycle.Parse(repo.V.LifecyclePolicy)
	if err != nil {
		return controller.Result{}, fmt.Errorf("policy of %s: %w", key, err)
	}
	images, err := c.images(ctx, key)
	if err != nil {
		return controller.Result{}, err
	}
	for _, e := range ecrlifecycle.Expire(policy, images, now) {
		if err := c.Images.Expire(ctx, key.Account, key.Region, key.ID, e.Digest); err != nil {
			return controller.Result{}, fmt.Errorf("expire %s of %s: %w", e.Digest, key, err)
		}
	}
	_, err = tables.ECRRepositories.Update(ctx, c.Store, key.Account, key.Region, key.ID, func(r *model.ECRRepository) error {
		r.LifecycleEvaluatedAt = now.UTC().Truncate(time.Millisecond)
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return controller.Result{}, nil
	}
	return controller.Result{RequeueAfter: c.Interval}, err
}

// images reads what the policy judges.
func (c *policies) images(ctx context.Context, key controller.Key) ([]ecrlifecycle.Image, error) {
	tags, err := tables.ECRTags.List(ctx, c.Store, store.Query{Account: key.Account, Region: key.Region, Prefix: key.ID + ":"})
	if err != nil {
		return nil, fmt.Errorf("list tags: %w", err)
	}
	byDigest := map[string][]string{}
	for _, t := range tags {
		byDigest[t.V.Digest] = append(byDigest[t.V.Digest], t.V.Tag)
	}
	rows, err := tables.ECRImages.List(ctx, c.Store, store.Query{Account: key.Account, Region: key.Region, Prefix: key.ID + "@"})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	out := make([]ecrlifecycle.Image, len(rows))
	for i, r := range rows {
		out[i] = ecrlifecycle.Image{
			Digest: r.V.Digest, PushedAt: r.V.PushedAt, Tags: byDigest[r.V.Digest],
			Children: r.V.Children, Subject: r.V.Subject,
		}
	}
	return out, nil
}
