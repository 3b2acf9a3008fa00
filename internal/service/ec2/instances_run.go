package ec2

import (
	"context"
	"errors"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// ec2Principal is who an instance profile's role is passed to.
const ec2Principal = "ec2.amazonaws.com"

func placeOf(call *api.Call) instances.Place {
	return instances.Place{Account: call.Account, Region: call.Region}
}

// launchParameters are those of RunInstances that a launch template does not
// have.
type launchParameters struct {
	ec2.RunInstancesInput
	// ElasticGpuSpecification has another name in templates.
	ElasticGpuSpecifications []ec2.ElasticGpuSpecification
}

// dataOf is what a request says about instances.
func dataOf(in *ec2.RunInstancesInput) (model.LaunchData, error) {
	p := launchParameters{RunInstancesInput: *in, ElasticGpuSpecifications: in.ElasticGpuSpecification}
	// These are about the call, not about the instances.
	p.ClientToken, p.DryRun, p.LaunchTemplate, p.MinCount, p.MaxCount, p.ElasticGpuSpecification = nil, nil, nil, nil, nil, nil
	b, err := instances.Encode(&p)
	if err != nil {
		return model.LaunchData{}, err
	}
	return instances.Decode(b)
}

// specOf resolves what a request and its template say.
func (s *Service) specOf(ctx context.Context, call *api.Call, in *ec2.RunInstancesInput) (instances.Spec, error) {
	data, err := dataOf(in)
	if err != nil {
		return instances.Spec{}, err
	}
	var from *model.LaunchTemplateVersion
	if t := in.LaunchTemplate; t != nil {
		template, err := instances.Template(ctx, s.store, placeOf(call), deref(t.LaunchTemplateId), deref(t.LaunchTemplateName))
		if err != nil {
			return instances.Spec{}, err
		}
		version, err := instances.Version(ctx, s.store, placeOf(call), template.V, deref(t.Version))
		if err != nil {
			return instances.Spec{}, err
		}
		under, err := instances.Decode(version.V.Data)
		if err != nil {
			return instances.Spec{}, err
		}
		if data, err = instances.Merge(under, data); err != nil {
			return instances.Spec{}, err
		}
		from = version.V
	}
	spec, err := instances.Resolve(ctx, s.store, placeOf(call), data)
	if err == nil && from != nil {
		spec.From(from)
	}
	return spec, err
}

// passes asks whether the caller may give instances a role.
func passes(ctx context.Context, call *api.Call, roleARN string) error {
	if roleARN == "" {
		return nil
	}
	return call.Authorize(ctx, "iam:PassRole", roleARN, map[string]string{"iam:PassedToService": ec2Principal})
}

// RunInstances launches instances.
func (s *Service) RunInstances(ctx context.Context, in *ec2.RunInstancesInput) (*ec2.RunInstancesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	least, most := deref(in.MinCount), deref(in.MaxCount)
	switch {
	case least < 1:
		return nil, invalidValue("Value (%d) for parameter minCount is invalid. The value must be greater than 0.", least)
	case most < least:
		return nil, invalidValue("Value (%d) for parameter maxCount is invalid. The value must not be less than minCount.", most)
	}
	spec, err := s.specOf(ctx, call, in)
	if err != nil {
		return nil, answer(err)
	}
	if err := passes(ctx, call, spec.RoleARN); err != nil {
		return nil, err
	}
	if _, err := s.change(ctx, in.DryRun); err != nil {
		return nil, err
	}
	spec.Min, spec.Max = int(least), int(most)
	spec.Template.ClientToken = deref(in.ClientToken)
	spec.With = func(tx *store.Txn, made []*model.Instance) error {
		return s.claimToken(ctx, call, tx, in.ClientToken, in, made[0].Spec.ReservationID, func(reservation string) (bool, error) {
			had, err := s.reserved(ctx, call, *in.ClientToken, reservation)
			return len(had) > 0, err
		})
	}
	made, err := instances.Launch(ctx, s.store, call.Time, spec)
	if had, ok := errors.AsType[*earlier](err); ok {
		made, err = s.reserved(ctx, call, *in.ClientToken, had.id)
	}
	if err != nil {
		return nil, answer(err)
	}
	shown, err := s.show(ctx, call, made)
	if err != nil {
		return nil, err
	}
	r := reservationsOut(shown)[0]
	return &ec2.RunInstancesOutput{ReservationId: r.ReservationId, OwnerId: r.OwnerId, Groups: r.Groups, Instances: r.Instances}, nil
}

// reserved are the instances of a reservation that a client token made.
func (s *Service) reserved(ctx context.Context, call *api.Call, token, reservation string) ([]*model.Instance, error) {
	rows, err := tables.Instances.List(ctx, s.store, store.Query{
		Account: call.Account, Region: call.Region, Index: store.Index{Name: tables.ByToken, Value: token},
	})
	var out []*model.Instance
	for _, r := range rows {
		if r.V.Spec.ReservationID == reservation {
			out = append(out, r.V)
		}
	}
	return out, err
}
