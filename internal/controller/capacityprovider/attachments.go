package capacityprovider

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// attachments is the work of NewAttachments' controller.
type attachments struct{ Config }

// NewAttachments makes the controller that keeps the attachments of clusters
// as their providers want them.
func NewAttachments(cfg Config) *controller.Controller {
	c := &attachments{cfg}
	return &controller.Controller{
		Name: "clusterattachments",
		Watches: []controller.Watch{
			controller.Own(tables.ECSClusters),
			controller.Watch{Kind: tables.ECSCapacityProviders.Kind(), Keys: c.ofProvider}.Passing(func() []store.Query { return nil }),
		},
		Reconcile: c.reconcile,
	}
}

// ofProvider names the clusters that have a provider.
func (c *attachments) ofProvider(ctx context.Context, r store.Record) ([]controller.Key, error) {
	clusters, err := tables.ECSClusters.List(ctx, c.Store, store.Query{Account: r.Key.Account, Region: r.Key.Region})
	var keys []controller.Key
	for _, cluster := range clusters {
		if slices.Contains(cluster.V.CapacityProviders, r.Key.ID) {
			keys = append(keys, controller.KeyOf(cluster.Key))
		}
	}
	return keys, err
}

func (c *attachments) reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	row, err := tables.ECSClusters.Get(ctx, c.Store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return controller.Result{}, nil
	}
	if err != nil {
		return controller.Result{}, err
	}
	var wanted []model.ClusterAttachment
	for _, name := range row.V.CapacityProviders {
		if model.OnFargate(name) || row.V.Status == model.ECSInactive {
			continue
		}
		p, err := tables.ECSCapacityProviders.Get(ctx, c.Store, key.Account, key.Region, name)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return controller.Result{}, err
		}
		if p.V.Scaling.Enabled {
			wanted = append(wanted, attachment(row.V, model.AttachmentScalingPolicy, name, model.DetailScalingPolicy, func() string {
				return "ECSManagedAutoScalingPolicy-" + id.UUID()
			}))
		}
		if p.V.Draining {
			wanted = append(wanted, attachment(row.V, model.AttachmentDraining, name, model.DetailLifecycleHook, func() string { return model.DrainingHook }))
		}
	}
	if row.V.AttachmentsStatus != model.AttachmentsUpdating && len(wanted) == len(row.V.Attachments) &&
		(len(wanted) == 0 || reflect.DeepEqual(wanted, row.V.Attachments)) {
		return controller.Result{}, nil
	}
	v := row.Copy()
	v.Attachments, v.AttachmentsStatus, v.Provisioning = wanted, model.AttachmentsUpdated, false
	tx := store.NewTxn()
	tables.ECSClusters.Replace(tx, row, v)
	if _, err := tx.Commit(ctx, c.Store); err != nil {
		return controller.Result{}, fmt.Errorf("attachments of cluster %s: %w", key.ID, err)
	}
	return controller.Result{}, nil
}

// attachment is the cluster's attachment of a type for a provider: the one that
// it has, or a new one.
func attachment(c *model.Cluster, kind, provider, detail string, value func() string) model.ClusterAttachment {
	for _, a := range c.Attachments {
		if a.Type == kind && a.Detail(model.DetailCapacityProvider) == provider {
			return a
		}
	}
	return model.ClusterAttachment{ID: id.UUID(), Type: kind, Status: "CREATED", Details: []model.ECSNameValue{
		{Name: model.DetailCapacityProvider, Value: provider}, {Name: detail, Value: value()},
	}}
}
