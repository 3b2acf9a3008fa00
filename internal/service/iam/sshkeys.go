package iam

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// maxSSHKeys is the quota of SSH keys per user.
	maxSSHKeys = 5
	minRSABits = 2048
)

// parseSSHKey reads a public key in the form of authorized_keys or in PEM. It
// must be RSA with 2048 bits or more.
func parseSSHKey(text string) (ssh.PublicKey, error) {
	malformed := iam.NewInvalidPublicKeyException("The public key is malformed or otherwise invalid.")
	var key ssh.PublicKey
	if block, rest := pem.Decode([]byte(text)); block != nil {
		if strings.TrimSpace(string(rest)) != "" {
			return nil, malformed
		}
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, malformed
		}
		if key, err = ssh.NewPublicKey(public); err != nil {
			return nil, malformed
		}
	} else {
		var rest []byte
		var err error
		key, _, _, rest, err = ssh.ParseAuthorizedKey([]byte(text))
		if err != nil {
			return nil, malformed
		}
		if strings.TrimSpace(string(rest)) != "" {
			return nil, iam.NewUnrecognizedPublicKeyEncodingException("The public key encoding format is unsupported or unrecognized.")
		}
	}
	if public, ok := rsaKey(key); !ok || public.N.BitLen() < minRSABits {
		return nil, malformed
	}
	return key, nil
}

func rsaKey(key ssh.PublicKey) (*rsa.PublicKey, bool) {
	k, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return nil, false
	}
	public, ok := k.CryptoPublicKey().(*rsa.PublicKey)
	return public, ok
}

func noSSHKey(id string) error {
	return iam.NewNoSuchEntityException("The Public Key with id %s cannot be found.", id)
}

// changeSSHKeys lets change alter a user's SSH keys.
func (s *Service) changeSSHKeys(ctx context.Context, user string, change func(keys []model.SSHPublicKey) ([]model.SSHPublicKey, error)) (*model.User, error) {
	return s.changeLogin(ctx, &user, func(u *model.User) error {
		keys, err := change(u.SSHKeys)
		u.SSHKeys = keys
		return err
	})
}

func describedSSHKey(u *model.User, k *model.SSHPublicKey, body string) *iam.SSHPublicKey {
	return &iam.SSHPublicKey{
		UserName: &u.Name, SSHPublicKeyId: &k.ID, Fingerprint: &k.Fingerprint, SSHPublicKeyBody: &body,
		Status: iam.StatusType(k.Status), UploadDate: &k.UploadDate,
	}
}

// UploadSSHPublicKey gives a user an SSH key.
func (s *Service) UploadSSHPublicKey(ctx context.Context, in *iam.UploadSSHPublicKeyInput) (*iam.UploadSSHPublicKeyOutput, error) {
	key, err := parseSSHKey(*in.SSHPublicKeyBody)
	if err != nil {
		return nil, err
	}
	k := model.SSHPublicKey{
		ID: uniqueID(model.IAMPublicKeyPrefix), Key: string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(key))),
		Fingerprint: ssh.FingerprintLegacyMD5(key), Status: model.AccessKeyActive, UploadDate: now(api.CallFrom(ctx)),
	}
	u, err := s.changeSSHKeys(ctx, *in.UserName, func(keys []model.SSHPublicKey) ([]model.SSHPublicKey, error) {
		if slices.ContainsFunc(keys, func(have model.SSHPublicKey) bool { return have.Key == k.Key }) {
			return nil, iam.NewDuplicateSSHPublicKeyException("The SSH public key is already associated with the specified IAM user.")
		}
		if len(keys) >= maxSSHKeys {
			return nil, iam.NewLimitExceededException("Cannot exceed quota for SSHPublicKeysPerUser: %d", maxSSHKeys)
		}
		return append(keys, k), nil
	})
	if err != nil {
		return nil, err
	}
	return &iam.UploadSSHPublicKeyOutput{SSHPublicKey: describedSSHKey(u, &k, k.Key)}, nil
}

// GetSSHPublicKey tells a user's SSH key, in either form.
func (s *Service) GetSSHPublicKey(ctx context.Context, in *iam.GetSSHPublicKeyInput) (*iam.GetSSHPublicKeyOutput, error) {
	row, err := s.user(ctx, *in.UserName)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(row.V.SSHKeys, func(k model.SSHPublicKey) bool { return k.ID == *in.SSHPublicKeyId })
	if i < 0 {
		return nil, noSSHKey(*in.SSHPublicKeyId)
	}
	k := &row.V.SSHKeys[i]
	body := k.Key
	if in.Encoding == iam.EncodingTypePem {
		key, err := parseSSHKey(k.Key)
		if err != nil {
			return nil, err
		}
		public, _ := rsaKey(key)
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return nil, err
		}
		body = strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	}
	return &iam.GetSSHPublicKeyOutput{SSHPublicKey: describedSSHKey(row.V, k, body)}, nil
}

