// Package ec2 is the networking part of Amazon EC2's API: VPCs and what is
// in them. It writes records; controller/network makes the kernel follow.
package ec2

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
)

// Config is what the service stands on.
type Config struct {
	Store store.Store
	Clock clock.Clock
	// Regions are the regions that DescribeRegions lists, by default those that
	// every AWS account has. The region of a call is always among them.
	Regions []string
	// Consoles of the instances; nil when none is kept.
	Consoles Consoles
}

// defaultRegions are enabled in every AWS account.
var defaultRegions = []string{
	"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1", "eu-central-1",
	"eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
}

// Service implements EC2's operations.
type Service struct {
	store    store.Store
	clock    clock.Clock
	regions  []string
	consoles Consoles

	// ready holds the account and region pairs whose defaults were made.
	ready sync.Map
}

var _ ec2.Handler = (*Service)(nil)

// New makes the service.
func New(cfg Config) *Service {
	if cfg.Regions == nil {
		cfg.Regions = defaultRegions
	}
	return &Service{store: cfg.Store, clock: cfg.Clock, regions: cfg.Regions, consoles: cfg.Consoles}
}

// begin is the call that ctx belongs to. The first call of an account in a
// region makes the defaults there.
func (s *Service) begin(ctx context.Context) (*api.Call, error) {
	call := api.CallFrom(ctx)
	key := [2]string{call.Account, call.Region}
	if _, ok := s.ready.Load(key); ok {
		return call, nil
	}
	if err := s.EnsureDefaults(ctx, call.Account, call.Region); err != nil {
		return nil, err
	}
	s.ready.Store(key, true)
	return call, nil
}

// change begins a call that writes.
func (s *Service) change(ctx context.Context, dryRun *bool) (*api.Call, error) {
	if deref(dryRun) {
		return nil, &api.Fault{Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.", Status: 412}
	}
	return s.begin(ctx)
}

// retry runs f again while it loses against other writers.
func retry(f func() error) error {
	var err error
	for range 16 {
		if err = f(); !errors.Is(err, store.ErrConflict) {
			return answer(err)
		}
	}
	return fmt.Errorf("too many concurrent changes: %w", err)
}

// answer gives refusals of package eni their form on the wire.
func answer(err error) error {
	if e, ok := errors.AsType[*eni.Error](err); ok {
		return api.NewFault(e.Code, "%s", e.Message)
	}
	return err
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
