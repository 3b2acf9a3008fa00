// Package network is the controller of VPCs' data planes: it turns the
// records of a VPC into what the kernel should hold.
package network

import (
	"context"
	"errors"
	"fmt"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/network"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// DataPlane makes VPCs. Its methods are idempotent.
type DataPlane interface {
	Apply(ctx context.Context, v network.VPC) error
	RemoveVPC(ctx context.Context, vpcID string) error
	// VPCs names those that are there, also without a record.
	VPCs() ([]string, error)
}

// Config is what the controller stands on.
type Config struct {
	Store store.Store
	Plane DataPlane
	// HostRoute tells which VPCs the host gets routes to; nil means none.
	HostRoute func(v *model.VPC) bool
}

// New makes the controller. Its keys are VPCs'.
func New(cfg Config) *controller.Controller {
	if cfg.HostRoute == nil {
		cfg.HostRoute = func(*model.VPC) bool { return false }
	}
	return &controller.Controller{
		Name: "network",
		Watches: []controller.Watch{
			controller.Own(tables.VPCs),
			of(tables.Subnets, func(v *model.Subnet) string { return v.VPCID }),
			of(tables.RouteTables, func(v *model.RouteTable) string { return v.VPCID }),
			of(tables.SecurityGroups, func(v *model.SecurityGroup) string { return v.VPCID }),
			of(tables.NetworkInterfaces, func(v *model.NetworkInterface) string { return v.VPCID }),
			of(tables.NetworkACLs, func(v *model.NetworkACL) string { return v.VPCID }),
			of(tables.NatGateways, func(v *model.NatGateway) string { return v.VPCID }),
			cfg.gateways(),
			cfg.prefixLists(),
		},
		Reconcile: func(ctx context.Context, key controller.Key) (controller.Result, error) {
			return controller.Result{}, cfg.reconcile(ctx, key)
		},
	}
}

// of watches records that name their VPC.
func of[T any](t *store.Table[T], vpc func(*T) string) controller.Watch {
	return controller.On(t, func(row store.Row[T]) []controller.Key {
		return []controller.Key{{Account: row.Key.Account, Region: row.Key.Region, ID: vpc(row.V)}}
	})
}

// gateways watches internet gateways. A detached one no longer names the VPC
// that it left, so it matters to all.
func (c Config) gateways() controller.Watch {
	return controller.Watch{
		Kind: tables.InternetGateways.Kind(),
		Keys: func(ctx context.Context, r store.Record) ([]controller.Key, error) {
			row, err := tables.InternetGateways.Row(r)
			if err != nil {
				return nil, err
			}
			if row.V.VPCID != "" {
				return []controller.Key{{Account: row.Key.Account, Region: row.Key.Region, ID: row.V.VPCID}}, nil
			}
			return c.everyVPC(ctx, r.Key)
		},
	}
}

// prefixLists watches prefix lists, which any VPC may use.
func (c Config) prefixLists() controller.Watch {
	return controller.Watch{
		Kind: tables.PrefixLists.Kind(),
		Keys: func(ctx context.Context, r store.Record) ([]controller.Key, error) { return c.everyVPC(ctx, r.Key) },
	}
}

// everyVPC names the VPCs of a record's account and region.
func (c Config) everyVPC(ctx context.Context, of store.Key) ([]controller.Key, error) {
	rows, err := tables.VPCs.List(ctx, c.Store, store.Query{Account: of.Account, Region: of.Region})
	if err != nil {
		return nil, err
	}
	var keys []controller.Key
	for _, v := range rows {
		keys = append(keys, controller.KeyOf(v.Key))
	}
	return keys, nil
}

func (c Config) reconcile(ctx context.Context, key controller.Key) error {
	row, err := tables.VPCs.Get(ctx, c.Store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return c.Plane.RemoveVPC(ctx, key.ID)
	}
	if err != nil {
		return err
	}
	snap, err := c.read(ctx, row)
	if err != nil {
		return fmt.Errorf("read %s: %w", key.ID, err)
	}
	return c.Plane.Apply(ctx, snap.translate(c.HostRoute(row.V)))
}

func (c Config) read(ctx context.Context, row store.Row[model.VPC]) (*snapshot, error) {
	q := store.Query{Account: row.Key.Account, Region: row.Key.Region, Index: store.Index{Name: tables.ByVPC, Value: row.V.ID}}
	s := &snapshot{vpc: row.V}
	return s, errors.Join(
		list(ctx, c.Store, tables.Subnets, q, &s.subnets),
		list(ctx, c.Store, tables.RouteTables, q, &s.tables),
		list(ctx, c.Store, tables.SecurityGroups, q, &s.groups),
		list(ctx, c.Store, tables.NetworkInterfaces, q, &s.interfaces),
		list(ctx, c.Store, tables.NetworkACLs, q, &s.acls),
		list(ctx, c.Store, tables.NatGateways, q, &s.nats),
		list(ctx, c.Store, tables.InternetGateways, q, &s.gateways),
		list(ctx, c.Store, tables.PrefixLists, store.Query{Account: row.Key.Account, Region: row.Key.Region}, &s.prefixLists),
	)
}

func list[T any](ctx context.Context, s store.Store, t *store.Table[T], q store.Query, to *[]*T) error {
	rows, err := t.List(ctx, s, q)
	for _, r := range rows {
		*to = append(*to, r.V)
	}
	return err
}

// Sweep removes VPCs that are in the data plane without a record: those that
// were deleted while no server ran. Call it before the controller runs.
func Sweep(ctx context.Context, s store.Store, plane DataPlane) error {
	ids, err := plane.VPCs()
	if err != nil {
		return err
	}
	rows, err := tables.VPCs.List(ctx, s, store.Query{})
	if err != nil {
		return err
	}
	live := map[string]bool{}
	for _, r := range rows {
		live[r.V.ID] = true
	}
	var errs []error
	for _, id := range ids {
		if !live[id] {
			errs = append(errs, plane.RemoveVPC(ctx, id))
		}
	}
	return errors.Join(errs...)
}
