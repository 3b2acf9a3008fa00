package iam

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Quotas of an identity provider.
const (
	maxThumbprints = 5
	maxClientIDs   = 100
)

func withoutScheme(u string) string { return strings.TrimPrefix(u, "https://") }

func (s *Service) oidcProvider(ctx context.Context, arn string) (store.Row[model.OIDCProvider], error) {
	account := api.CallFrom(ctx).Account
	_, id, _ := strings.Cut(arn, ":oidc-provider/")
	row, err := tables.OIDCProviders.Get(ctx, s.store, account, "", id)
	if err == nil && row.V.ARN != arn {
		err = store.ErrNotFound
	}
	return row, absent(err, iam.NewNoSuchEntityException("OpenIDConnect Provider not found for arn %s", arn))
}

func (s *Service) changeProvider(ctx context.Context, arn *string, change func(p *model.OIDCProvider) error) error {
	return s.write(ctx, func(tx *store.Txn) error {
		row, err := s.oidcProvider(ctx, *arn)
		if err != nil {
			return err
		}
		p := row.Copy()
		if err := change(p); err != nil {
			return err
		}
		tables.OIDCProviders.Replace(tx, row, p)
		return nil
	})
}

func checkThumbprints(list []string) error {
	if len(list) > maxThumbprints {
		return iam.NewInvalidInputException("Thumbprint list must contain fewer than %d entries.", maxThumbprints)
	}
	return nil
}

func checkClientIDs(list []string) error {
	if len(list) > maxClientIDs {
		return iam.NewLimitExceededException("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", maxClientIDs)
	}
	return nil
}

// CreateOpenIDConnectProvider makes an identity provider.
func (s *Service) CreateOpenIDConnectProvider(ctx context.Context, in *iam.CreateOpenIDConnectProviderInput) (*iam.CreateOpenIDConnectProviderOutput, error) {
	c := api.CallFrom(ctx)
	u, err := url.Parse(*in.Url)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault(400, "ValidationError", "Invalid Open ID Connect Provider URL")
	}
	tags, err := modelTags(in.Tags)
	if err != nil {
		return nil, err
	}
	if err := checkThumbprints(in.ThumbprintList); err != nil {
		return nil, err
	}
	if err := checkClientIDs(in.ClientIDList); err != nil {
		return nil, err
	}
	if err := within(ctx, s, tables.OIDCProviders, "OpenIdConnectProvidersPerAccount", maxOIDC); err != nil {
		return nil, err
	}
	id := withoutScheme(*in.Url)
	p := &model.OIDCProvider{
		URL: id, ARN: arnOf(c.Account, "oidc-provider", "/", id), ClientIDs: in.ClientIDList,
		Thumbprints: in.ThumbprintList, CreateDate: now(c), Tags: tags,
	}
	tx := store.NewTxn()
	tables.OIDCProviders.Create(tx, c.Account, "", id, p)
	if _, err := tx.Commit(ctx, s.store); err != nil {
		return nil, taken(err, iam.NewEntityAlreadyExistsException("Provider with url %s already exists.", *in.Url))
	}
	out := &iam.CreateOpenIDConnectProviderOutput{OpenIDConnectProviderArn: &p.ARN}
	if len(tags) > 0 {
		out.Tags = tagList(tags)
	}
	return out, nil
}

// GetOpenIDConnectProvider describes an identity provider.
func (s *Service) GetOpenIDConnectProvider(ctx context.Context, in *iam.GetOpenIDConnectProviderInput) (*iam.GetOpenIDConnectProviderOutput, error) {
	row, err := s.oidcProvider(ctx, *in.OpenIDConnectProviderArn)
	if err != nil {
		return nil, err
	}
	return &iam.GetOpenIDConnectProviderOutput{
		Url: &row.V.URL, ClientIDList: append([]string{}, row.V.ClientIDs...), CreateDate: &row.V.CreateDate,
		ThumbprintList: append([]string{}, row.V.Thumbprints...), Tags: tagList(row.V.Tags),
	}, nil
}

// ListOpenIDConnectProviders lists the account's identity providers.
func (s *Service) ListOpenIDConnectProviders(ctx context.Context, _ *iam.ListOpenIDConnectProvidersInput) (*iam.ListOpenIDConnectProvidersOutput, error) {
	rows, err := tables.OIDCProviders.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
	return &iam.ListOpenIDConnectProvidersOutput{
		OpenIDConnectProviderList: mapped(rows, func(r store.Row[model.OIDCProvider]) iam.OpenIDConnectProviderListEntry {
			return iam.OpenIDConnectProviderListEntry{Arn: &r.V.ARN}
		}),
	}, err
}

