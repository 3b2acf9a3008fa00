package iam_test

import (
	"slices"
	"strings"
	"testing"

	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// TestTagsOfCredentials tags what a user may have besides, and takes the tags
// away by keys of another case.
func TestTagsOfCredentials(t *testing.T) {
	b := newBench(t)
	seed := []byte("12345678901234567890")
	device, certificate, provider := "arn:aws:iam::"+account+":mfa/phone", "www", "arn:aws:iam::"+account+":saml-provider/corp"
	b.createUser(t, "bob")
	tx := store.NewTxn()
	tables.MFADevices.Put(tx, account, "", "phone", &model.MFADevice{Serial: device, Seed: seed})
	tables.ServerCertificates.Put(tx, account, "", "www", &model.ServerCertificate{Name: "www", Path: "/"})
	tables.SAMLProviders.Put(tx, account, "", "corp", &model.SAMLProvider{Name: "corp", ARN: provider})
	if _, err := tx.Commit(b.ctx, b.store); err != nil {
		t.Fatal(err)
	}
	tags, keys := []iam.Tag{{Key: new("Team"), Value: new("red")}, {Key: new("env"), Value: new("")}}, []string{"TEAM"}
	for name, of := range map[string]struct {
		tag, untag func() error
		list       func() ([]iam.Tag, error)
	}{
		"device": {
			func() error {
				_, err := b.TagMFADevice(b.ctx, &iam.TagMFADeviceInput{SerialNumber: &device, Tags: tags})
				return err
			},
			func() error {
				_, err := b.UntagMFADevice(b.ctx, &iam.UntagMFADeviceInput{SerialNumber: &device, TagKeys: keys})
				return err
			},
			func() ([]iam.Tag, error) {
				out, err := b.ListMFADeviceTags(b.ctx, &iam.ListMFADeviceTagsInput{SerialNumber: &device})
				return out.Tags, err
			},
		},
		"certificate": {
			func() error {
				_, err := b.TagServerCertificate(b.ctx, &iam.TagServerCertificateInput{ServerCertificateName: &certificate, Tags: tags})
				return err
			},
			func() error {
				_, err := b.UntagServerCertificate(b.ctx, &iam.UntagServerCertificateInput{ServerCertificateName: &certificate, TagKeys: keys})
				return err
			},
			func() ([]iam.Tag, error) {
				out, err := b.ListServerCertificateTags(b.ctx, &iam.ListServerCertificateTagsInput{ServerCertificateName: &certificate})
				return out.Tags, err
			},
		},
		"provider": {
			func() error {
				_, err := b.TagSAMLProvider(b.ctx, &iam.TagSAMLProviderInput{SAMLProviderArn: &provider, Tags: tags})
				return err
			},
			func() error {
				_, err := b.UntagSAMLProvider(b.ctx, &iam.UntagSAMLProviderInput{SAMLProviderArn: &provider, TagKeys: keys})
				return err
			},
			func() ([]iam.Tag, error) {
				out, err := b.ListSAMLProviderTags(b.ctx, &iam.ListSAMLProviderTagsInput{SAMLProviderArn: &provider})
				return out.Tags, err
			},
		},
	} {
		if err := of.tag(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := of.untag(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := of.list(); err != nil || !slices.EqualFunc(got, []string{"env"}, func(t iam.Tag, k string) bool { return *t.Key == k }) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}

	metadata := `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="x"><IDPSSODescriptor/></EntityDescriptor>` + strings.Repeat(" ", 1000)
	if _, err := b.UpdateSAMLProvider(b.ctx, &iam.UpdateSAMLProviderInput{SAMLProviderArn: &provider, SAMLMetadataDocument: &metadata}); err != nil {
		t.Error(err)
	}
	providers, err := b.ListSAMLProviders(b.ctx, &iam.ListSAMLProvidersInput{})
	if l := ok(t, providers, err).SAMLProviderList; len(l) != 1 || l[0].ValidUntil.Year() != callTime.Year()+100 {
		t.Errorf("%+v", l)
	}

	step := model.MFAStep(callTime)
	codes := func(n int64) (*string, *string) {
		return new(model.MFACode(seed, step+n)), new(model.MFACode(seed, step+n+1))
	}
	one, two := codes(-1)
	if _, err := b.EnableMFADevice(b.ctx, &iam.EnableMFADeviceInput{UserName: new("bob"), SerialNumber: &device, AuthenticationCode1: one, AuthenticationCode2: two}); err != nil {
		t.Fatal(err)
	}
	_, err = b.ResyncMFADevice(b.ctx, &iam.ResyncMFADeviceInput{UserName: new("bob"), SerialNumber: &device, AuthenticationCode1: one, AuthenticationCode2: one})
	refused(t, err, "InvalidAuthenticationCode", "Authentication code for device is not valid.")
	one, two = codes(0)
	if _, err := b.ResyncMFADevice(b.ctx, &iam.ResyncMFADeviceInput{UserName: new("bob"), SerialNumber: &device, AuthenticationCode1: one, AuthenticationCode2: two}); err != nil {
		t.Error(err)
	}
}
