package elbv2

import (
	"context"
	"fmt"
	"slices"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/objects"
	"roadstead.dev/internal/plan/truststore"
)

// AddTrustStoreRevocations adds revocation lists in S3 to a trust store. Each
// gets an id that no other ever had there.
func (s *Service) AddTrustStoreRevocations(ctx context.Context, in *elbv2.AddTrustStoreRevocationsInput) (*elbv2.AddTrustStoreRevocationsOutput, error) {
	row, err := s.trustStore(ctx, *in.TrustStoreArn)
	if err != nil {
		return nil, err
	}
	if len(in.RevocationContents) == 0 {
		return nil, invalid("A revocation content must be specified")
	}
	if err := roomForRevocations(row.V, len(in.RevocationContents), 0); err != nil {
		return nil, err
	}
	var names []string
	var lists []model.TrustStoreRevocation
	forget := func(err error) (*elbv2.AddTrustStoreRevocationsOutput, error) {
		s.forget(err, names...)
		return nil, err
	}
	entries := int64(0)
	for _, c := range in.RevocationContents {
		if value(c.S3Bucket) == "" || value(c.S3Key) == "" {
			return forget(invalid("An S3 bucket and an S3 key must be specified for each revocation content"))
		}
		name, n, err := s.readRevocations(ctx, objects.Location{Bucket: *c.S3Bucket, Key: *c.S3Key, Version: value(c.S3ObjectVersion)})
		if err != nil {
			return forget(err)
		}
		names, lists = append(names, name), append(lists, model.TrustStoreRevocation{Content: name, Entries: n})
		entries += n
	}
	v, err := s.changeTrustStore(ctx, *in.TrustStoreArn, func(v *model.TrustStore) error {
		if err := roomForRevocations(v, len(lists), entries); err != nil {
			return err
		}
		for _, l := range lists {
			v.LastRevocation++
			l.ID = v.LastRevocation
			v.Revocations = append(v.Revocations, l)
		}
		return nil
	})
	if err != nil {
		return forget(err)
	}
	out := &elbv2.AddTrustStoreRevocationsOutput{}
	for _, r := range v.Revocations[len(v.Revocations)-len(lists):] {
		out.TrustStoreRevocations = append(out.TrustStoreRevocations, elbv2.TrustStoreRevocation(renderRevocation(v, r)))
	}
	return out, nil
}

// roomForRevocations fails when so many lists and entries are more than a trust
// store may have beside those that it has.
func roomForRevocations(v *model.TrustStore, lists int, entries int64) error {
	switch {
	case len(v.Revocations)+lists > truststore.MaxLists:
		return elbv2.NewTooManyTrustStoreRevocationEntriesException("The maximum number of revocation lists per trust store is %d", truststore.MaxLists)
	case v.RevokedEntries()+entries > truststore.MaxEntries:
		return elbv2.NewTooManyTrustStoreRevocationEntriesException("The maximum number of revocation entries per trust store is %d", truststore.MaxEntries)
	}
	return nil
}

func renderRevocation(v *model.TrustStore, r model.TrustStoreRevocation) elbv2.DescribeTrustStoreRevocation {
	return elbv2.DescribeTrustStoreRevocation{
		TrustStoreArn: new(v.ARN), RevocationId: new(r.ID), RevocationType: elbv2.RevocationTypeCrl, NumberOfRevokedEntries: new(r.Entries),
	}
}

// RemoveTrustStoreRevocations removes revocation lists from a trust store.
func (s *Service) RemoveTrustStoreRevocations(ctx context.Context, in *elbv2.RemoveTrustStoreRevocationsInput) (*elbv2.RemoveTrustStoreRevocationsOutput, error) {
	var gone []string
	_, err := s.changeTrustStore(ctx, *in.TrustStoreArn, func(v *model.TrustStore) error {
		gone = nil
		for _, id := range slices.Compact(slices.Sorted(slices.Values(in.RevocationIds))) {
			i := slices.IndexFunc(v.Revocations, func(r model.TrustStoreRevocation) bool { return r.ID == id })
			if i < 0 {
				return noRevocation(id)
			}
			gone = append(gone, v.Revocations[i].Content)
			v.Revocations = slices.Delete(v.Revocations, i, i+1)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.Contents.Remove(gone...)
	return &elbv2.RemoveTrustStoreRevocationsOutput{}, nil
}

// DescribeTrustStoreRevocations lists a trust store's revocation lists.
func (s *Service) DescribeTrustStoreRevocations(ctx context.Context, in *elbv2.DescribeTrustStoreRevocationsInput) (*elbv2.DescribeTrustStoreRevocationsOutput, error) {
	row, err := s.trustStore(ctx, *in.TrustStoreArn)
	if err != nil {
		return nil, err
	}
	shown := row.V.Revocations
	if len(in.RevocationIds) > 0 {
		shown = nil
		for _, id := range in.RevocationIds {
			i := slices.IndexFunc(row.V.Revocations, func(r model.TrustStoreRevocation) bool { return r.ID == id })
			if i < 0 {
				return nil, noRevocation(id)
			}
			shown = append(shown, row.V.Revocations[i])
		}
		slices.SortFunc(shown, func(a, b model.TrustStoreRevocation) int { return int(a.ID - b.ID) })
	}
	shown, next, err := page(ctx, paged{in.Marker, in.PageSize, []string{"DescribeTrustStoreRevocations", row.V.ARN, fmt.Sprint(in.RevocationIds)}}, shown,
		func(r model.TrustStoreRevocation) string { return fmt.Sprintf("%020d", r.ID) })
	if err != nil {
		return nil, err
	}
	out := &elbv2.DescribeTrustStoreRevocationsOutput{TrustStoreRevocations: []elbv2.DescribeTrustStoreRevocation{}, NextMarker: next}
	for _, r := range shown {
		out.TrustStoreRevocations = append(out.TrustStoreRevocations, renderRevocation(row.V, r))
	}
	return out, nil
}
