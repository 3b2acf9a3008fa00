package iam

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"rsc.io/qr"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// maxMFADevices is the quota of MFA devices per user.
	maxMFADevices = 8
	// seedSize is that of the devices' secrets, in bytes.
	seedSize = 40
)

var seedEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// mfaDevice reads a device by its serial number.
func (s *Service) mfaDevice(ctx context.Context, serial string) (store.Row[model.MFADevice], error) {
	account := api.CallFrom(ctx).Account
	none := iam.NewNoSuchEntityException("VirtualMFADevice with serial number %s doesn't exist.", serial)
	id, ok := strings.CutPrefix(serial, arnOf(account, "mfa", "/", ""))
	if !ok {
		return store.Row[model.MFADevice]{}, none
	}
	row, err := tables.MFADevices.Get(ctx, s.store, account, "", id)
	return row, absent(err, none)
}

// CreateVirtualMFADevice makes a device that is nobody's yet. This is the only
// time that its secret is told.
func (s *Service) CreateVirtualMFADevice(ctx context.Context, in *iam.CreateVirtualMFADeviceInput) (*iam.CreateVirtualMFADeviceOutput, error) {
	c := api.CallFrom(ctx)
	tags, err := modelTags(in.Tags)
	if err != nil {
		return nil, err
	}
	d := &model.MFADevice{Serial: arnOf(c.Account, "mfa", pathOf(in.Path), *in.VirtualMFADeviceName), Seed: make([]byte, seedSize), Tags: tags}
	_, _ = rand.Read(d.Seed) // never fails
	seed := seedEncoding.EncodeToString(d.Seed)
	const issuer = "Amazon Web Services"
	code, err := qr.Encode(fmt.Sprintf("otpauth://totp/%s:%s@%s?secret=%s&issuer=%s",
		url.PathEscape(issuer), url.PathEscape(*in.VirtualMFADeviceName), c.Account, seed, url.PathEscape(issuer)), qr.M)
	if err != nil {
		return nil, fmt.Errorf("draw the code of an MFA device: %w", err)
	}
	tx := store.NewTxn()
	_, id, _ := strings.Cut(d.Serial, ":mfa/")
	tables.MFADevices.Create(tx, c.Account, "", id, d)
	if _, err := tx.Commit(ctx, s.store); err != nil {
		return nil, taken(err, iam.NewEntityAlreadyExistsException("MFADevice entity at the same path and name already exists."))
	}
	out := &iam.VirtualMFADevice{SerialNumber: &d.Serial, Base32StringSeed: []byte(seed), QRCodePNG: code.PNG()}
	if len(tags) > 0 {
		out.Tags = tagList(tags)
	}
	return &iam.CreateVirtualMFADeviceOutput{VirtualMFADevice: out}, nil
}

// DeleteVirtualMFADevice removes a device that is enabled for nobody.
func (s *Service) DeleteVirtualMFADevice(ctx context.Context, in *iam.DeleteVirtualMFADeviceInput) (*iam.DeleteVirtualMFADeviceOutput, error) {
	return &iam.DeleteVirtualMFADeviceOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := s.mfaDevice(ctx, *in.SerialNumber)
		if err != nil {
			return err
		}
		if row.V.User != "" {
			return iam.NewDeleteConflictException("MFA VirtualDevice in use. Must deactivate first.")
		}
		tables.MFADevices.Delete(tx, row)
		return nil
	})
}

var errMFACode = iam.NewInvalidAuthenticationCodeException("Authentication code for device is not valid.")

