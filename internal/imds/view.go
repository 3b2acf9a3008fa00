package imds

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// view is an instance with the records about it.
type view struct {
	account, region string
	instance        *model.Instance
	vpc             *model.VPC
	interfaces      []device
	// profile and role may be nil.
	profile *model.InstanceProfile
	role    *model.Role
	// publicKey is empty without a key pair.
	publicKey string
	// lifecycle is Auto Scaling's state of the instance, empty when it is in no
	// group.
	lifecycle string
}

// device is a network interface of an instance.
type device struct {
	*model.NetworkInterface
	subnet *model.Subnet
	groups []string // names
}

// found makes a missing record's value nil, without an error.
func found[T any](row store.Row[T], err error) (*T, error) {
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return row.V, err
}

// find is the instance that an address of a VPC belongs to; store.ErrNotFound
// when it is no instance's.
func (s *Service) find(ctx context.Context, vpcID string, a netip.Addr) (*view, error) {
	subnets, err := tables.Subnets.List(ctx, s.Store, store.Query{Index: store.Index{Name: tables.ByVPC, Value: vpcID}})
	if err != nil {
		return nil, err
	}
	for _, sub := range subnets {
		if !sub.V.CIDR.Contains(a) {
			continue
		}
		account, region := sub.Key.Account, sub.Key.Region
		claim, err := tables.PrivateAddressClaims.Get(ctx, s.Store, account, region, sub.V.ID+"/"+a.String())
		if err != nil {
			return nil, err
		}
		e, err := tables.NetworkInterfaces.Get(ctx, s.Store, account, region, claim.V.NetworkInterfaceID)
		if err != nil {
			return nil, err
		}
		if e.V.Attachment == nil || e.V.Attachment.InstanceID == "" {
			break
		}
		i, err := tables.Instances.Get(ctx, s.Store, account, region, e.V.Attachment.InstanceID)
		if err != nil {
			return nil, err
		}
		return s.read(ctx, &view{account: account, region: region, instance: i.V})
	}
	return nil, fmt.Errorf("no instance at %s in %s: %w", a, vpcID, store.ErrNotFound)
}

// read adds the other records to a view.
func (s *Service) read(ctx context.Context, v *view) (*view, error) {
	spec := &v.instance.Spec
	vpc, err := tables.VPCs.Get(ctx, s.Store, v.account, v.region, spec.VPCID)
	if err != nil {
		return nil, err
	}
	v.vpc = vpc.V
	for _, id := range spec.InterfaceIDs {
		e, err := found(tables.NetworkInterfaces.Get(ctx, s.Store, v.account, v.region, id))
		if err != nil {
			return nil, err
		}
		if e == nil || e.Attachment == nil || e.Attachment.InstanceID != v.instance.ID {
			continue
		}
		d := device{NetworkInterface: e}
		if d.subnet, err = found(tables.Subnets.Get(ctx, s.Store, v.account, v.region, e.SubnetID)); err != nil {
			return nil, err
		}
		for _, g := range e.GroupIDs {
			group, err := found(tables.SecurityGroups.Get(ctx, s.Store, v.account, v.region, g))
			if err != nil {
				return nil, err
			}
			if group != nil {
				d.groups = append(d.groups, group.Name)
			}
		}
		v.interfaces = append(v.interfaces, d)
	}
	if spec.AutoScalingGroup != "" {
		member, err := found(tables.ASGInstances.Get(ctx, s.Store, v.account, v.region, spec.AutoScalingGroup+"/"+v.instance.ID))
		if err != nil {
			return nil, err
		}
		if member != nil {
			v.lifecycle = member.LifecycleState
		}
	}
	return v, errors.Join(s.readKey(ctx, v), s.readProfile(ctx, v))
}

func (s *Service) readKey(ctx context.Context, v *view) error {
	name := v.instance.Spec.KeyName
	if name == "" {
		return nil
	}
	id, err := found(tables.KeyPairNames.Get(ctx, s.Store, v.account, v.region, name))
	if err != nil || id == nil {
		return err
	}
	pair, err := found(tables.KeyPairs.Get(ctx, s.Store, v.account, v.region, *id))
	if pair != nil {
		v.publicKey = pair.PublicKey
	}
	return err
}

func (s *Service) readProfile(ctx context.Context, v *view) error {
	arn := v.instance.Spec.ProfileARN
	if arn == "" {
		return nil
	}
	parsed, err := model.ParseARN(arn)
	if err != nil {
		return err
	}
	name := strings.ToLower(arn[strings.LastIndexByte(arn, '/')+1:])
	if v.profile, err = found(tables.InstanceProfiles.Get(ctx, s.Store, parsed.Account, "", name)); err != nil || v.profile == nil || v.profile.Role == "" {
		return err
	}
	v.role, err = found(tables.Roles.Get(ctx, s.Store, parsed.Account, "", v.profile.Role))
	return err
}
