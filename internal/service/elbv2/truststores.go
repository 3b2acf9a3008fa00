package elbv2

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/objects"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxTrustStores is how many an account may have in a region.
const maxTrustStores = 20

// trustStore finds a trust store by ARN.
func (s *Service) trustStore(ctx context.Context, arn string) (store.Row[model.TrustStore], error) {
	c := api.CallFrom(ctx)
	id := model.TrustStoreID(arn)
	if id == "" {
		return store.Row[model.TrustStore]{}, invalid("'%s' is not a valid trust store ARN", arn)
	}
	row, err := tables.TrustStores.Get(ctx, s.Store, c.Account, c.Region, id)
	if isNotFound(err) || err == nil && row.V.ARN != arn {
		return row, elbv2.NewTrustStoreNotFoundException("Trust store '%s' not found", arn)
	}
	return row, err
}

func renderTrustStore(v *model.TrustStore) elbv2.TrustStore {
	return elbv2.TrustStore{
		Name: new(v.Name), TrustStoreArn: new(v.ARN), Status: elbv2.TrustStoreStatusActive,
		NumberOfCaCertificates: new(v.Certificates), TotalRevokedEntries: new(v.RevokedEntries()),
	}
}

// CreateTrustStore makes a trust store of certificates in S3.
func (s *Service) CreateTrustStore(ctx context.Context, in *elbv2.CreateTrustStoreInput) (*elbv2.CreateTrustStoreOutput, error) {
	c := api.CallFrom(ctx)
	tags, err := tagsOf(ctx, "CreateTrustStore", madeUnder(c, "truststore/"+*in.Name), in.Tags)
	if err != nil {
		return nil, err
	}
	// What would be refused is not read first.
	if err := s.roomForTrustStore(ctx, *in.Name); err != nil {
		return nil, err
	}
	at := objects.Location{Bucket: *in.CaCertificatesBundleS3Bucket, Key: *in.CaCertificatesBundleS3Key, Version: value(in.CaCertificatesBundleS3ObjectVersion)}
	bundle, count, err := s.readBundle(ctx, at)
	if err != nil {
		return nil, err
	}
	id := newID()
	v := &model.TrustStore{
		ID: id, Name: *in.Name, ARN: model.MakeARN("elasticloadbalancing", c.Region, c.Account, "truststore/"+*in.Name+"/"+id),
		Bundle: bundle, Certificates: count, Tags: tags, CreatedAt: c.Time,
	}
	err = s.commit(ctx, func(tx *store.Txn) error {
		if err := s.roomForTrustStore(ctx, v.Name); err != nil {
			return err
		}
		tables.ELBNames.Create(tx, c.Account, c.Region, "ts/"+v.Name, &model.ELBName{ID: id})
		tables.TrustStores.Create(tx, c.Account, c.Region, id, v)
		return nil
	})
	if err != nil {
		s.forget(err, bundle)
		return nil, err
	}
	return &elbv2.CreateTrustStoreOutput{TrustStores: []elbv2.TrustStore{renderTrustStore(v)}}, nil
}

func (s *Service) roomForTrustStore(ctx context.Context, name string) error {
	rows, err := tables.TrustStores.List(ctx, s.Store, everything(ctx))
	if err != nil {
		return err
	}
	if slices.ContainsFunc(rows, func(r store.Row[model.TrustStore]) bool { return r.V.Name == name }) {
		return elbv2.NewDuplicateTrustStoreNameException("A trust store with the name '%s' already exists", name)
	}
	if len(rows) >= maxTrustStores {
		return elbv2.NewTooManyTrustStoresException("The maximum number of trust stores per account is %d", maxTrustStores)
	}
	return nil
}

// ModifyTrustStore gives a trust store other certificates.
func (s *Service) ModifyTrustStore(ctx context.Context, in *elbv2.ModifyTrustStoreInput) (*elbv2.ModifyTrustStoreOutput, error) {
	if _, err := s.trustStore(ctx, *in.TrustStoreArn); err != nil {
		return nil, err
	}
	at := objects.Location{Bucket: *in.CaCertificatesBundleS3Bucket, Key: *in.CaCertificatesBundleS3Key, Version: value(in.CaCertificatesBundleS3ObjectVersion)}
	bundle, count, err := s.readBundle(ctx, at)
	if err != nil {
		return nil, err
	}
	var before string
	v, err := s.changeTrustStore(ctx, *in.TrustStoreArn, func(v *model.TrustStore) error {
		before, v.Bundle, v.Certificates = v.Bundle, bundle, count
		return nil
	})
	if err != nil {
		s.forget(err, bundle)
		return nil, err
	}
	s.Contents.Remove(before)
	return &elbv2.ModifyTrustStoreOutput{TrustStores: []elbv2.TrustStore{renderTrustStore(v)}}, nil
}

// forget removes contents that a refused request kept. Where it was not refused
// but failed, nobody knows whether it was written after all.
func (s *Service) forget(err error, contents ...string) {
	if _, refused := errors.AsType[api.Error](err); refused {
		s.Contents.Remove(contents...)
	}
}

// changeTrustStore writes what change makes of a trust store.
func (s *Service) changeTrustStore(ctx context.Context, arn string, change func(*model.TrustStore) error) (*model.TrustStore, error) {
	var v *model.TrustStore
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.trustStore(ctx, arn)
		if err != nil {
			return err
		}
		v = row.Copy()
		if err := change(v); err != nil {
			return err
		}
		tables.TrustStores.Replace(tx, row, v)
		return nil
	})
	return v, err
}

