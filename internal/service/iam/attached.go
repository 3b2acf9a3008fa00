package iam

import (
	"context"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy/managed"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxAttached is the quota of managed policies per principal.
const maxAttached = 10

// use counts a policy's attachments and boundaries up or down. AWS's own
// policies keep no count; a customer's is written, so that it cannot be
// deleted meanwhile.
func (s *Service) use(ctx context.Context, tx *store.Txn, arn string, attachments, boundaries int) error {
	if _, ok := managed.Get(arn); ok {
		return nil
	}
	row, err := s.customerPolicy(ctx, arn)
	if err != nil {
		return absent(err, notAttachable(arn))
	}
	v := row.Copy()
	v.Attachments += attachments
	v.Boundaries += boundaries
	tables.Policies.Replace(tx, row, v)
	return nil
}

func notAttachable(arn string) error {
	return iam.NewNoSuchEntityException("Policy %s does not exist or is not attachable.", arn)
}

// customerPolicy reads a managed policy of the caller's account;
// store.ErrNotFound when there is none by that ARN.
func (s *Service) customerPolicy(ctx context.Context, arn string) (store.Row[model.Policy], error) {
	none := store.Row[model.Policy]{}
	account := api.CallFrom(ctx).Account
	if err := checkPolicyARN(arn); err != nil {
		return none, err
	}
	owner, _, name, ok := model.IAMNameOf(arn, "policy")
	if !ok || owner != account {
		return none, store.ErrNotFound
	}
	row, err := tables.Policies.Get(ctx, s.store, account, "", key(name))
	if err == nil && row.V.ARN != arn {
		return none, store.ErrNotFound
	}
	return row, err
}

// attachable is checkPolicyARN in the words of attaching and detaching.
func attachable(arn string) error {
	if _, err := model.ParseARN(arn); err != nil {
		return fault(400, "ValidationError", "Invalid ARN:  Could not be parsed!")
	}
	return checkPolicyARN(arn)
}

func checkPolicyARN(arn string) error {
	if a, err := model.ParseARN(arn); err != nil || a.Service != "iam" || !strings.HasPrefix(a.Resource, "policy/") {
		return iam.NewInvalidInputException("ARN %s is not valid.", arn)
	}
	return nil
}

func (s *Service) attach(ctx context.Context, read reader, owner, arn *string) error {
	return s.write(ctx, func(tx *store.Txn) error {
		p, err := read(ctx, *owner)
		if err != nil {
			return err
		}
		if err := attachable(*arn); err != nil {
			return err
		}
		if m, ok := managed.Get(*arn); ok && strings.HasPrefix(m.Path, "/aws-service-role/") {
			return iam.NewPolicyNotAttachableException("Cannot attach a Service Role Policy to a Customer Role.")
		}
		if slices.Contains(p.Attached, *arn) {
			return nil
		}
		if len(p.Attached) >= maxAttached {
			return iam.NewLimitExceededException("Cannot exceed quota for %s: %d", p.quota, maxAttached)
		}
		if err := s.use(ctx, tx, *arn, 1, 0); err != nil {
			return err
		}
		p.Attached = append(p.Attached, *arn)
		p.put(tx)
		return nil
	})
}

func (s *Service) detach(ctx context.Context, read reader, owner, arn *string) error {
	return s.write(ctx, func(tx *store.Txn) error {
		p, err := read(ctx, *owner)
		if err != nil {
			return err
		}
		if err := attachable(*arn); err != nil {
			return err
		}
		i := slices.Index(p.Attached, *arn)
		if i < 0 {
			return iam.NewNoSuchEntityException("Policy %s was not found.", *arn)
		}
		if err := s.use(ctx, tx, *arn, -1, 0); err != nil {
			return err
		}
		p.Attached = slices.Delete(p.Attached, i, i+1)
		p.put(tx)
		return nil
	})
}

func (s *Service) listAttached(ctx context.Context, read reader, owner, prefix, marker *string, limit *int32) ([]iam.AttachedPolicy, *bool, *string, error) {
	p, err := read(ctx, *owner)
	if err != nil {
		return nil, nil, nil, err
	}
	var out []iam.AttachedPolicy
	for _, arn := range p.Attached {
		_, path, name, _ := model.IAMNameOf(arn, "policy")
		if strings.HasPrefix(path, pathOf(prefix)) {
			out = append(out, iam.AttachedPolicy{PolicyArn: &arn, PolicyName: &name})
		}
	}
	return page(ctx, out, func(a iam.AttachedPolicy) string { return *a.PolicyName + "\x00" + *a.PolicyArn }, marker, limit, "attached", p.ARN, str(prefix))
}

// setBoundary gives a principal a permissions boundary, or takes it away
// where arn is empty.
func (s *Service) setBoundary(ctx context.Context, read reader, owner *string, arn string) error {
	return s.write(ctx, func(tx *store.Txn) error {
		p, err := read(ctx, *owner)
		if err != nil {
			return err
		}
		if *p.boundary == arn {
			if arn == "" {
				return iam.NewNoSuchEntityException("The %s with name %s has no permissions boundary.", p.kind, p.Name)
			}
			return nil
		}
		if *p.boundary != "" {
			if err := s.use(ctx, tx, *p.boundary, 0, -1); err != nil {
				return err
			}
		}
		if arn != "" {
			if err := s.bound(ctx, tx, arn); err != nil {
				return err
			}
		}
		*p.boundary = arn
		p.put(tx)
		return nil
	})
}

// bound counts a new use of a policy as a boundary.
func (s *Service) bound(ctx context.Context, tx *store.Txn, arn string) error {
	if err := s.use(ctx, tx, arn, 0, 1); err != nil {
		if api.Code(err) == "NoSuchEntity" {
			return iam.NewNoSuchEntityException("Scope ARN: %s does not exist or is not attachable.", arn)
		}
		return err
	}
	return nil
}

// AttachUserPolicy attaches a managed policy to a user.
func (s *Service) AttachUserPolicy(ctx context.Context, in *iam.AttachUserPolicyInput) (*iam.AttachUserPolicyOutput, error) {
	return &iam.AttachUserPolicyOutput{}, s.attach(ctx, s.userPrincipal, in.UserName, in.PolicyArn)
}

// DetachUserPolicy detaches a managed policy from a user.
func (s *Service) DetachUserPolicy(ctx context.Context, in *iam.DetachUserPolicyInput) (*iam.DetachUserPolicyOutput, error) {
	return &iam.DetachUserPolicyOutput{}, s.detach(ctx, s.userPrincipal, in.UserName, in.PolicyArn)
}

// ListAttachedUserPolicies lists a user's managed policies.
func (s *Service) ListAttachedUserPolicies(ctx context.Context, in *iam.ListAttachedUserPoliciesInput) (*iam.ListAttachedUserPoliciesOutput, error) {
	list, more, next, err := s.listAttached(ctx, s.userPrincipal, in.UserName, in.PathPrefix, in.Marker, in.MaxItems)
	return &iam.ListAttachedUserPoliciesOutput{AttachedPolicies: list, IsTruncated: more, Marker: next}, err
}

// PutUserPermissionsBoundary sets a user's permissions boundary.
func (s *Service) PutUserPermissionsBoundary(ctx context.Context, in *iam.PutUserPermissionsBoundaryInput) (*iam.PutUserPermissionsBoundaryOutput, error) {
	return &iam.PutUserPermissionsBoundaryOutput{}, s.setBoundary(ctx, s.userPrincipal, in.UserName, *in.PermissionsBoundary)
}

// DeleteUserPermissionsBoundary removes a user's permissions boundary.
func (s *Service) DeleteUserPermissionsBoundary(ctx context.Context, in *iam.DeleteUserPermissionsBoundaryInput) (*iam.DeleteUserPermissionsBoundaryOutput, error) {
	return &iam.DeleteUserPermissionsBoundaryOutput{}, s.setBoundary(ctx, s.userPrincipal, in.UserName, "")
}

// AttachGroupPolicy attaches a managed policy to a group.
func (s *Service) AttachGroupPolicy(ctx context.Context, in *iam.AttachGroupPolicyInput) (*iam.AttachGroupPolicyOutput, error) {
	return &iam.AttachGroupPolicyOutput{}, s.attach(ctx, s.groupPrincipal, in.GroupName, in.PolicyArn)
}

// DetachGroupPolicy detaches a managed policy from a group.
func (s *Service) DetachGroupPolicy(ctx context.Context, in *iam.DetachGroupPolicyInput) (*iam.DetachGroupPolicyOutput, error) {
	return &iam.DetachGroupPolicyOutput{}, s.detach(ctx, s.groupPrincipal, in.GroupName, in.PolicyArn)
}

// ListAttachedGroupPolicies lists a group's managed policies.
func (s *Service) ListAttachedGroupPolicies(ctx context.Context, in *iam.ListAttachedGroupPoliciesInput) (*iam.ListAttachedGroupPoliciesOutput, error) {
	list, more, next, err := s.listAttached(ctx, s.groupPrincipal, in.GroupName, in.PathPrefix, in.Marker, in.MaxItems)
	return &iam.ListAttachedGroupPoliciesOutput{AttachedPolicies: list, IsTruncated: more, Marker: next}, err
}

// AttachRolePolicy attaches a managed policy to a role.
func (s *Service) AttachRolePolicy(ctx context.Context, in *iam.AttachRolePolicyInput) (*iam.AttachRolePolicyOutput, error) {
	return &iam.AttachRolePolicyOutput{}, s.attach(ctx, s.ownRolePrincipal, in.RoleName, in.PolicyArn)
}

// DetachRolePolicy detaches a managed policy from a role.
func (s *Service) DetachRolePolicy(ctx context.Context, in *iam.DetachRolePolicyInput) (*iam.DetachRolePolicyOutput, error) {
	return &iam.DetachRolePolicyOutput{}, s.detach(ctx, s.ownRolePrincipal, in.RoleName, in.PolicyArn)
}

// ListAttachedRolePolicies lists a role's managed policies.
func (s *Service) ListAttachedRolePolicies(ctx context.Context, in *iam.ListAttachedRolePoliciesInput) (*iam.ListAttachedRolePoliciesOutput, error) {
	list, more, next, err := s.listAttached(ctx, s.rolePrincipal, in.RoleName, in.PathPrefix, in.Marker, in.MaxItems)
	return &iam.ListAttachedRolePoliciesOutput{AttachedPolicies: list, IsTruncated: more, Marker: next}, err
}

// PutRolePermissionsBoundary sets a role's permissions boundary.
func (s *Service) PutRolePermissionsBoundary(ctx context.Context, in *iam.PutRolePermissionsBoundaryInput) (*iam.PutRolePermissionsBoundaryOutput, error) {
	return &iam.PutRolePermissionsBoundaryOutput{}, s.setBoundary(ctx, s.ownRolePrincipal, in.RoleName, *in.PermissionsBoundary)
}

// DeleteRolePermissionsBoundary removes a role's permissions boundary.
func (s *Service) DeleteRolePermissionsBoundary(ctx context.Context, in *iam.DeleteRolePermissionsBoundaryInput) (*iam.DeleteRolePermissionsBoundaryOutput, error) {
	return &iam.DeleteRolePermissionsBoundaryOutput{}, s.setBoundary(ctx, s.ownRolePrincipal, in.RoleName, "")
}
