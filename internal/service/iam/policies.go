package iam

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/plan/policy/managed"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	maxVersions   = 5
	maxPolicySize = 6144
)

func noPolicy(arn string) error {
	return iam.NewNoSuchEntityException("Policy %s was not found.", arn)
}

// managedDocument checks a managed policy's document.
func managedDocument(text string) error {
	if _, err := parsePolicy(text, policy.Identity); err != nil {
		return err
	}
	if documentSize(text) > maxPolicySize {
		return iam.NewLimitExceededException("Cannot exceed quota for PolicySize: %d", maxPolicySize)
	}
	return nil
}

// CreatePolicy makes a managed policy with its first version.
func (s *Service) CreatePolicy(ctx context.Context, in *iam.CreatePolicyInput) (*iam.CreatePolicyOutput, error) {
	c := api.CallFrom(ctx)
	tags, err := modelTags(in.Tags)
	if err != nil {
		return nil, err
	}
	if err := managedDocument(*in.PolicyDocument); err != nil {
		return nil, err
	}
	p := &model.Policy{
		Name: *in.PolicyName, Path: pathOf(in.Path), ID: uniqueID(model.IAMPolicyPrefix),
		ARN: arnOf(c.Account, "policy", pathOf(in.Path), *in.PolicyName), Description: str(in.Description),
		Versions:       []model.PolicyVersion{{ID: "v1", Document: *in.PolicyDocument, CreateDate: now(c)}},
		DefaultVersion: "v1", LastVersion: 1, CreateDate: now(c), UpdateDate: now(c), Tags: tags,
	}
	if err := within(ctx, s, tables.Policies, "PoliciesPerAccount", maxPolicies); err != nil {
		return nil, err
	}
	tx := store.NewTxn()
	tables.Policies.Create(tx, c.Account, "", key(p.Name), p)
	if _, err := tx.Commit(ctx, s.store); err != nil {
		return nil, taken(err, iam.NewEntityAlreadyExistsException("A policy called %s already exists. Duplicate names are not allowed.", p.Name))
	}
	out := listedPolicy(p)
	if len(p.Tags) > 0 {
		out.Tags = tagList(p.Tags)
	}
	return &iam.CreatePolicyOutput{Policy: &out}, nil
}

// readPolicy reads a policy of the account's or of AWS's.
func (s *Service) readPolicy(ctx context.Context, arn string) (*model.Policy, error) {
	if m, ok := managed.Get(arn); ok {
		attached, bounded, err := s.entities(ctx, arn)
		if err != nil {
			return nil, err
		}
		return managedPolicy(m, len(attached), len(bounded)), nil
	}
	row, err := s.customerPolicy(ctx, arn)
	if err != nil {
		return nil, absent(err, noPolicy(arn))
	}
	return row.V, nil
}

// changePolicy lets change alter a customer's policy.
func (s *Service) changePolicy(ctx context.Context, arn string, change func(p *model.Policy) error) (*model.Policy, error) {
	var out *model.Policy
	err := s.write(ctx, func(tx *store.Txn) error {
		row, err := s.ownPolicy(ctx, arn)
		if err != nil {
			return err
		}
		out = row.Copy()
		if err := change(out); err != nil {
			return err
		}
		tables.Policies.Replace(tx, row, out)
		return nil
	})
	return out, err
}

// ownPolicy reads a policy that may be changed.
func (s *Service) ownPolicy(ctx context.Context, arn string) (store.Row[model.Policy], error) {
	if _, ok := managed.Get(arn); ok {
		return store.Row[model.Policy]{}, fault(403, "AccessDenied", "Policy %s is an AWS managed policy and cannot be changed.", arn)
	}
	row, err := s.customerPolicy(ctx, arn)
	return row, absent(err, noPolicy(arn))
}

// GetPolicy describes a policy.
func (s *Service) GetPolicy(ctx context.Context, in *iam.GetPolicyInput) (*iam.GetPolicyOutput, error) {
	p, err := s.readPolicy(ctx, *in.PolicyArn)
	if err != nil {
		return nil, err
	}
	return &iam.GetPolicyOutput{Policy: describedPolicy(p)}, nil
}

// ListPolicies lists the account's policies, AWS's, or both.
func (s *Service) ListPolicies(ctx context.Context, in *iam.ListPoliciesInput) (*iam.ListPoliciesOutput, error) {
	var all []*model.Policy
	if in.Scope != iam.PolicyScopeTypeAws {
		rows, err := tables.Policies.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			all = append(all, r.V)
		}
	}
	if in.Scope != iam.PolicyScopeTypeLocal {
		for _, m := range managed.All() {
			attached, bounded, err := s.entities(ctx, m.ARN)
			if err != nil {
				return nil, err
			}
			all = append(all, managedPolicy(m, len(attached), len(bounded)))
		}
	}
	only := in.OnlyAttached != nil && *in.OnlyAttached
	all = slices.DeleteFunc(all, func(p *model.Policy) bool {
		return !strings.HasPrefix(p.Path, pathOf(in.PathPrefix)) ||
			only && p.Attachments == 0 && p.Boundaries == 0 ||
			in.PolicyUsageFilter == iam.PolicyUsageTypePermissionsPolicy && only && p.Attachments == 0 ||
			in.PolicyUsageFilter == iam.PolicyUsageTypePermissionsBoundary && p.Boundaries == 0
	})
	all, more, next, err := page(ctx, all, func(p *model.Policy) string { return key(p.Name) + "\x00" + p.ARN }, in.Marker, in.MaxItems,
		"policies", string(in.Scope), str(in.PathPrefix), strconv.FormatBool(only), string(in.PolicyUsageFilter))
	return &iam.ListPoliciesOutput{
		Policies:    mapped(all, listedPolicy),
		IsTruncated: more, Marker: next,
	}, err
}

