package iam

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/certificates"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxCertificates is the quota of server certificates per account.
const maxCertificates = 20

func malformedCertificate(what string) error {
	return iam.NewMalformedCertificateException("%s", what)
}

var errChain = malformedCertificate("Unable to validate certificate chain. The certificate chain must start with the immediate signing certificate, followed by any intermediaries in order. The index within the chain of the invalid certificate is: -1")

// pemCertificates reads certificates in PEM that nothing else stands between.
func pemCertificates(text string) ([]*x509.Certificate, bool) {
	var out []*x509.Certificate
	rest := []byte(text)
	for len(bytes.TrimSpace(rest)) > 0 {
		if !bytes.HasPrefix(bytes.TrimSpace(rest), []byte("-----BEGIN ")) {
			return nil, false
		}
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return nil, false
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, false
		}
		out = append(out, c)
	}
	return out, len(out) > 0
}

// checkCertificate reads a certificate and checks its key and its chain.
func checkCertificate(body, key, chain string, at time.Time) (*x509.Certificate, error) {
	own, ok := pemCertificates(body)
	if !ok || len(own) != 1 {
		return nil, malformedCertificate("Unable to parse certificate. Please ensure the certificate is in PEM format.")
	}
	leaf := own[0]
	private, err := privateKey(key)
	if err != nil {
		return nil, malformedCertificate("Unable to parse private key. Please ensure that the key is in PEM format and is not encrypted.")
	}
	public, ok := private.Public().(interface{ Equal(x crypto.PublicKey) bool })
	if !ok || !public.Equal(leaf.PublicKey) {
		return nil, iam.NewKeyPairMismatchException("The public key certificate and the private key do not match.")
	}
	if at.Before(leaf.NotBefore) || at.After(leaf.NotAfter) {
		return nil, malformedCertificate("Certificate is not within its validity period.")
	}
	if chain == "" {
		return leaf, nil
	}
	issuers, ok := pemCertificates(chain)
	if !ok {
		return nil, errChain
	}
	child := leaf
	for _, issuer := range issuers {
		if child.CheckSignatureFrom(issuer) != nil {
			return nil, errChain
		}
		child = issuer
	}
	return leaf, nil
}

// privateKey reads a key in PEM by the rules that TLS has for it.
func privateKey(text string) (crypto.Signer, error) {
	block, rest := pem.Decode([]byte(text))
	for block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, malformedCertificate("no key")
	}
	if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return k, nil
	}
	if k, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return k, nil
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := k.(crypto.Signer)
	if !ok {
		return nil, malformedCertificate("no key to sign with")
	}
	return signer, nil
}

func (s *Service) certificate(ctx context.Context, name string) (store.Row[model.ServerCertificate], error) {
	row, err := tables.ServerCertificates.Get(ctx, s.store, api.CallFrom(ctx).Account, "", key(name))
	return row, absent(err, iam.NewNoSuchEntityException("The Server Certificate with name %s cannot be found.", name))
}

func certificateExists(name string) error {
	return iam.NewEntityAlreadyExistsException("The Server Certificate with name %s already exists.", name)
}

func certificateMetadata(v *model.ServerCertificate) *iam.ServerCertificateMetadata {
	return &iam.ServerCertificateMetadata{
		ServerCertificateName: &v.Name, ServerCertificateId: &v.ID, Path: &v.Path, Arn: &v.ARN,
		UploadDate: &v.UploadDate, Expiration: &v.Expiration,
	}
}