// DescribeTrustStores lists trust stores, all or by their ARNs or names.
func (s *Service) DescribeTrustStores(ctx context.Context, in *elbv2.DescribeTrustStoresInput) (*elbv2.DescribeTrustStoresOutput, error) {
	if len(in.TrustStoreArns) > 0 && len(in.Names) > 0 {
		return nil, invalid("Trust store names and trust store ARNs cannot be specified at the same time")
	}
	rows, err := tables.TrustStores.List(ctx, s.Store, everything(ctx))
	if err != nil {
		return nil, err
	}
	pick := func(want string, of func(*model.TrustStore) string) (store.Row[model.TrustStore], error) {
		i := slices.IndexFunc(rows, func(r store.Row[model.TrustStore]) bool { return of(r.V) == want })
		if i < 0 {
			return store.Row[model.TrustStore]{}, elbv2.NewTrustStoreNotFoundException("One or more trust stores not found")
		}
		return rows[i], nil
	}
	var picked []store.Row[model.TrustStore]
	for _, arn := range in.TrustStoreArns {
		if model.TrustStoreID(arn) == "" {
			return nil, invalid("'%s' is not a valid trust store ARN", arn)
		}
		row, err := pick(arn, func(v *model.TrustStore) string { return v.ARN })
		if err != nil {
			return nil, err
		}
		picked = append(picked, row)
	}
	for _, name := range in.Names {
		row, err := pick(name, func(v *model.TrustStore) string { return v.Name })
		if err != nil {
			return nil, err
		}
		picked = append(picked, row)
	}
	out := &elbv2.DescribeTrustStoresOutput{TrustStores: []elbv2.TrustStore{}}
	if picked == nil {
		if picked, out.NextMarker, err = page(ctx, paged{in.Marker, in.PageSize, []string{"DescribeTrustStores"}}, rows, byID[model.TrustStore]); err != nil {
			return nil, err
		}
	}
	for _, r := range picked {
		out.TrustStores = append(out.TrustStores, renderTrustStore(r.V))
	}
	return out, nil
}

// DeleteTrustStore removes a trust store that no listener verifies by.
func (s *Service) DeleteTrustStore(ctx context.Context, in *elbv2.DeleteTrustStoreInput) (*elbv2.DeleteTrustStoreOutput, error) {
	var contents []string
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.trustStore(ctx, *in.TrustStoreArn)
		if err != nil {
			return err
		}
		users, err := s.verifying(ctx, row.V.ARN)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return elbv2.NewTrustStoreInUseException("Trust store '%s' is currently in use by a listener", row.V.ARN)
		}
		contents = row.V.Contents()
		tables.TrustStores.Delete(tx, row)
		tables.ELBNames.Erase(tx, row.Key.Account, row.Key.Region, "ts/"+row.V.Name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.Contents.Remove(contents...)
	return &elbv2.DeleteTrustStoreOutput{}, nil
}

// verifying lists the listeners that verify clients by a trust store.
func (s *Service) verifying(ctx context.Context, arn string) ([]store.Row[model.Listener], error) {
	rows, err := tables.Listeners.List(ctx, s.Store, everything(ctx))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(rows, func(r store.Row[model.Listener]) bool { return r.V.TrustStore() != arn }), nil
}

// DescribeTrustStoreAssociations lists the listeners that verify by a trust
// store.
func (s *Service) DescribeTrustStoreAssociations(ctx context.Context, in *elbv2.DescribeTrustStoreAssociationsInput) (*elbv2.DescribeTrustStoreAssociationsOutput, error) {
	if _, err := s.trustStore(ctx, *in.TrustStoreArn); err != nil {
		return nil, err
	}
	rows, err := s.verifying(ctx, *in.TrustStoreArn)
	if err != nil {
		return nil, err
	}
	rows, next, err := page(ctx, paged{in.Marker, in.PageSize, []string{"DescribeTrustStoreAssociations", *in.TrustStoreArn}}, rows, byID[model.Listener])
	if err != nil {
		return nil, err
	}
	out := &elbv2.DescribeTrustStoreAssociationsOutput{TrustStoreAssociations: []elbv2.TrustStoreAssociation{}, NextMarker: next}
	for _, r := range rows {
		out.TrustStoreAssociations = append(out.TrustStoreAssociations, elbv2.TrustStoreAssociation{ResourceArn: new(r.V.ARN)})
	}
	return out, nil
}

// DeleteSharedTrustStoreAssociation would end the use of a trust store by
// another account; there is no such use.
func (s *Service) DeleteSharedTrustStoreAssociation(ctx context.Context, in *elbv2.DeleteSharedTrustStoreAssociationInput) (*elbv2.DeleteSharedTrustStoreAssociationOutput, error) {
	if _, err := s.trustStore(ctx, *in.TrustStoreArn); err != nil {
		return nil, err
	}
	users, err := s.verifying(ctx, *in.TrustStoreArn)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(users, func(r store.Row[model.Listener]) bool {
		return strings.EqualFold(r.V.ARN, *in.ResourceArn) || r.V.LoadBalancerARN == *in.ResourceArn
	}) {
		return nil, elbv2.NewDeleteAssociationSameAccountException("The association of '%s' with a resource of the same account cannot be deleted", *in.TrustStoreArn)
	}
	return nil, elbv2.NewTrustStoreAssociationNotFoundException("The association of '%s' with '%s' does not exist", *in.TrustStoreArn, *in.ResourceArn)
}