// DeletePolicy removes a policy that nothing uses and that has one version.
func (s *Service) DeletePolicy(ctx context.Context, in *iam.DeletePolicyInput) (*iam.DeletePolicyOutput, error) {
	return &iam.DeletePolicyOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := s.ownPolicy(ctx, *in.PolicyArn)
		if err != nil {
			return err
		}
		switch {
		case row.V.Attachments > 0:
			return iam.NewDeleteConflictException("Cannot delete a policy attached to entities.")
		case row.V.Boundaries > 0:
			return iam.NewDeleteConflictException("Cannot delete a policy attached to entities as a permissions boundary.")
		case len(row.V.Versions) > 1:
			return iam.NewDeleteConflictException("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		tables.Policies.Delete(tx, row)
		return nil
	})
}

func versionOf(v *model.PolicyVersion, p *model.Policy, withDocument bool) *iam.PolicyVersion {
	out := &iam.PolicyVersion{VersionId: &v.ID, CreateDate: &v.CreateDate, IsDefaultVersion: new(v.ID == p.DefaultVersion)}
	if withDocument {
		out.Document = encoded(v.Document)
	}
	return out
}

// CreatePolicyVersion adds a version, and makes it the default where asked.
func (s *Service) CreatePolicyVersion(ctx context.Context, in *iam.CreatePolicyVersionInput) (*iam.CreatePolicyVersionOutput, error) {
	c := api.CallFrom(ctx)
	if err := managedDocument(*in.PolicyDocument); err != nil {
		return nil, err
	}
	p, err := s.changePolicy(ctx, *in.PolicyArn, func(p *model.Policy) error {
		if len(p.Versions) >= maxVersions {
			return iam.NewLimitExceededException("A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxVersions)
		}
		p.LastVersion++
		v := model.PolicyVersion{ID: "v" + strconv.Itoa(p.LastVersion), Document: *in.PolicyDocument, CreateDate: now(c)}
		p.Versions = append(p.Versions, v)
		if in.SetAsDefault != nil && *in.SetAsDefault {
			p.DefaultVersion = v.ID
		}
		p.UpdateDate = now(c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &iam.CreatePolicyVersionOutput{PolicyVersion: versionOf(&p.Versions[len(p.Versions)-1], p, false)}, nil
}

func noVersion(arn, id string) error {
	return iam.NewNoSuchEntityException("Policy %s version %s does not exist or is not attachable.", arn, id)
}

func versionIndex(p *model.Policy, id string) int {
	return slices.IndexFunc(p.Versions, func(v model.PolicyVersion) bool { return v.ID == id })
}

// GetPolicyVersion describes a version, with its document.
func (s *Service) GetPolicyVersion(ctx context.Context, in *iam.GetPolicyVersionInput) (*iam.GetPolicyVersionOutput, error) {
	p, err := s.readPolicy(ctx, *in.PolicyArn)
	if err != nil {
		return nil, err
	}
	i := versionIndex(p, *in.VersionId)
	if i < 0 {
		return nil, noVersion(*in.PolicyArn, *in.VersionId)
	}
	return &iam.GetPolicyVersionOutput{PolicyVersion: versionOf(&p.Versions[i], p, true)}, nil
}

// ListPolicyVersions lists a policy's versions, newest first.
func (s *Service) ListPolicyVersions(ctx context.Context, in *iam.ListPolicyVersionsInput) (*iam.ListPolicyVersionsOutput, error) {
	p, err := s.readPolicy(ctx, *in.PolicyArn)
	if err != nil {
		return nil, err
	}
	list := make([]iam.PolicyVersion, 0, len(p.Versions))
	for i := len(p.Versions) - 1; i >= 0; i-- {
		list = append(list, *versionOf(&p.Versions[i], p, false))
	}
	// There are five at most; their order is what the marker goes by.
	list, more, next, err := page(ctx, list, func(v iam.PolicyVersion) string {
		n, _ := strconv.Atoi((*v.VersionId)[1:])
		return strconv.Itoa(1<<30 - n)
	}, in.Marker, in.MaxItems, "versions", *in.PolicyArn)
	return &iam.ListPolicyVersionsOutput{Versions: list, IsTruncated: more, Marker: next}, err
}

// DeletePolicyVersion removes a version that is not the default.
func (s *Service) DeletePolicyVersion(ctx context.Context, in *iam.DeletePolicyVersionInput) (*iam.DeletePolicyVersionOutput, error) {
	_, err := s.changePolicy(ctx, *in.PolicyArn, func(p *model.Policy) error {
		i := versionIndex(p, *in.VersionId)
		switch {
		case i < 0:
			return noVersion(*in.PolicyArn, *in.VersionId)
		case p.DefaultVersion == *in.VersionId:
			return iam.NewDeleteConflictException("Cannot delete the default version of a policy.")
		}
		p.Versions = slices.Delete(p.Versions, i, i+1)
		return nil
	})
	return &iam.DeletePolicyVersionOutput{}, err
}

// SetDefaultPolicyVersion chooses the version that is in force.
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, in *iam.SetDefaultPolicyVersionInput) (*iam.SetDefaultPolicyVersionOutput, error) {
	c := api.CallFrom(ctx)
	_, err := s.changePolicy(ctx, *in.PolicyArn, func(p *model.Policy) error {
		if versionIndex(p, *in.VersionId) < 0 {
			return noVersion(*in.PolicyArn, *in.VersionId)
		}
		p.DefaultVersion = *in.VersionId
		p.UpdateDate = now(c)
		return nil
	})
	return &iam.SetDefaultPolicyVersionOutput{}, err
}