// EnableMFADevice makes a device a user's, who shows by two codes in a row to
// have it.
func (s *Service) EnableMFADevice(ctx context.Context, in *iam.EnableMFADeviceInput) (*iam.EnableMFADeviceOutput, error) {
	c := api.CallFrom(ctx)
	return &iam.EnableMFADeviceOutput{}, s.write(ctx, func(tx *store.Txn) error {
		user, err := s.user(ctx, *in.UserName)
		if err != nil {
			return err
		}
		row, err := s.mfaDevice(ctx, *in.SerialNumber)
		if err != nil {
			return err
		}
		step, ok := row.V.Steps(*in.AuthenticationCode1, *in.AuthenticationCode2, c.Time)
		switch {
		case row.V.User != "":
			return iam.NewEntityAlreadyExistsException("MFA Device is already in use.")
		case len(user.V.MFADevices) >= maxMFADevices:
			return iam.NewLimitExceededException("Cannot exceed quota for MFADevicesPerUser: %d", maxMFADevices)
		case !ok:
			return errMFACode
		}
		u, d := user.Copy(), row.Copy()
		u.MFADevices = append(u.MFADevices, row.Key.ID)
		d.User, d.EnableDate, d.LastStep = user.Key.ID, now(c), step
		tables.Users.Replace(tx, user, u)
		tables.MFADevices.Replace(tx, row, d)
		return nil
	})
}

// usersDevice reads a device that is enabled for a user.
func (s *Service) usersDevice(ctx context.Context, name *string, serial string) (store.Row[model.User], store.Row[model.MFADevice], error) {
	var none store.Row[model.MFADevice]
	given, err := callersName(ctx, name)
	if err != nil {
		return store.Row[model.User]{}, none, err
	}
	user, err := s.user(ctx, given)
	if err != nil {
		return user, none, err
	}
	row, err := s.mfaDevice(ctx, serial)
	if err == nil && row.V.User == user.Key.ID {
		return user, row, nil
	}
	if err != nil && api.Code(err) != "NoSuchEntity" {
		return user, none, err
	}
	return user, none, iam.NewNoSuchEntityException("MFA device %s is not enabled for user %s.", serial, user.V.Name)
}

// ResyncMFADevice takes two codes in a row of a user's device.
func (s *Service) ResyncMFADevice(ctx context.Context, in *iam.ResyncMFADeviceInput) (*iam.ResyncMFADeviceOutput, error) {
	return &iam.ResyncMFADeviceOutput{}, s.write(ctx, func(tx *store.Txn) error {
		_, row, err := s.usersDevice(ctx, in.UserName, *in.SerialNumber)
		if err != nil {
			return err
		}
		d := row.Copy()
		var ok bool
		if d.LastStep, ok = d.Steps(*in.AuthenticationCode1, *in.AuthenticationCode2, api.CallFrom(ctx).Time); !ok {
			return errMFACode
		}
		tables.MFADevices.Replace(tx, row, d)
		return nil
	})
}

// DeactivateMFADevice takes a device from a user, by default the caller.
func (s *Service) DeactivateMFADevice(ctx context.Context, in *iam.DeactivateMFADeviceInput) (*iam.DeactivateMFADeviceOutput, error) {
	return &iam.DeactivateMFADeviceOutput{}, s.write(ctx, func(tx *store.Txn) error {
		user, row, err := s.usersDevice(ctx, in.UserName, *in.SerialNumber)
		if err != nil {
			return err
		}
		u, d := user.Copy(), row.Copy()
		u.MFADevices = slices.DeleteFunc(u.MFADevices, func(id string) bool { return id == row.Key.ID })
		d.User, d.EnableDate = "", time.Time{}
		tables.Users.Replace(tx, user, u)
		tables.MFADevices.Replace(tx, row, d)
		return nil
	})
}

// GetMFADevice tells whose a device is.
func (s *Service) GetMFADevice(ctx context.Context, in *iam.GetMFADeviceInput) (*iam.GetMFADeviceOutput, error) {
	row, err := s.mfaDevice(ctx, *in.SerialNumber)
	if err != nil {
		return nil, err
	}
	out := &iam.GetMFADeviceOutput{SerialNumber: &row.V.Serial}
	if in.UserName != nil {
		if _, row, err = s.usersDevice(ctx, in.UserName, *in.SerialNumber); err != nil {
			return nil, err
		}
	}
	if row.V.User != "" {
		user, err := s.user(ctx, row.V.User)
		if err != nil {
			return nil, err
		}
		out.UserName, out.EnableDate = &user.V.Name, &row.V.EnableDate
	}
	return out, nil
}