// DeleteOpenIDConnectProvider removes an identity provider; deleting again is
// no error.
func (s *Service) DeleteOpenIDConnectProvider(ctx context.Context, in *iam.DeleteOpenIDConnectProviderInput) (*iam.DeleteOpenIDConnectProviderOutput, error) {
	err := s.write(ctx, func(tx *store.Txn) error {
		row, err := s.oidcProvider(ctx, *in.OpenIDConnectProviderArn)
		if err != nil {
			return err
		}
		tables.OIDCProviders.Delete(tx, row)
		return nil
	})
	if api.Code(err) == "NoSuchEntity" {
		err = nil
	}
	return &iam.DeleteOpenIDConnectProviderOutput{}, err
}

// UpdateOpenIDConnectProviderThumbprint replaces the thumbprints.
func (s *Service) UpdateOpenIDConnectProviderThumbprint(ctx context.Context, in *iam.UpdateOpenIDConnectProviderThumbprintInput) (*iam.UpdateOpenIDConnectProviderThumbprintOutput, error) {
	return &iam.UpdateOpenIDConnectProviderThumbprintOutput{}, s.changeProvider(ctx, in.OpenIDConnectProviderArn, func(p *model.OIDCProvider) error {
		p.Thumbprints = in.ThumbprintList
		return checkThumbprints(p.Thumbprints)
	})
}

// AddClientIDToOpenIDConnectProvider adds an audience; one that is there
// already stays.
func (s *Service) AddClientIDToOpenIDConnectProvider(ctx context.Context, in *iam.AddClientIDToOpenIDConnectProviderInput) (*iam.AddClientIDToOpenIDConnectProviderOutput, error) {
	return &iam.AddClientIDToOpenIDConnectProviderOutput{}, s.changeProvider(ctx, in.OpenIDConnectProviderArn, func(p *model.OIDCProvider) error {
		if !slices.Contains(p.ClientIDs, *in.ClientID) {
			p.ClientIDs = append(p.ClientIDs, *in.ClientID)
		}
		return checkClientIDs(p.ClientIDs)
	})
}

// RemoveClientIDFromOpenIDConnectProvider removes an audience; one that is
// not there is no error.
func (s *Service) RemoveClientIDFromOpenIDConnectProvider(ctx context.Context, in *iam.RemoveClientIDFromOpenIDConnectProviderInput) (*iam.RemoveClientIDFromOpenIDConnectProviderOutput, error) {
	return &iam.RemoveClientIDFromOpenIDConnectProviderOutput{}, s.changeProvider(ctx, in.OpenIDConnectProviderArn, func(p *model.OIDCProvider) error {
		p.ClientIDs = slices.DeleteFunc(p.ClientIDs, func(id string) bool { return id == *in.ClientID })
		return nil
	})
}

func (s *Service) taggedProvider(ctx context.Context, arn string) (tagged, error) {
	row, err := s.oidcProvider(ctx, arn)
	if err != nil {
		return tagged{}, err
	}
	v := row.Copy()
	return tagged{"oidc", &v.Tags, func(tx *store.Txn) { tables.OIDCProviders.Replace(tx, row, v) }}, nil
}

// TagOpenIDConnectProvider adds tags to an identity provider.
func (s *Service) TagOpenIDConnectProvider(ctx context.Context, in *iam.TagOpenIDConnectProviderInput) (*iam.TagOpenIDConnectProviderOutput, error) {
	return &iam.TagOpenIDConnectProviderOutput{}, s.tag(ctx, s.taggedProvider, in.OpenIDConnectProviderArn, in.Tags)
}

// UntagOpenIDConnectProvider removes tags from an identity provider.
func (s *Service) UntagOpenIDConnectProvider(ctx context.Context, in *iam.UntagOpenIDConnectProviderInput) (*iam.UntagOpenIDConnectProviderOutput, error) {
	return &iam.UntagOpenIDConnectProviderOutput{}, s.untag(ctx, s.taggedProvider, in.OpenIDConnectProviderArn, in.TagKeys)
}

// ListOpenIDConnectProviderTags lists an identity provider's tags.
func (s *Service) ListOpenIDConnectProviderTags(ctx context.Context, in *iam.ListOpenIDConnectProviderTagsInput) (*iam.ListOpenIDConnectProviderTagsOutput, error) {
	tags, more, next, err := s.listTags(ctx, s.taggedProvider, in.OpenIDConnectProviderArn, in.Marker, in.MaxItems)
	return &iam.ListOpenIDConnectProviderTagsOutput{Tags: tags, IsTruncated: more, Marker: next}, err
}
