package ecr

import (
	"context"
	"fmt"
	"slices"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// settings are those of the caller's registry.
func (s *Service) settings(ctx context.Context) (registry.Space, *model.ECRRegistry, error) {
	sp := space(ctx, nil)
	row, err := s.Catalog.Settings(ctx, sp)
	if err != nil {
		return sp, nil, fmt.Errorf("read the registry's settings: %w", err)
	}
	return sp, row.V, nil
}

// setUp changes the settings of the caller's registry.
func (s *Service) setUp(ctx context.Context, change func(*model.ECRRegistry) error) (registry.Space, error) {
	sp := space(ctx, nil)
	return sp, retryConflict(ctx, func() error {
		row, err := s.Catalog.Settings(ctx, sp)
		if err != nil {
			return fmt.Errorf("read the registry's settings: %w", err)
		}
		v := row.Copy()
		if err := change(v); err != nil {
			return err
		}
		tx := store.NewTxn()
		tables.ECRRegistries.Replace(tx, row, v)
		_, err = tx.Commit(ctx, s.Store)
		return err
	})
}

// now is the time of a call as records keep it.
func now(ctx context.Context) time.Time {
	return api.CallFrom(ctx).Time.UTC().Truncate(time.Millisecond)
}

func noRegistryPolicy(sp registry.Space) error {
	return ecr.NewRegistryPolicyNotFoundException("Registry policy does not exist in the registry with id '%s'", sp.Account)
}

// PutRegistryPolicy implements ecr.Handler.
func (s *Service) PutRegistryPolicy(ctx context.Context, in *ecr.PutRegistryPolicyInput) (*ecr.PutRegistryPolicyOutput, error) {
	if _, err := parsePolicy(*in.PolicyText); err != nil {
		return nil, invalid("PolicyText", "Invalid registry policy provided")
	}
	sp, err := s.setUp(ctx, func(r *model.ECRRegistry) error {
		r.Policy = *in.PolicyText
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &ecr.PutRegistryPolicyOutput{PolicyText: in.PolicyText, RegistryId: new(sp.Account)}, nil
}

// GetRegistryPolicy implements ecr.Handler.
func (s *Service) GetRegistryPolicy(ctx context.Context, _ *ecr.GetRegistryPolicyInput) (*ecr.GetRegistryPolicyOutput, error) {
	sp, r, err := s.settings(ctx)
	if err != nil {
		return nil, err
	}
	if r.Policy == "" {
		return nil, noRegistryPolicy(sp)
	}
	return &ecr.GetRegistryPolicyOutput{PolicyText: new(r.Policy), RegistryId: new(sp.Account)}, nil
}

// DeleteRegistryPolicy implements ecr.Handler.
func (s *Service) DeleteRegistryPolicy(ctx context.Context, _ *ecr.DeleteRegistryPolicyInput) (*ecr.DeleteRegistryPolicyOutput, error) {
	var old string
	sp, err := s.setUp(ctx, func(r *model.ECRRegistry) error {
		if r.Policy == "" {
			return noRegistryPolicy(space(ctx, nil))
		}
		old, r.Policy = r.Policy, ""
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &ecr.DeleteRegistryPolicyOutput{PolicyText: new(old), RegistryId: new(sp.Account)}, nil
}

// The names of account settings.
const (
	settingScanType     = "BASIC_SCAN_TYPE_VERSION"
	settingPolicyScope  = "REGISTRY_POLICY_SCOPE"
	settingBlobMounting = "BLOB_MOUNTING"
)

func unknownSetting(name string) error {
	return invalid("name", "Unknown account setting %s", name)
}

// GetAccountSetting implements ecr.Handler.
func (s *Service) GetAccountSetting(ctx context.Context, in *ecr.GetAccountSettingInput) (*ecr.GetAccountSettingOutput, error) {
	_, r, err := s.settings(ctx)
	if err != nil {
		return nil, err
	}
	value := ""
	switch *in.Name {
	case settingScanType:
		value = "AWS_NATIVE"
	case settingPolicyScope:
		if value = r.PolicyScope; value == "" {
			value = "V2"
		}
	case settingBlobMounting:
		value = "ENABLED"
	default:
		return nil, unknownSetting(*in.Name)
	}
	return &ecr.GetAccountSettingOutput{Name: in.Name, Value: new(value)}, nil
}

// PutAccountSetting implements ecr.Handler.
func (s *Service) PutAccountSetting(ctx context.Context, in *ecr.PutAccountSettingInput) (*ecr.PutAccountSettingOutput, error) {
	values, ok := map[string][]string{
		settingScanType:     {"AWS_NATIVE"},
		settingPolicyScope:  {"V1", "V2"},
		settingBlobMounting: {"ENABLED"},
	}[*in.Name]
	switch {
	case !ok:
		return nil, unknownSetting(*in.Name)
	case !slices.Contains(values, *in.Value):
		return nil, invalid("value", "Invalid value %s for the account setting %s", *in.Value, *in.Name)
	}
	if *in.Name == settingPolicyScope {
		if _, err := s.setUp(ctx, func(r *model.ECRRegistry) error {
			r.PolicyScope = *in.Value
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return &ecr.PutAccountSettingOutput{Name: in.Name, Value: in.Value}, nil
}

// DescribeRegistry implements ecr.Handler.
func (s *Service) DescribeRegistry(ctx context.Context, _ *ecr.DescribeRegistryInput) (*ecr.DescribeRegistryOutput, error) {
	sp, r, err := s.settings(ctx)
	if err != nil {
		return nil, err
	}
	return &ecr.DescribeRegistryOutput{RegistryId: new(sp.Account), ReplicationConfiguration: showReplication(r.Replication)}, nil
}

func showReplication(rules []model.ECRReplicationRule) *ecr.ReplicationConfiguration {
	out := &ecr.ReplicationConfiguration{Rules: []ecr.ReplicationRule{}}
	for _, r := range rules {
		rule := ecr.ReplicationRule{Destinations: []ecr.ReplicationDestination{}}
		for _, d := range r.Destinations {
			rule.Destinations = append(rule.Destinations, ecr.ReplicationDestination{Region: new(d.Region), RegistryId: new(d.Account)})
		}
		for _, p := range r.Prefixes {
			rule.RepositoryFilters = append(rule.RepositoryFilters, ecr.RepositoryFilter{Filter: new(p), FilterType: ecr.RepositoryFilterTypePrefixMatch})
		}
		out.Rules = append(out.Rules, rule)
	}
	return out
}

// maxDestinations is how many registries all rules together may name.
const maxDestinations = 25

// PutReplicationConfiguration implements ecr.Handler. The controller
// ecrreplication copies what is pushed from now on.
func (s *Service) PutReplicationConfiguration(ctx context.Context, in *ecr.PutReplicationConfigurationInput) (*ecr.PutReplicationConfigurationOutput, error) {
	sp := space(ctx, nil)
	var rules []model.ECRReplicationRule
	unique := map[model.ECRDestination]bool{}
	for _, r := range in.ReplicationConfiguration.Rules {
		var rule model.ECRReplicationRule
		if len(r.Destinations) == 0 {
			return nil, invalid("replicationConfiguration", "A rule needs a destination")
		}
		for _, d := range r.Destinations {
			to := model.ECRDestination{Region: *d.Region, Account: *d.RegistryId}
			switch {
			case to == (model.ECRDestination{Region: sp.Region, Account: sp.Account}):
				return nil, invalid("replicationConfiguration", "Invalid replication destination: the source registry cannot be a destination")
			case slices.Contains(rule.Destinations, to):
				return nil, invalid("replicationConfiguration", "Invalid replication destination: %s in %s is given twice", to.Account, to.Region)
			}
			unique[to] = true
			rule.Destinations = append(rule.Destinations, to)
		}
		for _, f := range r.RepositoryFilters {
			rule.Prefixes = append(rule.Prefixes, *f.Filter)
		}
		rules = append(rules, rule)
	}
	if len(unique) > maxDestinations {
		return nil, invalid("replicationConfiguration", "There can be %d unique destinations at most", maxDestinations)
	}
	if _, err := s.setUp(ctx, func(r *model.ECRRegistry) error {
		r.Replication, r.ReplicationSince = rules, now(ctx)
		return nil
	}); err != nil {
		return nil, err
	}
	return &ecr.PutReplicationConfigurationOutput{ReplicationConfiguration: showReplication(rules)}, nil
}

// DescribeImageReplicationStatus implements ecr.Handler.
func (s *Service) DescribeImageReplicationStatus(ctx context.Context, in *ecr.DescribeImageReplicationStatusInput) (*ecr.DescribeImageReplicationStatusOutput, error) {
	sp, repo, err := s.repository(ctx, "ecr:DescribeImageReplicationStatus", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	row, err := s.image(ctx, sp, repo.V.Name, *in.ImageId)
	if err != nil {
		return nil, err
	}
	settings, err := s.Catalog.Settings(ctx, sp)
	if err != nil {
		return nil, fmt.Errorf("read the registry's settings: %w", err)
	}
	done, err := s.Catalog.Replications(ctx, sp, row.Key.ID)
	if err != nil {
		return nil, fmt.Errorf("read the image's replication: %w", err)
	}
	out := &ecr.DescribeImageReplicationStatusOutput{
		ImageId: in.ImageId, RepositoryName: in.RepositoryName, ReplicationStatuses: []ecr.ImageReplicationStatus{},
	}
	show := func(d model.ECRReplicationStatus) {
		st := ecr.ImageReplicationStatus{Region: new(d.Region), RegistryId: new(d.Account), Status: ecr.ReplicationStatus(d.Status)}
		if d.FailureCode != "" {
			st.FailureCode = new(d.FailureCode)
		}
		out.ReplicationStatuses = append(out.ReplicationStatuses, st)
	}
	for _, d := range done {
		show(d)
	}
	for _, d := range settings.V.Destinations(row.V) {
		if !slices.ContainsFunc(done, func(o model.ECRReplicationStatus) bool { return o.ECRDestination == d }) {
			show(model.ECRReplicationStatus{ECRDestination: d, Status: string(ecr.ReplicationStatusInProgress)})
		}
	}
	return out, nil
}