// ListMFADevices lists a user's MFA devices, by default the caller's.
func (s *Service) ListMFADevices(ctx context.Context, in *iam.ListMFADevicesInput) (*iam.ListMFADevicesOutput, error) {
	u, err := s.userNamed(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	ids, more, next, err := page(ctx, slices.Clone(u.MFADevices), same, in.Marker, in.MaxItems, "mfa", u.ID)
	if err != nil {
		return nil, err
	}
	out := &iam.ListMFADevicesOutput{MFADevices: []iam.MFADevice{}, IsTruncated: more, Marker: next}
	for _, id := range ids {
		row, err := s.mfaDevice(ctx, arnOf(api.CallFrom(ctx).Account, "mfa", "/", id))
		if err != nil {
			return nil, err
		}
		out.MFADevices = append(out.MFADevices, iam.MFADevice{UserName: &u.Name, SerialNumber: &row.V.Serial, EnableDate: &row.V.EnableDate})
	}
	return out, nil
}

// ListVirtualMFADevices lists the account's devices: all, those of users, or
// those that are nobody's.
func (s *Service) ListVirtualMFADevices(ctx context.Context, in *iam.ListVirtualMFADevicesInput) (*iam.ListVirtualMFADevicesOutput, error) {
	rows, err := tables.MFADevices.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
	if err != nil {
		return nil, err
	}
	users, err := s.usersOf(ctx)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r store.Row[model.MFADevice]) bool {
		return in.AssignmentStatus == iam.AssignmentStatusTypeAssigned && r.V.User == "" ||
			in.AssignmentStatus == iam.AssignmentStatusTypeUnassigned && r.V.User != ""
	})
	rows, more, next, err := page(ctx, rows, func(r store.Row[model.MFADevice]) string { return r.Key.ID }, in.Marker, in.MaxItems,
		"virtual mfa", string(in.AssignmentStatus))
	return &iam.ListVirtualMFADevicesOutput{
		VirtualMFADevices: mapped(rows, func(r store.Row[model.MFADevice]) iam.VirtualMFADevice {
			d := iam.VirtualMFADevice{SerialNumber: &r.V.Serial}
			if u := users[r.V.User]; u != nil {
				d.User, d.EnableDate = new(listedUser(u)), &r.V.EnableDate
			}
			return d
		}),
		IsTruncated: more, Marker: next,
	}, err
}

func (s *Service) taggedDevice(ctx context.Context, serial string) (tagged, error) {
	row, err := s.mfaDevice(ctx, serial)
	if err != nil {
		return tagged{}, err
	}
	v := row.Copy()
	return tagged{"mfa", &v.Tags, func(tx *store.Txn) { tables.MFADevices.Replace(tx, row, v) }}, nil
}

// TagMFADevice adds tags to a device.
func (s *Service) TagMFADevice(ctx context.Context, in *iam.TagMFADeviceInput) (*iam.TagMFADeviceOutput, error) {
	return &iam.TagMFADeviceOutput{}, s.tag(ctx, s.taggedDevice, in.SerialNumber, in.Tags)
}

// UntagMFADevice removes tags from a device.
func (s *Service) UntagMFADevice(ctx context.Context, in *iam.UntagMFADeviceInput) (*iam.UntagMFADeviceOutput, error) {
	return &iam.UntagMFADeviceOutput{}, s.untag(ctx, s.taggedDevice, in.SerialNumber, in.TagKeys)
}

// ListMFADeviceTags lists a device's tags.
func (s *Service) ListMFADeviceTags(ctx context.Context, in *iam.ListMFADeviceTagsInput) (*iam.ListMFADeviceTagsOutput, error) {
	tags, more, next, err := s.listTags(ctx, s.taggedDevice, in.SerialNumber, in.Marker, in.MaxItems)
	return &iam.ListMFADeviceTagsOutput{Tags: tags, IsTruncated: more, Marker: next}, err
}