// UploadServerCertificate takes a certificate with its key.
func (s *Service) UploadServerCertificate(ctx context.Context, in *iam.UploadServerCertificateInput) (*iam.UploadServerCertificateOutput, error) {
	c := api.CallFrom(ctx)
	tags, err := modelTags(in.Tags)
	if err != nil {
		return nil, err
	}
	leaf, err := checkCertificate(*in.CertificateBody, *in.PrivateKey, str(in.CertificateChain), c.Time)
	if err != nil {
		return nil, err
	}
	v := &model.ServerCertificate{
		Name: *in.ServerCertificateName, Path: pathOf(in.Path), ID: uniqueID(model.IAMServerCertificatePrefix),
		ARN:  arnOf(c.Account, "server-certificate", pathOf(in.Path), *in.ServerCertificateName),
		Body: strings.TrimSpace(*in.CertificateBody), Chain: strings.TrimSpace(str(in.CertificateChain)),
		UploadDate: now(c), Expiration: leaf.NotAfter.UTC(), Tags: tags,
	}
	v.Key = s.key.Seal(v.ID, []byte(*in.PrivateKey))
	err = s.write(ctx, func(tx *store.Txn) error {
		if _, err := s.certificate(ctx, v.Name); api.Code(err) != "NoSuchEntity" {
			if err == nil {
				err = certificateExists(v.Name)
			}
			return err
		}
		if err := within(ctx, s, tables.ServerCertificates, "ServerCertificatesPerAccount", maxCertificates); err != nil {
			return err
		}
		tables.ServerCertificates.Create(tx, c.Account, "", key(v.Name), v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &iam.UploadServerCertificateOutput{ServerCertificateMetadata: certificateMetadata(v)}
	if len(tags) > 0 {
		out.Tags = tagList(tags)
	}
	return out, nil
}

// GetServerCertificate tells a certificate, without its key.
func (s *Service) GetServerCertificate(ctx context.Context, in *iam.GetServerCertificateInput) (*iam.GetServerCertificateOutput, error) {
	row, err := s.certificate(ctx, *in.ServerCertificateName)
	if err != nil {
		return nil, err
	}
	out := &iam.ServerCertificate{CertificateBody: &row.V.Body, ServerCertificateMetadata: certificateMetadata(row.V)}
	if row.V.Chain != "" {
		out.CertificateChain = &row.V.Chain
	}
	if len(row.V.Tags) > 0 {
		out.Tags = tagList(row.V.Tags)
	}
	return &iam.GetServerCertificateOutput{ServerCertificate: out}, nil
}

// ListServerCertificates lists the certificates below a path.
func (s *Service) ListServerCertificates(ctx context.Context, in *iam.ListServerCertificatesInput) (*iam.ListServerCertificatesOutput, error) {
	rows, err := tables.ServerCertificates.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r store.Row[model.ServerCertificate]) bool {
		return !strings.HasPrefix(r.V.Path, pathOf(in.PathPrefix))
	})
	rows, more, next, err := page(ctx, rows, func(r store.Row[model.ServerCertificate]) string { return r.Key.ID }, in.Marker, in.MaxItems, "certificates", str(in.PathPrefix))
	return &iam.ListServerCertificatesOutput{
		ServerCertificateMetadataList: mapped(rows, func(r store.Row[model.ServerCertificate]) iam.ServerCertificateMetadata {
			return *certificateMetadata(r.V)
		}),
		IsTruncated: more, Marker: next,
	}, err
}

// UpdateServerCertificate renames or moves a certificate.
func (s *Service) UpdateServerCertificate(ctx context.Context, in *iam.UpdateServerCertificateInput) (*iam.UpdateServerCertificateOutput, error) {
	c := api.CallFrom(ctx)
	return &iam.UpdateServerCertificateOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := s.certificate(ctx, *in.ServerCertificateName)
		if err != nil {
			return err
		}
		v := row.Copy()
		if in.NewServerCertificateName != nil {
			v.Name = *in.NewServerCertificateName
		}
		if in.NewPath != nil {
			v.Path = *in.NewPath
		}
		v.ARN = arnOf(c.Account, "server-certificate", v.Path, v.Name)
		// Listeners go on with it under the new name.
		users, err := certificates.Uses(ctx, s.store, tx, row.Key, row.V.ARN)
		if err != nil {
			return err
		}
		for _, l := range users {
			u := l.Copy()
			for i, arn := range u.Certificates {
				if arn == row.V.ARN {
					u.Certificates[i] = v.ARN
				}
			}
			tables.Listeners.Replace(tx, l, u)
		}
		if key(v.Name) == row.Key.ID {
			tables.ServerCertificates.Replace(tx, row, v)
			return nil
		}
		if _, err := s.certificate(ctx, v.Name); api.Code(err) != "NoSuchEntity" {
			if err == nil {
				err = certificateExists(v.Name)
			}
			return err
		}
		tables.ServerCertificates.Delete(tx, row)
		tables.ServerCertificates.Create(tx, c.Account, "", key(v.Name), v)
		return nil
	})
}

// DeleteServerCertificate removes a certificate that no listener uses.
func (s *Service) DeleteServerCertificate(ctx context.Context, in *iam.DeleteServerCertificateInput) (*iam.DeleteServerCertificateOutput, error) {
	return &iam.DeleteServerCertificateOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := s.certificate(ctx, *in.ServerCertificateName)
		if err != nil {
			return err
		}
		users, err := certificates.Uses(ctx, s.store, tx, row.Key, row.V.ARN)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return iam.NewDeleteConflictException("Certificate: %s is currently in use by %s. Please remove it first before deleting it from IAM.", row.V.ID, users[0].V.LoadBalancerARN)
		}
		tables.ServerCertificates.Delete(tx, row)
		return nil
	})
}

func (s *Service) taggedCertificate(ctx context.Context, name string) (tagged, error) {
	row, err := s.certificate(ctx, name)
	if err != nil {
		return tagged{}, err
	}
	v := row.Copy()
	return tagged{"certificate", &v.Tags, func(tx *store.Txn) { tables.ServerCertificates.Replace(tx, row, v) }}, nil
}

// TagServerCertificate adds tags to a certificate.
func (s *Service) TagServerCertificate(ctx context.Context, in *iam.TagServerCertificateInput) (*iam.TagServerCertificateOutput, error) {
	return &iam.TagServerCertificateOutput{}, s.tag(ctx, s.taggedCertificate, in.ServerCertificateName, in.Tags)
}

// UntagServerCertificate removes tags from a certificate.
func (s *Service) UntagServerCertificate(ctx context.Context, in *iam.UntagServerCertificateInput) (*iam.UntagServerCertificateOutput, error) {
	return &iam.UntagServerCertificateOutput{}, s.untag(ctx, s.taggedCertificate, in.ServerCertificateName, in.TagKeys)
}

// ListServerCertificateTags lists a certificate's tags.
func (s *Service) ListServerCertificateTags(ctx context.Context, in *iam.ListServerCertificateTagsInput) (*iam.ListServerCertificateTagsOutput, error) {
	tags, more, next, err := s.listTags(ctx, s.taggedCertificate, in.ServerCertificateName, in.Marker, in.MaxItems)
	return &iam.ListServerCertificateTagsOutput{Tags: tags, IsTruncated: more, Marker: next}, err
}
