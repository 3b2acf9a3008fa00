package iam

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxSAMLProviders is the quota of SAML providers per account.
const maxSAMLProviders = 100

// samlValidity is how long a provider is valid whose metadata do not say.
const samlValidity = 100 // years

// samlMetadata reads an identity provider's metadata and tells how long they
// are valid.
func samlMetadata(text string, at time.Time) (validUntil time.Time, err error) {
	malformed := iam.NewInvalidInputException("Could not parse metadata")
	d := xml.NewDecoder(strings.NewReader(text))
	validUntil = at.AddDate(samlValidity, 0, 0)
	entity, provider := false, false
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return validUntil, malformed
		}
		start, ok := t.(xml.StartElement)
		if !ok {
			continue
		}
		switch {
		case start.Name.Space != "urn:oasis:names:tc:SAML:2.0:metadata":
		case start.Name.Local == "EntityDescriptor":
			for _, a := range start.Attr {
				switch a.Name.Local {
				case "entityID":
					entity = a.Value != ""
				case "validUntil":
					if validUntil, err = time.Parse(time.RFC3339, a.Value); err != nil {
						return validUntil, malformed
					}
				}
			}
		case start.Name.Local == "IDPSSODescriptor":
			provider = true
		}
	}
	if !entity || !provider {
		return validUntil, malformed
	}
	return validUntil.UTC().Truncate(time.Second), nil
}

func (s *Service) samlProvider(ctx context.Context, arn string) (store.Row[model.SAMLProvider], error) {
	account := api.CallFrom(ctx).Account
	if _, _, _, ok := model.IAMNameOf(arn, "saml-provider"); !ok {
		return store.Row[model.SAMLProvider]{}, iam.NewInvalidInputException("Invalid ARN: %s", arn)
	}
	_, name, _ := strings.Cut(arn, ":saml-provider/")
	row, err := tables.SAMLProviders.Get(ctx, s.store, account, "", name)
	if err == nil && row.V.ARN != arn {
		err = store.ErrNotFound
	}
	return row, absent(err, iam.NewNoSuchEntityException("Manifest not found for arn %s", arn))
}

var errSAMLEncryption = iam.NewInvalidInputException("Encrypted assertions are not served: AddPrivateKey, RemovePrivateKey and AssertionEncryptionMode must be empty.")

// CreateSAMLProvider makes a SAML identity provider, which trust policies can
// name.
func (s *Service) CreateSAMLProvider(ctx context.Context, in *iam.CreateSAMLProviderInput) (*iam.CreateSAMLProviderOutput, error) {
	c := api.CallFrom(ctx)
	if in.AddPrivateKey != nil || in.AssertionEncryptionMode != "" {
		return nil, errSAMLEncryption
	}
	tags, err := modelTags(in.Tags)
	if err != nil {
		return nil, err
	}
	until, err := samlMetadata(*in.SAMLMetadataDocument, c.Time)
	if err != nil {
		return nil, err
	}
	if err := within(ctx, s, tables.SAMLProviders, "SAMLProvidersPerAccount", maxSAMLProviders); err != nil {
		return nil, err
	}
	p := &model.SAMLProvider{
		Name: *in.Name, ARN: arnOf(c.Account, "saml-provider", "/", *in.Name), UUID: "SAML" + id.Upper(22),
		Metadata: *in.SAMLMetadataDocument, CreateDate: now(c), ValidUntil: until, Tags: tags,
	}
	tx := store.NewTxn()
	tables.SAMLProviders.Create(tx, c.Account, "", p.Name, p)
	if _, err := tx.Commit(ctx, s.store); err != nil {
		return nil, taken(err, iam.NewEntityAlreadyExistsException("SAMLProvider with name %s already exists.", p.Name))
	}
	out := &iam.CreateSAMLProviderOutput{SAMLProviderArn: &p.ARN}
	if len(tags) > 0 {
		out.Tags = tagList(tags)
	}
	return out, nil
}

