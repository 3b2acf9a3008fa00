package iam

import (
	"context"
	"errors"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// aliasID is the record of an account's alias, and the prefix of those that
// reserve a name.
const aliasID = "alias"

func reserved(alias string) string { return aliasID + "/" + alias }

// CreateAccountAlias gives the account its alias, in place of an older one.
func (s *Service) CreateAccountAlias(ctx context.Context, in *iam.CreateAccountAliasInput) (*iam.CreateAccountAliasOutput, error) {
	account := api.CallFrom(ctx).Account
	a := &model.AccountAlias{Alias: *in.AccountAlias, Account: account}
	return &iam.CreateAccountAliasOutput{}, s.write(ctx, func(tx *store.Txn) error {
		owner, err := tables.AccountAliases.Get(ctx, s.store, "", "", reserved(a.Alias))
		if err == nil {
			if owner.V.Account == account {
				return nil
			}
			return iam.NewEntityAlreadyExistsException("The account alias %s already exists.", a.Alias)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		old, err := tables.AccountAliases.Get(ctx, s.store, account, "", aliasID)
		switch {
		case err == nil:
			tables.AccountAliases.Replace(tx, old, a)
			was, err := tables.AccountAliases.Get(ctx, s.store, "", "", reserved(old.V.Alias))
			if err != nil {
				return err
			}
			tables.AccountAliases.Delete(tx, was)
		case errors.Is(err, store.ErrNotFound):
			tables.AccountAliases.Create(tx, account, "", aliasID, a)
		default:
			return err
		}
		tables.AccountAliases.Create(tx, "", "", reserved(a.Alias), a)
		return nil
	})
}

// ListAccountAliases lists the account's alias, if it has one.
func (s *Service) ListAccountAliases(ctx context.Context, _ *iam.ListAccountAliasesInput) (*iam.ListAccountAliasesOutput, error) {
	out := &iam.ListAccountAliasesOutput{AccountAliases: []string{}, IsTruncated: new(false)}
	row, err := tables.AccountAliases.Get(ctx, s.store, api.CallFrom(ctx).Account, "", aliasID)
	if errors.Is(err, store.ErrNotFound) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	out.AccountAliases = append(out.AccountAliases, row.V.Alias)
	return out, nil
}

// DeleteAccountAlias takes the account's alias away.
func (s *Service) DeleteAccountAlias(ctx context.Context, in *iam.DeleteAccountAliasInput) (*iam.DeleteAccountAliasOutput, error) {
	none := iam.NewNoSuchEntityException("The account alias %s cannot be found.", *in.AccountAlias)
	return &iam.DeleteAccountAliasOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := tables.AccountAliases.Get(ctx, s.store, api.CallFrom(ctx).Account, "", aliasID)
		if err != nil {
			return absent(err, none)
		}
		if row.V.Alias != *in.AccountAlias {
			return none
		}
		name, err := tables.AccountAliases.Get(ctx, s.store, "", "", reserved(row.V.Alias))
		if err != nil {
			return err
		}
		tables.AccountAliases.Delete(tx, row)
		tables.AccountAliases.Delete(tx, name)
		return nil
	})
}

// GetAccountSummary counts what the account has, beside its quotas.
func (s *Service) GetAccountSummary(ctx context.Context, _ *iam.GetAccountSummaryInput) (*iam.GetAccountSummaryOutput, error) {
	account := api.CallFrom(ctx).Account
	m := map[iam.SummaryKeyType]int32{
		"AccountAccessKeysPresent": 1, "AccountMFAEnabled": 0, "AccountSigningCertificatesPresent": 0, "AccountPasswordPresent": 1,
		"AccessKeysPerUserQuota": maxAccessKeys, "AssumeRolePolicySizeQuota": maxTrustPolicy,
		"AttachedPoliciesPerGroupQuota": maxAttached, "AttachedPoliciesPerRoleQuota": maxAttached, "AttachedPoliciesPerUserQuota": maxAttached,
		"GlobalEndpointTokenVersion": 1, "GroupPolicySizeQuota": 5120, "GroupsPerUserQuota": maxGroups, "GroupsQuota": maxGroupsOf,
		"InstanceProfilesQuota": maxProfiles, "MFADevices": 0, "MFADevicesInUse": 0, "PoliciesQuota": maxPolicies, "PolicySizeQuota": maxPolicySize,
		"PolicyVersionsInUseQuota": 10000, "Providers": 0, "RolePolicySizeQuota": 10240, "RolesQuota": maxRoles,
		"ServerCertificates": 0, "ServerCertificatesQuota": maxCertificates, "SigningCertificatesPerUserQuota": 2,
		"UserPolicySizeQuota": 2048, "UsersQuota": maxUsers, "VersionsPerPolicyQuota": maxVersions,
	}
	q := store.Query{Account: account}
	var errs [9]error
	m["Users"], errs[0] = count(ctx, s.store, tables.Users, q)
	m["Groups"], errs[1] = count(ctx, s.store, tables.Groups, q)
	m["Roles"], errs[2] = count(ctx, s.store, tables.Roles, q)
	m["InstanceProfiles"], errs[3] = count(ctx, s.store, tables.InstanceProfiles, q)
	m["ServerCertificates"], errs[5] = count(ctx, s.store, tables.ServerCertificates, q)
	var oidc, saml int32
	oidc, errs[6] = count(ctx, s.store, tables.OIDCProviders, q)
	saml, errs[7] = count(ctx, s.store, tables.SAMLProviders, q)
	m["Providers"] = oidc + saml
	var devices []store.Row[model.MFADevice]
	devices, errs[8] = tables.MFADevices.List(ctx, s.store, q)
	m["MFADevices"] = int32(len(devices))
	for _, d := range devices {
		if d.V.User != "" {
			m["MFADevicesInUse"]++
		}
	}
	var policies []store.Row[model.Policy]
	policies, errs[4] = tables.Policies.List(ctx, s.store, q)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	for _, p := range policies {
		m["Policies"]++
		m["PolicyVersionsInUse"] += int32(len(p.V.Versions))
	}
	return &iam.GetAccountSummaryOutput{SummaryMap: m}, nil
}

func count[T any](ctx context.Context, s store.Store, t *store.Table[T], q store.Query) (int32, error) {
	rows, err := t.List(ctx, s, q)
	return int32(len(rows)), err
}
