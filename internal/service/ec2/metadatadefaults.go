package ec2

import (
	"context"
	"errors"

	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	metadataDefaultsID = "defaults"
	noPreference       = "no-preference"
)

// ModifyInstanceMetadataDefaults sets what instances of the region get whose
// launch says nothing else.
func (s *Service) ModifyInstanceMetadataDefaults(ctx context.Context, in *ec2.ModifyInstanceMetadataDefaultsInput) (*ec2.ModifyInstanceMetadataDefaultsOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	hops := in.HttpPutResponseHopLimit
	switch {
	case hops != nil && *hops != -1 && (*hops < 1 || *hops > 64):
		return nil, invalidValue("Value (%d) for parameter HttpPutResponseHopLimit is invalid. Valid values: -1, 1 - 64.", *hops)
	case in.HttpTokensEnforced == "enabled":
		return nil, unsupported("enforced tokens")
	}
	set := func(p *string, v string) {
		switch v {
		case "":
		case noPreference:
			*p = ""
		default:
			*p = v
		}
	}
	err = retry(func() error {
		row, err := tables.InstanceMetadataDefaults.Get(ctx, s.store, call.Account, call.Region, metadataDefaultsID)
		v := &model.InstanceMetadataDefaults{}
		switch {
		case err == nil:
			v = row.Copy()
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		set(&v.Options.Endpoint, string(in.HttpEndpoint))
		set(&v.Options.Tokens, string(in.HttpTokens))
		set(&v.Options.Tags, string(in.InstanceMetadataTags))
		if hops != nil {
			v.Options.HopLimit = max(0, int(*hops))
		}
		tx := store.NewTxn()
		tables.InstanceMetadataDefaults.Replace(tx, row, v)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	return &ec2.ModifyInstanceMetadataDefaultsOutput{Return: new(err == nil)}, err
}

// GetInstanceMetadataDefaults tells the region's defaults.
func (s *Service) GetInstanceMetadataDefaults(ctx context.Context, _ *ec2.GetInstanceMetadataDefaultsInput) (*ec2.GetInstanceMetadataDefaultsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	out := &ec2.InstanceMetadataDefaultsResponse{}
	row, err := tables.InstanceMetadataDefaults.Get(ctx, s.store, call.Account, call.Region, metadataDefaultsID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		o := row.V.Options
		out.HttpEndpoint, out.HttpTokens = ec2.InstanceMetadataEndpointState(o.Endpoint), ec2.HttpTokensState(o.Tokens)
		out.InstanceMetadataTags = ec2.InstanceMetadataTagsState(o.Tags)
		if o.HopLimit > 0 {
			out.HttpPutResponseHopLimit = new(int32(o.HopLimit))
		}
		if o != (model.InstanceMetadataOptions{}) {
			out.ManagedBy = "account"
		}
	}
	return &ec2.GetInstanceMetadataDefaultsOutput{AccountLevel: out}, nil
}
