// Package certificates opens the certificates that listeners name by their
// ARNs, Certificate Manager's and IAM's, with their private keys.
package certificates

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// ErrNotReady tells that a certificate is there and cannot be served by: it has
// not been issued, or its issuing failed.
var ErrNotReady = errors.New("the certificate is not issued")

// Open reads a certificate with its chain and its key; Leaf is set. Where there
// is none by that ARN the error is a store.ErrNotFound. One that has run out
// or was revoked opens as others do: load balancers go on serving it.
func Open(ctx context.Context, s store.Store, key *seal.Key, arn string) (tls.Certificate, error) {
	pair, err := read(ctx, s, key, arn)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate %s: %w", arn, err)
	}
	return pair, nil
}

func read(ctx context.Context, s store.Store, key *seal.Key, arn string) (tls.Certificate, error) {
	a, err := model.ParseARN(arn)
	if err != nil {
		return tls.Certificate{}, store.ErrNotFound
	}
	switch a.Service {
	case "acm":
		id, ok := strings.CutPrefix(a.Resource, "certificate/")
		if !ok {
			return tls.Certificate{}, store.ErrNotFound
		}
		row, err := tables.Certificates.Get(ctx, s, a.Account, a.Region, id)
		if err != nil {
			return tls.Certificate{}, err
		}
		v := row.V
		switch {
		case v.ARN != arn:
			return tls.Certificate{}, store.ErrNotFound
		case v.Leaf == "" || v.Key == "":
			return tls.Certificate{}, ErrNotReady
		}
		return pair(key, model.CertificateKeyName(v.ARN), v.Leaf, v.Chain, v.Key)
	case "iam":
		account, _, name, ok := model.IAMNameOf(arn, "server-certificate")
		if !ok {
			return tls.Certificate{}, store.ErrNotFound
		}
		row, err := tables.ServerCertificates.Get(ctx, s, account, "", strings.ToLower(name))
		if err != nil {
			return tls.Certificate{}, err
		}
		v := row.V
		if v.ARN != arn {
			return tls.Certificate{}, store.ErrNotFound
		}
		return pair(key, v.ID, v.Body, v.Chain, v.Key)
	}
	return tls.Certificate{}, store.ErrNotFound
}

func pair(key *seal.Key, name, leaf, chain, sealed string) (tls.Certificate, error) {
	private, err := key.Open(name, sealed)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair([]byte(leaf+"\n"+chain), private)
}

// Users are the load balancers of an account and region that use certificates,
// by the certificates' ARNs.
func Users(ctx context.Context, s store.Store, account, region string) (map[string][]string, error) {
	listeners, err := tables.Listeners.List(ctx, s, store.Query{Account: account, Region: region})
	if err != nil {
		return nil, fmt.Errorf("list listeners: %w", err)
	}
	users := map[string][]string{}
	for _, l := range listeners {
		for _, arn := range l.V.Certificates {
			if !slices.Contains(users[arn], l.V.LoadBalancerARN) {
				users[arn] = append(users[arn], l.V.LoadBalancerARN)
			}
		}
	}
	return users, nil
}
