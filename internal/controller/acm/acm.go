// Package acm is the controller that issues what Certificate Manager was asked
// for, and renews what is in use before it runs out.
package acm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"roadstead.dev/internal/authority"
	"roadstead.dev/internal/certificates"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// Validation is how long the validation of a domain seems to take: there is
	// nobody to ask whose it is.
	Validation = time.Second
	// Life is a requested certificate's, and RenewBefore what is left of it when
	// it is renewed.
	// https://docs.aws.amazon.com/acm/latest/userguide/managed-renewal.html
	Life        = 198 * 24 * time.Hour
	RenewBefore = 45 * 24 * time.Hour
	// lookAgain is how often one that nothing uses is looked at again when it
	// could be renewed.
	lookAgain = time.Hour
)

// Signer signs certificates for keys.
type Signer interface {
	Sign(public crypto.PublicKey, names []string, life time.Duration) (*authority.Signed, error)
}

// Config is what the controller needs. All of it is required.
type Config struct {
	Store  store.Store
	Clock  clock.Clock
	Signer Signer
	// Key seals private keys.
	Key *seal.Key
}

type issuer struct{ Config }

// New makes the controller.
func New(c Config) *controller.Controller {
	i := &issuer{c}
	return &controller.Controller{
		Name:      "acm",
		Watches:   []controller.Watch{controller.Own(tables.Certificates)},
		Reconcile: i.reconcile,
		// Making an RSA key keeps a core busy for a while.
		Workers: 1,
	}
}

func (i *issuer) reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	row, err := tables.Certificates.Get(ctx, i.Store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return controller.Result{}, nil
	}
	if err != nil {
		return controller.Result{}, err
	}
	wait, err := i.due(ctx, row)
	if err != nil || wait != 0 {
		return controller.Result{RequeueAfter: max(wait, 0)}, err
	}
	v := row.Copy()
	if err := i.issue(v); err != nil {
		return controller.Result{}, fmt.Errorf("issue %s: %w", v.ARN, err)
	}
	tx := store.NewTxn()
	tables.Certificates.Replace(tx, row, v)
	// The change comes back here and says when to look again.
	_, err = tx.Commit(ctx, i.Store)
	return controller.Result{}, err
}

// never is the wait for what is not issued (again), whatever the time.
const never = -1

// due tells how long a certificate's issuing has to wait: 0 when it is due.
func (i *issuer) due(ctx context.Context, row store.Row[model.Certificate]) (time.Duration, error) {
	v, now := row.V, i.Clock.Now()
	switch {
	case v.Type != model.CertificateAmazonIssued:
		return never, nil
	case v.Status == model.CertificatePending:
		return max(v.CreatedAt.Add(Validation).Sub(now), 0), nil
	case v.Status != model.CertificateIssued:
		return never, nil
	case !v.RenewalAskedAt.IsZero():
		return 0, nil
	}
	if wait := v.NotAfter.Add(-RenewBefore).Sub(now); wait > 0 {
		return wait, nil
	}
	if v.Exported {
		return 0, nil
	}
	users, err := certificates.Users(ctx, i.Store, row.Key.Account, row.Key.Region)
	if err != nil || len(users[v.ARN]) > 0 {
		return 0, err
	}
	return lookAgain, nil
}

// issue gives a certificate a new key and has it signed.
func (i *issuer) issue(v *model.Certificate) error {
	key, err := newKey(v.KeyAlgorithm)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	signed, err := i.Signer.Sign(key.Public(), v.Names, Life)
	if err != nil {
		return err
	}
	v.Key = i.Key.Seal(model.CertificateKeyName(v.ARN), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	v.Leaf, v.Chain = signed.Leaf, signed.Chain
	v.NotBefore, v.NotAfter = signed.NotBefore.UTC(), signed.NotAfter.UTC()
	v.Generation++
	now := i.Clock.Now().UTC().Truncate(time.Millisecond)
	if v.Status == model.CertificatePending {
		v.Status, v.IssuedAt = model.CertificateIssued, now
	} else {
		v.RenewalAskedAt, v.RenewedAt = time.Time{}, now
	}
	return nil
}

func newKey(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case "RSA_2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "EC_prime256v1":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EC_secp384r1":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	}
	return nil, fmt.Errorf("no keys of algorithm %q are made", algorithm)
}
