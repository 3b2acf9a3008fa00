package ecs

import (
	"context"
	"errors"
	"reflect"
	"regexp"
	"slices"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

var identifier = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// CreateCluster makes a cluster, or returns the one that is there when it is
// asked for in the same way.
func (s *Service) CreateCluster(ctx context.Context, in *ecs.CreateClusterInput) (*ecs.CreateClusterOutput, error) {
	sc := scopeOf(ctx)
	name := val(in.ClusterName)
	if name == "" {
		name = defaultCluster
	}
	if !identifier.MatchString(name) {
		return nil, ecs.NewInvalidParameterException("Invalid identifier: Identifiers for clusters may contain only letters, numbers, underscores and hyphens, and are at most 255 characters long.")
	}
	if in.ServiceConnectDefaults != nil && val(in.ServiceConnectDefaults.Namespace) != "" {
		return nil, unsupported("Service Connect")
	}
	if err := checkClusterConfiguration(in.Configuration); err != nil {
		return nil, err
	}
	settings, err := s.clusterSettings(ctx, sc, in.Settings)
	if err != nil {
		return nil, err
	}
	c := &model.Cluster{
		ClusterName:                     name,
		ClusterARN:                      model.ECSClusterARN(sc.region, sc.account, name),
		Status:                          model.ECSActive,
		Settings:                        settings,
		Configuration:                   converted[model.ClusterConfiguration](in.Configuration),
		CapacityProviders:               in.CapacityProviders,
		DefaultCapacityProviderStrategy: convertedList[model.CapacityProviderStrategyItem](in.DefaultCapacityProviderStrategy),
		Tags:                            tagsOf(in.Tags),
		CreatedAt:                       sc.now,
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if len(c.CapacityProviders) > 0 {
		c.AttachmentsStatus = attachmentsStatus(nil, c.CapacityProviders)
		c.Provisioning = c.AttachmentsStatus == model.AttachmentsUpdating
	}
	return retry(ctx, func() (*ecs.CreateClusterOutput, error) {
		tx := store.NewTxn()
		if err := s.checkCapacity(ctx, sc, tx, c.CapacityProviders, c.DefaultCapacityProviderStrategy); err != nil {
			return nil, err
		}
		old, err := tables.ECSClusters.Get(ctx, s.store, sc.account, sc.region, name)
		switch {
		case errors.Is(err, store.ErrNotFound):
			tables.ECSClusters.Create(tx, sc.account, sc.region, name, c)
		case err != nil:
			return nil, err
		case old.V.Status == model.ECSInactive:
			tables.ECSClusters.Replace(tx, old, c)
		default:
			if !sameCluster(old.V, c, in) {
				return nil, ecs.NewInvalidParameterException("Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
			}
			out, err := s.showCluster(ctx, sc, old.V, allClusterFields)
			return &ecs.CreateClusterOutput{Cluster: out}, err
		}
		if _, err := tx.Commit(ctx, s.store); err != nil {
			return nil, err
		}
		fields := allClusterFields
		if c.Provisioning {
			fields = append([]ecs.ClusterField{ecs.ClusterFieldAttachments}, fields...)
		}
		out, err := s.showCluster(ctx, sc, c, fields)
		return &ecs.CreateClusterOutput{Cluster: out}, err
	})
}

// checkClusterConfiguration refuses what nothing here heeds: keys, which there
// are none of, and buckets. How ECS Exec logs binds the sessions that there
// are.
func checkClusterConfiguration(c *ecs.ClusterConfiguration) error {
	if c == nil {
		return nil
	}
	if m := c.ManagedStorageConfiguration; m != nil && val(m.KmsKeyId)+val(m.FargateEphemeralStorageKmsKeyId) != "" {
		return unsupported("The cluster configuration managedStorageConfiguration")
	}
	e := c.ExecuteCommandConfiguration
	if e == nil {
		return nil
	}
	log := e.LogConfiguration
	switch {
	case val(e.KmsKeyId) != "":
		return unsupported("The execute command configuration kmsKeyId")
	case e.Logging == ecs.ExecuteCommandLoggingOverride && log == nil:
		return ecs.NewInvalidParameterException("When logging is set to OVERRIDE, a logConfiguration must be provided.")
	case e.Logging != ecs.ExecuteCommandLoggingOverride && log != nil:
		return ecs.NewInvalidParameterException("A logConfiguration can only be provided when logging is set to OVERRIDE.")
	case log == nil:
		return nil
	case val(log.S3BucketName) != "":
		return unsupported("The execute command configuration s3BucketName")
	case val(log.CloudWatchEncryptionEnabled):
		return unsupported("The execute command configuration cloudWatchEncryptionEnabled")
	}
	return nil
}

// sameCluster compares what the request names.
func sameCluster(old, asked *model.Cluster, in *ecs.CreateClusterInput) bool {
	return (in.Settings == nil || slices.Equal(old.Settings, asked.Settings)) &&
		(in.CapacityProviders == nil || slices.Equal(old.CapacityProviders, asked.CapacityProviders)) &&
		(in.DefaultCapacityProviderStrategy == nil || slices.Equal(old.DefaultCapacityProviderStrategy, asked.DefaultCapacityProviderStrategy)) &&
		(in.Configuration == nil || reflect.DeepEqual(old.Configuration, asked.Configuration)) &&
		(len(in.Tags) == 0 || reflect.DeepEqual(old.Tags, asked.Tags))
}

// clusterSettings checks settings and fills in the account's default.
func (s *Service) clusterSettings(ctx context.Context, sc scope, in []ecs.ClusterSetting) ([]model.ECSNameValue, error) {
	value := ""
	for _, set := range in {
		if set.Name != ecs.ClusterSettingNameContainerInsights {
			return nil, ecs.NewInvalidParameterException("Cluster setting name must be containerInsights.")
		}
		switch value = val(set.Value); value {
		case "enabled", "disabled", "enhanced":
		default:
			return nil, ecs.NewInvalidParameterException("Invalid value for the cluster setting containerInsights: %s. Valid values are enabled, disabled and enhanced.", value)
		}
	}
	if value == "" {
		var err error
		if value, err = s.effectiveSetting(ctx, sc, "containerInsights", sc.call.Identity.ARN); err != nil {
			return nil, err
		}
	}
	return []model.ECSNameValue{{Name: "containerInsights", Value: value}}, nil
}

// DescribeClusters shows clusters of any status.
func (s *Service) DescribeClusters(ctx context.Context, in *ecs.DescribeClustersInput) (*ecs.DescribeClustersOutput, error) {
	sc := scopeOf(ctx)
	refs := in.Clusters
	if len(refs) == 0 {
		refs = []string{defaultCluster}
	}
	if len(refs) > 100 {
		return nil, ecs.NewInvalidParameterException("Clusters cannot have more than 100 elements.")
	}
	out := &ecs.DescribeClustersOutput{Clusters: []ecs.Cluster{}, Failures: []ecs.Failure{}}
	for _, ref := range refs {
		row, err := s.cluster(ctx, sc, &ref)
		if _, no := errors.AsType[*ecs.ClusterNotFoundException](err); no {
			name, _ := clusterName(&ref)
			arn := ref
			if sc.inScope(ref) {
				arn = model.ECSClusterARN(sc.region, sc.account, name)
			}
			out.Failures = append(out.Failures, missing(arn))
			continue
		}
		if err != nil {
			return nil, err
		}
		c, err := s.showCluster(ctx, sc, row.V, in.Include)
		if err != nil {
			return nil, err
		}
		out.Clusters = append(out.Clusters, *c)
	}
	return out, nil
}

var allClusterFields = []ecs.ClusterField{ecs.ClusterFieldSettings, ecs.ClusterFieldConfigurations, ecs.ClusterFieldTags}

func (s *Service) showCluster(ctx context.Context, sc scope, c *model.Cluster, include []ecs.ClusterField) (*ecs.Cluster, error) {
	out := &ecs.Cluster{
		ClusterArn:                      &c.ClusterARN,
		ClusterName:                     &c.ClusterName,
		Status:                          &c.Status,
		CapacityProviders:               orEmpty(c.CapacityProviders),
		DefaultCapacityProviderStrategy: orEmpty(convertedList[ecs.CapacityProviderStrategyItem](c.DefaultCapacityProviderStrategy)),
		Settings:                        []ecs.ClusterSetting{},
		Statistics:                      []ecs.KeyValuePair{},
		Tags:                            []ecs.Tag{},
	}
	count, err := s.countCluster(ctx, sc, c.ClusterName)
	if err != nil {
		return nil, err
	}
	out.RegisteredContainerInstancesCount = new(int32(count.instances))
	out.ActiveServicesCount = new(int32(count.activeServices))
	out.RunningTasksCount = new(int32(count.running))
	out.PendingTasksCount = new(int32(count.pending))
	for _, f := range include {
		switch f {
		case ecs.ClusterFieldSettings:
			out.Settings = convertedList[ecs.ClusterSetting](c.Settings)
		case ecs.ClusterFieldStatistics:
			out.Statistics = count.statistics()
		case ecs.ClusterFieldTags:
			out.Tags = tagList[ecs.Tag](c.Tags)
		case ecs.ClusterFieldConfigurations:
			out.Configuration = converted[ecs.ClusterConfiguration](c.Configuration)
		case ecs.ClusterFieldAttachments:
			showAttachments(c, out)
		}
	}
	if c.Provisioning && c.Status == model.ECSActive {
		out.Status = new("PROVISIONING")
	}
	return out, nil
}

// ListClusters lists what is not deleted.
func (s *Service) ListClusters(ctx context.Context, in *ecs.ListClustersInput) (*ecs.ListClustersOutput, error) {
	sc := scopeOf(ctx)
	after, limit, err := sc.page(in.MaxResults, in.NextToken, 100, "ListClusters")
	if err != nil {
		return nil, err
	}
	out := &ecs.ListClustersOutput{ClusterArns: []string{}}
	rows, last, more, err := collect(ctx, s, tables.ECSClusters, store.Query{Account: sc.account, Region: sc.region, After: after}, limit,
		func(c *model.Cluster) bool { return c.Status != model.ECSInactive })
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		out.ClusterArns = append(out.ClusterArns, r.V.ClusterARN)
	}
	out.NextToken = sc.token(more, last, "ListClusters")
	return out, nil
}

// collect lists up to limit records that keep takes, and tells the id of the
// last one and whether more follow.
func collect[T any](ctx context.Context, s *Service, t *store.Table[T], q store.Query, limit int, keep func(*T) bool) (rows []store.Row[T], last string, more bool, err error) {
	q.Limit = limit + 1
	for {
		batch, err := t.List(ctx, s.store, q)
		if err != nil {
			return nil, "", false, err
		}
		for _, r := range batch {
			if !keep(r.V) {
				continue
			}
			if len(rows) == limit {
				return rows, rows[limit-1].Key.ID, true, nil
			}
			rows = append(rows, r)
		}
		if len(batch) < q.Limit {
			return rows, "", false, nil
		}
		q.After = batch[len(batch)-1].Key.ID
	}
}

// UpdateCluster changes settings and configuration.
func (s *Service) UpdateCluster(ctx context.Context, in *ecs.UpdateClusterInput) (*ecs.UpdateClusterOutput, error) {
	if in.ServiceConnectDefaults != nil && val(in.ServiceConnectDefaults.Namespace) != "" {
		return nil, unsupported("Service Connect")
	}
	if err := checkClusterConfiguration(in.Configuration); err != nil {
		return nil, err
	}
	c, err := s.updateCluster(ctx, in.Cluster, in.Settings, func(c *model.Cluster) error {
		if in.Configuration != nil {
			c.Configuration = converted[model.ClusterConfiguration](in.Configuration)
		}
		return nil
	})
	return &ecs.UpdateClusterOutput{Cluster: c}, err
}

// UpdateClusterSettings changes settings.
func (s *Service) UpdateClusterSettings(ctx context.Context, in *ecs.UpdateClusterSettingsInput) (*ecs.UpdateClusterSettingsOutput, error) {
	c, err := s.updateCluster(ctx, in.Cluster, in.Settings, func(*model.Cluster) error { return nil })
	return &ecs.UpdateClusterSettingsOutput{Cluster: c}, err
}

func (s *Service) updateCluster(ctx context.Context, ref *string, settings []ecs.ClusterSetting, change func(*model.Cluster) error) (*ecs.Cluster, error) {
	sc := scopeOf(ctx)
	row, err := s.activeCluster(ctx, sc, ref)
	if err != nil {
		return nil, err
	}
	var set []model.ECSNameValue
	if len(settings) > 0 {
		if set, err = s.clusterSettings(ctx, sc, settings); err != nil {
			return nil, err
		}
	}
	row, err = tables.ECSClusters.Update(ctx, s.store, sc.account, sc.region, row.Key.ID, func(c *model.Cluster) error {
		if c.Status != model.ECSActive {
			return ecs.NewClusterNotFoundException("The referenced cluster was inactive.")
		}
		if set != nil {
			c.Settings = set
		}
		return change(c)
	})
	if err != nil {
		return nil, err
	}
	return s.showCluster(ctx, sc, row.V, allClusterFields)
}

// DeleteCluster makes an empty cluster INACTIVE. It is first marked so that
// nothing can be added, then looked at: the mark is taken off when it is not
// empty.
func (s *Service) DeleteCluster(ctx context.Context, in *ecs.DeleteClusterInput) (*ecs.DeleteClusterOutput, error) {
	sc := scopeOf(ctx)
	row, err := s.cluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	if row.V.Status == model.ECSInactive {
		c, err := s.showCluster(ctx, sc, row.V, allClusterFields)
		return &ecs.DeleteClusterOutput{Cluster: c}, err
	}
	set := func(status string) (err error) {
		row, err = tables.ECSClusters.Update(ctx, s.store, sc.account, sc.region, row.Key.ID, func(c *model.Cluster) error {
			if status == model.ECSDeprovisioning && c.Status == status {
				return store.ErrUnchanged
			}
			c.Status = status
			if status == model.ECSInactive {
				c.DeletedAt = sc.now
			}
			return nil
		})
		return err
	}
	// The empty look before spares a cluster in use the mark.
	if err := s.clusterIsEmpty(ctx, sc, row.V.ClusterName); err != nil {
		return nil, err
	}
	if err := set(model.ECSDeprovisioning); err != nil {
		return nil, err
	}
	if err := s.clusterIsEmpty(ctx, sc, row.V.ClusterName); err != nil {
		return nil, errors.Join(err, set(model.ECSActive))
	}
	if err := set(model.ECSInactive); err != nil {
		return nil, err
	}
	c, err := s.showCluster(ctx, sc, row.V, allClusterFields)
	return &ecs.DeleteClusterOutput{Cluster: c}, err
}

func (s *Service) clusterIsEmpty(ctx context.Context, sc scope, name string) error {
	count, err := s.countCluster(ctx, sc, name)
	switch {
	case err != nil:
		return err
	case count.activeServices > 0:
		return ecs.NewClusterContainsServicesException("The Cluster cannot be deleted while Services are active.")
	case count.instances > 0:
		return ecs.NewClusterContainsContainerInstancesException("The Cluster cannot be deleted while Container Instances are active or draining.")
	case count.alive > 0:
		return ecs.NewClusterContainsTasksException("The Cluster cannot be deleted while Tasks are active.")
	}
	return nil
}

// unsupported refuses what this server does not do, as AWS does where a
// feature has not come to a region yet.
func unsupported(feature string) error {
	return ecs.NewUnsupportedFeatureException("%s is not supported in this Region.", feature)
}
