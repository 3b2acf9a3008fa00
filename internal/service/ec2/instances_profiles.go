package ec2

import (
	"context"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// profileOf finds a profile that the caller may give to instances.
func (s *Service) profileOf(ctx context.Context, call *api.Call, p *ec2.IamInstanceProfileSpecification) (string, error) {
	if p == nil || deref(p.Arn) == "" && deref(p.Name) == "" {
		return "", required("IamInstanceProfile")
	}
	arn, role, err := instances.FindProfile(ctx, s.store, call.Account, deref(p.Arn), deref(p.Name))
	if err != nil {
		return "", answer(err)
	}
	return arn, passes(ctx, call, role)
}

func (s *Service) associationOut(ctx context.Context, call *api.Call, v *model.Instance, state string) (*ec2.IamInstanceProfileAssociation, error) {
	pid, err := s.profileID(ctx, call, v.Spec.ProfileARN)
	return &ec2.IamInstanceProfileAssociation{
		AssociationId: new(v.Spec.ProfileAssociationID), InstanceId: new(v.ID), State: ec2.IamInstanceProfileAssociationState(state),
		IamInstanceProfile: &ec2.IamInstanceProfile{Arn: new(v.Spec.ProfileARN), Id: new(pid)},
	}, err
}

// AssociateIamInstanceProfile gives an instance a profile.
func (s *Service) AssociateIamInstanceProfile(ctx context.Context, in *ec2.AssociateIamInstanceProfileInput) (*ec2.AssociateIamInstanceProfileOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	instanceID := deref(in.InstanceId)
	if _, err := s.living(ctx, call, instanceID); err != nil {
		return nil, err
	}
	arn, err := s.profileOf(ctx, call, in.IamInstanceProfile)
	if err != nil {
		return nil, err
	}
	v, err := s.changeInstance(ctx, call, instanceID, func(v *model.Instance) error {
		if v.Spec.ProfileARN != "" {
			return api.NewFault("IncorrectState", "There is an existing association for instance %s", instanceID)
		}
		v.Spec.ProfileARN, v.Spec.ProfileAssociationID = arn, id.Resource("iip-assoc")
		return nil
	})
	if err != nil {
		return nil, err
	}
	out, err := s.associationOut(ctx, call, v, "associating")
	return &ec2.AssociateIamInstanceProfileOutput{IamInstanceProfileAssociation: out}, err
}

// associated finds the instance of an association.
func (s *Service) associated(ctx context.Context, call *api.Call, association string) (*model.Instance, error) {
	rows, err := tables.Instances.List(ctx, s.store, store.Query{
		Account: call.Account, Region: call.Region, Index: store.Index{Name: tables.ByProfileAssociation, Value: association},
	})
	if err != nil {
		return nil, err
	}
	if association == "" || len(rows) == 0 || rows[0].V.Desired.State == model.InstanceTerminated {
		return nil, noProfileAssociation(association)
	}
	return rows[0].V, nil
}

func noProfileAssociation(association string) error {
	return api.NewFault("NoSuchAssociation", "An invalid association-id of '%s' was given", association)
}

// ReplaceIamInstanceProfileAssociation gives an instance another profile.
func (s *Service) ReplaceIamInstanceProfileAssociation(ctx context.Context, in *ec2.ReplaceIamInstanceProfileAssociationInput) (*ec2.ReplaceIamInstanceProfileAssociationOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	old, err := s.associated(ctx, call, deref(in.AssociationId))
	if err != nil {
		return nil, err
	}
	arn, err := s.profileOf(ctx, call, in.IamInstanceProfile)
	if err != nil {
		return nil, err
	}
	v, err := s.changeInstance(ctx, call, old.ID, func(v *model.Instance) error {
		if v.Spec.ProfileAssociationID != *in.AssociationId {
			return noProfileAssociation(*in.AssociationId)
		}
		v.Spec.ProfileARN, v.Spec.ProfileAssociationID = arn, id.Resource("iip-assoc")
		return nil
	})
	if err != nil {
		return nil, err
	}
	out, err := s.associationOut(ctx, call, v, "associating")
	return &ec2.ReplaceIamInstanceProfileAssociationOutput{IamInstanceProfileAssociation: out}, err
}

// DisassociateIamInstanceProfile takes an instance's profile away.
func (s *Service) DisassociateIamInstanceProfile(ctx context.Context, in *ec2.DisassociateIamInstanceProfileInput) (*ec2.DisassociateIamInstanceProfileOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	old, err := s.associated(ctx, call, deref(in.AssociationId))
	if err != nil {
		return nil, err
	}
	_, err = s.changeInstance(ctx, call, old.ID, func(v *model.Instance) error {
		if v.Spec.ProfileAssociationID != *in.AssociationId {
			return noProfileAssociation(*in.AssociationId)
		}
		v.Spec.ProfileARN, v.Spec.ProfileAssociationID = "", ""
		return nil
	})
	if err != nil {
		return nil, err
	}
	out, err := s.associationOut(ctx, call, old, "disassociating")
	return &ec2.DisassociateIamInstanceProfileOutput{IamInstanceProfileAssociation: out}, err
}

// DescribeIamInstanceProfileAssociations lists which instances have profiles.
func (s *Service) DescribeIamInstanceProfileAssociations(ctx context.Context, in *ec2.DescribeIamInstanceProfileAssociationsInput) (*ec2.DescribeIamInstanceProfileAssociationsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	for _, association := range in.AssociationIds {
		if _, err := s.associated(ctx, call, association); err != nil {
			return nil, err
		}
	}
	all, err := instanceKind.all(ctx, s, call)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(v *model.Instance) bool {
		return v.Spec.ProfileARN == "" || v.Desired.State == model.InstanceTerminated ||
			len(in.AssociationIds) > 0 && !slices.Contains(in.AssociationIds, v.Spec.ProfileAssociationID)
	})
	found, next, err := selectPage(call, all, query{"DescribeIamInstanceProfileAssociations", in.AssociationIds, in.Filters, in.MaxResults, in.NextToken},
		func(v *model.Instance) string { return v.Spec.ProfileAssociationID },
		func(*model.Instance) model.Tags { return nil },
		func(v *model.Instance, name string) ([]string, bool) {
			switch name {
			case "instance-id":
				return one(v.ID)
			case "state":
				return one("associated")
			}
			return nil, false
		})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeIamInstanceProfileAssociationsOutput{IamInstanceProfileAssociations: []ec2.IamInstanceProfileAssociation{}, NextToken: next}
	for _, v := range found {
		a, err := s.associationOut(ctx, call, v, "associated")
		if err != nil {
			return nil, err
		}
		out.IamInstanceProfileAssociations = append(out.IamInstanceProfileAssociations, *a)
	}
	return out, nil
}