// GetSAMLProvider tells a provider's metadata.
func (s *Service) GetSAMLProvider(ctx context.Context, in *iam.GetSAMLProviderInput) (*iam.GetSAMLProviderOutput, error) {
	row, err := s.samlProvider(ctx, *in.SAMLProviderArn)
	if err != nil {
		return nil, err
	}
	p := row.V
	out := &iam.GetSAMLProviderOutput{SAMLMetadataDocument: &p.Metadata, SAMLProviderUUID: &p.UUID, CreateDate: &p.CreateDate, ValidUntil: &p.ValidUntil}
	if len(p.Tags) > 0 {
		out.Tags = tagList(p.Tags)
	}
	return out, nil
}

// ListSAMLProviders lists the account's providers.
func (s *Service) ListSAMLProviders(ctx context.Context, _ *iam.ListSAMLProvidersInput) (*iam.ListSAMLProvidersOutput, error) {
	rows, err := tables.SAMLProviders.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
	return &iam.ListSAMLProvidersOutput{
		SAMLProviderList: mapped(rows, func(r store.Row[model.SAMLProvider]) iam.SAMLProviderListEntry {
			return iam.SAMLProviderListEntry{Arn: &r.V.ARN, CreateDate: &r.V.CreateDate, ValidUntil: &r.V.ValidUntil}
		}),
	}, err
}

// UpdateSAMLProvider replaces a provider's metadata.
func (s *Service) UpdateSAMLProvider(ctx context.Context, in *iam.UpdateSAMLProviderInput) (*iam.UpdateSAMLProviderOutput, error) {
	if in.AddPrivateKey != nil || in.RemovePrivateKey != nil || in.AssertionEncryptionMode != "" {
		return nil, errSAMLEncryption
	}
	err := s.write(ctx, func(tx *store.Txn) error {
		row, err := s.samlProvider(ctx, *in.SAMLProviderArn)
		if err != nil || in.SAMLMetadataDocument == nil {
			return err
		}
		p := row.Copy()
		p.Metadata = *in.SAMLMetadataDocument
		if p.ValidUntil, err = samlMetadata(p.Metadata, api.CallFrom(ctx).Time); err != nil {
			return err
		}
		tables.SAMLProviders.Replace(tx, row, p)
		return nil
	})
	return &iam.UpdateSAMLProviderOutput{SAMLProviderArn: in.SAMLProviderArn}, err
}

// DeleteSAMLProvider removes a provider.
func (s *Service) DeleteSAMLProvider(ctx context.Context, in *iam.DeleteSAMLProviderInput) (*iam.DeleteSAMLProviderOutput, error) {
	return &iam.DeleteSAMLProviderOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := s.samlProvider(ctx, *in.SAMLProviderArn)
		if err != nil {
			return err
		}
		tables.SAMLProviders.Delete(tx, row)
		return nil
	})
}

func (s *Service) taggedSAMLProvider(ctx context.Context, arn string) (tagged, error) {
	row, err := s.samlProvider(ctx, arn)
	if err != nil {
		return tagged{}, err
	}
	v := row.Copy()
	return tagged{"saml", &v.Tags, func(tx *store.Txn) { tables.SAMLProviders.Replace(tx, row, v) }}, nil
}

// TagSAMLProvider adds tags to a provider.
func (s *Service) TagSAMLProvider(ctx context.Context, in *iam.TagSAMLProviderInput) (*iam.TagSAMLProviderOutput, error) {
	return &iam.TagSAMLProviderOutput{}, s.tag(ctx, s.taggedSAMLProvider, in.SAMLProviderArn, in.Tags)
}

// UntagSAMLProvider removes tags from a provider.
func (s *Service) UntagSAMLProvider(ctx context.Context, in *iam.UntagSAMLProviderInput) (*iam.UntagSAMLProviderOutput, error) {
	return &iam.UntagSAMLProviderOutput{}, s.untag(ctx, s.taggedSAMLProvider, in.SAMLProviderArn, in.TagKeys)
}

// ListSAMLProviderTags lists a provider's tags.
func (s *Service) ListSAMLProviderTags(ctx context.Context, in *iam.ListSAMLProviderTagsInput) (*iam.ListSAMLProviderTagsOutput, error) {
	tags, more, next, err := s.listTags(ctx, s.taggedSAMLProvider, in.SAMLProviderArn, in.Marker, in.MaxItems)
	return &iam.ListSAMLProviderTagsOutput{Tags: tags, IsTruncated: more, Marker: next}, err
}
