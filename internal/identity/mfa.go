package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Errors of VerifyMFA.
var (
	// ErrMFADevice: the user has no device with the serial number.
	ErrMFADevice = errors.New("no such MFA device of the user's")
	// ErrMFACode: the code is wrong, of another time, or was used before.
	ErrMFACode = errors.New("invalid MFA code")
)

// VerifyMFA checks a code of a user's MFA device, and that it is used for the
// first time.
func (d *Directory) VerifyMFA(ctx context.Context, userARN, serial, code string) error {
	account, _, name, ok := model.IAMNameOf(userARN, "user")
	if !ok {
		return ErrMFADevice
	}
	user, err := tables.Users.Get(ctx, d.store, account, "", strings.ToLower(name))
	if errors.Is(err, store.ErrNotFound) {
		return ErrMFADevice
	}
	if err != nil {
		return fmt.Errorf("read the user of an MFA device: %w", err)
	}
	_, id, _ := strings.Cut(serial, ":mfa/")
	if !slices.Contains(user.V.MFADevices, id) {
		return ErrMFADevice
	}
	for {
		row, err := tables.MFADevices.Get(ctx, d.store, account, "", id)
		if errors.Is(err, store.ErrNotFound) || err == nil && (row.V.Serial != serial || row.V.User != user.Key.ID) {
			return ErrMFADevice
		}
		if err != nil {
			return fmt.Errorf("read MFA device: %w", err)
		}
		step, ok := row.V.Step(code, d.clock.Now())
		if !ok {
			return ErrMFACode
		}
		v, tx := row.Copy(), store.NewTxn()
		v.LastStep = step
		tables.MFADevices.Replace(tx, row, v)
		if _, err := tx.Commit(ctx, d.store); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
