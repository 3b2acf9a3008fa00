// Package certificates opens the certificates that listeners name by their
// ARNs, Certificate Manager's and IAM's, with their private keys.
package certificates

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// ErrNotReady tells that a certificate is there and cannot be served by: it has
// not been issued, or its issuing failed.
var ErrNotReady = errors.New("the certificate is not issued")

// Opener opens certificates, and remembers those that it opened for as long as
// their records stay as they are. Safe for concurrent use.
type Opener struct {
	store store.Store
	key   *seal.Key

	mu     sync.Mutex
	opened map[string]opened // by ARN
}

// opened is a certificate as it was opened last.
type opened struct {
	// from is the record, and revision its own, that it was opened from.
	from     store.Key
	revision uint64
	pair     *tls.Certificate
}

// NewOpener makes an Opener. Key opens private keys.
func NewOpener(s store.Store, key *seal.Key) *Opener {
	return &Opener{store: s, key: key, opened: map[string]opened{}}
}

// Open reads a certificate with its chain and its key; Leaf is set. Where there
// is none by that ARN the error is a store.ErrNotFound. One that has run out
// or was revoked opens as others do: load balancers go on serving it. The
// certificate is shared, and must not be changed.
func (o *Opener) Open(ctx context.Context, arn string) (*tls.Certificate, error) {
	pair, err := o.open(ctx, arn)
	if err != nil {
		o.mu.Lock()
		delete(o.opened, arn)
		o.mu.Unlock()
		return nil, fmt.Errorf("certificate %s: %w", arn, err)
	}
	return pair, nil
}

func (o *Opener) open(ctx context.Context, arn string) (*tls.Certificate, error) {
	a, err := model.ParseARN(arn)
	if err != nil {
		return nil, store.ErrNotFound
	}
	switch a.Service {
	case "acm":
		id, ok := strings.CutPrefix(a.Resource, "certificate/")
		if !ok {
			return nil, store.ErrNotFound
		}
		row, err := tables.Certificates.Get(ctx, o.store, a.Account, a.Region, id)
		if err != nil {
			return nil, err
		}
		v := row.V
		switch {
		case v.ARN != arn:
			return nil, store.ErrNotFound
		case v.Leaf == "" || v.Key == "":
			return nil, ErrNotReady
		}
		return o.remember(arn, row.Key, row.Modified, func() (tls.Certificate, error) {
			return o.pair(model.CertificateKeyName(v.ARN), v.Leaf, v.Chain, v.Key)
		})
	case "iam":
		account, _, name, ok := model.IAMNameOf(arn, "server-certificate")
		if !ok {
			return nil, store.ErrNotFound
		}
		row, err := tables.ServerCertificates.Get(ctx, o.store, account, "", strings.ToLower(name))
		if err != nil {
			return nil, err
		}
		v := row.V
		if v.ARN != arn {
			return nil, store.ErrNotFound
		}
		return o.remember(arn, row.Key, row.Modified, func() (tls.Certificate, error) {
			return o.pair(v.ID, v.Body, v.Chain, v.Key)
		})
	}
	return nil, store.ErrNotFound
}

// remember gives what was opened from the same revision of the record, else what
// open does.
func (o *Opener) remember(arn string, from store.Key, revision uint64, open func() (tls.Certificate, error)) (*tls.Certificate, error) {
	o.mu.Lock()
	before, ok := o.opened[arn]
	o.mu.Unlock()
	if ok && before.from == from && before.revision == revision {
		return before.pair, nil
	}
	pair, err := open()
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	o.opened[arn] = opened{from, revision, &pair}
	o.mu.Unlock()
	return &pair, nil
}

func (o *Opener) pair(name, leaf, chain, sealed string) (tls.Certificate, error) {
	private, err := o.key.Open(name, sealed)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair([]byte(leaf+"\n"+chain), private)
}