// ListSSHPublicKeys lists a user's SSH keys, by default the caller's.
func (s *Service) ListSSHPublicKeys(ctx context.Context, in *iam.ListSSHPublicKeysInput) (*iam.ListSSHPublicKeysOutput, error) {
	u, err := s.userNamed(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	keys, more, next, err := page(ctx, slices.Clone(u.SSHKeys), func(k model.SSHPublicKey) string { return k.ID }, in.Marker, in.MaxItems, "ssh keys", u.ID)
	return &iam.ListSSHPublicKeysOutput{
		SSHPublicKeys: mapped(keys, func(k model.SSHPublicKey) iam.SSHPublicKeyMetadata {
			return iam.SSHPublicKeyMetadata{UserName: &u.Name, SSHPublicKeyId: &k.ID, Status: iam.StatusType(k.Status), UploadDate: &k.UploadDate}
		}),
		IsTruncated: more, Marker: next,
	}, err
}

// UpdateSSHPublicKey makes an SSH key active or inactive.
func (s *Service) UpdateSSHPublicKey(ctx context.Context, in *iam.UpdateSSHPublicKeyInput) (*iam.UpdateSSHPublicKeyOutput, error) {
	if in.Status != iam.StatusTypeActive && in.Status != iam.StatusTypeInactive {
		return nil, iam.NewInvalidInputException("The status of a public key is Active or Inactive.")
	}
	_, err := s.changeSSHKeys(ctx, *in.UserName, func(keys []model.SSHPublicKey) ([]model.SSHPublicKey, error) {
		i := slices.IndexFunc(keys, func(k model.SSHPublicKey) bool { return k.ID == *in.SSHPublicKeyId })
		if i < 0 {
			return nil, noSSHKey(*in.SSHPublicKeyId)
		}
		keys[i].Status = string(in.Status)
		return keys, nil
	})
	return &iam.UpdateSSHPublicKeyOutput{}, err
}

// DeleteSSHPublicKey takes an SSH key away from a user.
func (s *Service) DeleteSSHPublicKey(ctx context.Context, in *iam.DeleteSSHPublicKeyInput) (*iam.DeleteSSHPublicKeyOutput, error) {
	_, err := s.changeSSHKeys(ctx, *in.UserName, func(keys []model.SSHPublicKey) ([]model.SSHPublicKey, error) {
		i := slices.IndexFunc(keys, func(k model.SSHPublicKey) bool { return k.ID == *in.SSHPublicKeyId })
		if i < 0 {
			return nil, noSSHKey(*in.SSHPublicKeyId)
		}
		return slices.Delete(keys, i, i+1), nil
	})
	return &iam.DeleteSSHPublicKeyOutput{}, err
}

// userNamed is the user of a request, by default the caller. The root user has
// no record: it is one that has nothing.
func (s *Service) userNamed(ctx context.Context, name *string) (*model.User, error) {
	given, err := callersName(ctx, name)
	if err != nil {
		if c := api.CallFrom(ctx); c.Identity.Root {
			return &model.User{IAMPrincipal: model.IAMPrincipal{Name: "<root_account>", ID: c.Account, ARN: c.Identity.ARN}}, nil
		}
		return nil, err
	}
	row, err := s.user(ctx, given)
	if err != nil {
		return nil, err
	}
	return row.V, nil
}

// ListServiceSpecificCredentials lists a user's credentials for single
// services. None can be made: CreateServiceSpecificCredential is not served.
func (s *Service) ListServiceSpecificCredentials(ctx context.Context, in *iam.ListServiceSpecificCredentialsInput) (*iam.ListServiceSpecificCredentialsOutput, error) {
	_, err := s.userNamed(ctx, in.UserName)
	return &iam.ListServiceSpecificCredentialsOutput{
		ServiceSpecificCredentials: []iam.ServiceSpecificCredentialMetadata{}, IsTruncated: new(false),
	}, err
}

// ListSigningCertificates lists a user's certificates. None can be made:
// UploadSigningCertificate is not served.
func (s *Service) ListSigningCertificates(ctx context.Context, in *iam.ListSigningCertificatesInput) (*iam.ListSigningCertificatesOutput, error) {
	_, err := s.userNamed(ctx, in.UserName)
	return &iam.ListSigningCertificatesOutput{Certificates: []iam.SigningCertificate{}, IsTruncated: new(false)}, err
}

// usersOf are the account's users by record id.
func (s *Service) usersOf(ctx context.Context) (map[string]*model.User, error) {
	rows, err := tables.Users.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
	out := map[string]*model.User{}
	for _, r := range rows {
		out[r.Key.ID] = r.V
	}
	return out, err
}
