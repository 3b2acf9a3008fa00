package iam_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/store/tables"
)

func TestLoginProfile(t *testing.T) {
	b := newBench(t)
	b.createUser(t, "bob")
	_, err := b.GetLoginProfile(b.ctx, &iam.GetLoginProfileInput{UserName: new("bob")})
	refused(t, err, "NoSuchEntity", "Login Profile for User bob cannot be found.")
	_, err = b.CreateLoginProfile(b.ctx, &iam.CreateLoginProfileInput{UserName: new("bob"), Password: new("short1!")})
	refused(t, err, "PasswordPolicyViolation", "Password should have a minimum length of 8")
	created, err := b.CreateLoginProfile(b.ctx, &iam.CreateLoginProfileInput{UserName: new("bob"), Password: new("longer-Words"), PasswordResetRequired: new(true)})
	if l := ok(t, created, err).LoginProfile; !*l.PasswordResetRequired || *l.UserName != "bob" {
		t.Errorf("%+v", l)
	}
	_, err = b.DeleteUser(b.ctx, &iam.DeleteUserInput{UserName: new("bob")})
	refused(t, err, "DeleteConflict", "Cannot delete entity, must delete login profile first.")
	if _, err := b.DeleteLoginProfile(b.ctx, &iam.DeleteLoginProfileInput{UserName: new("bob")}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.DeleteUser(b.ctx, &iam.DeleteUserInput{UserName: new("bob")}); err != nil {
		t.Fatal(err)
	}
}

// TestNothingBesides asks for all that Terraform removes from a user before it
// deletes the user by force: the lists are there, and empty.
func TestNothingBesides(t *testing.T) {
	b := newBench(t)
	b.createUser(t, "bob")
	for name, count := range map[string]func() (int, error){
		"MFA devices": func() (int, error) {
			out, err := b.ListMFADevices(b.ctx, &iam.ListMFADevicesInput{UserName: new("bob")})
			return len(out.MFADevices), err
		},
		"virtual MFA devices": func() (int, error) {
			out, err := b.ListVirtualMFADevices(b.ctx, &iam.ListVirtualMFADevicesInput{AssignmentStatus: "Any"})
			return len(out.VirtualMFADevices), err
		},
		"SSH keys": func() (int, error) {
			out, err := b.ListSSHPublicKeys(b.ctx, &iam.ListSSHPublicKeysInput{UserName: new("bob")})
			return len(out.SSHPublicKeys), err
		},
		"service credentials": func() (int, error) {
			out, err := b.ListServiceSpecificCredentials(b.ctx, &iam.ListServiceSpecificCredentialsInput{UserName: new("bob")})
			return len(out.ServiceSpecificCredentials), err
		},
		"certificates": func() (int, error) {
			out, err := b.ListSigningCertificates(b.ctx, &iam.ListSigningCertificatesInput{UserName: new("bob")})
			return len(out.Certificates), err
		},
	} {
		if n, err := count(); n != 0 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

func TestOpenIDConnectProvider(t *testing.T) {
	b := newBench(t)
	in := &iam.CreateOpenIDConnectProviderInput{Url: new("https://oidc.eks.localhost/id/X"), ClientIDList: []string{"sts.amazonaws.com"}}
	created, err := b.CreateOpenIDConnectProvider(b.ctx, in)
	arn := ok(t, created, err).OpenIDConnectProviderArn
	if want := "arn:aws:iam::123456789012:oidc-provider/oidc.eks.localhost/id/X"; *arn != want {
		t.Errorf("ARN %s", *arn)
	}
	_, err = b.CreateOpenIDConnectProvider(b.ctx, in)
	refused(t, err, "EntityAlreadyExists", "Provider with url https://oidc.eks.localhost/id/X already exists.")
	if _, err := b.AddClientIDToOpenIDConnectProvider(b.ctx, &iam.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: new("other")}); err != nil {
		t.Fatal(err)
	}
	got, err := b.GetOpenIDConnectProvider(b.ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	if diff := cmp.Diff([]string{"sts.amazonaws.com", "other"}, ok(t, got, err).ClientIDList); diff != "" {
		t.Error(diff)
	}
	for range 2 {
		if _, err := b.DeleteOpenIDConnectProvider(b.ctx, &iam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = b.GetOpenIDConnectProvider(b.ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	refused(t, err, "NoSuchEntity", "OpenIDConnect Provider not found for arn "+*arn)
}

func TestGetUserOfRoot(t *testing.T) {
	b := newBench(t)
	out, err := b.GetUser(b.ctx, &iam.GetUserInput{})
	if u := ok(t, out, err).User; *u.Arn != "arn:aws:iam::123456789012:root" || *u.UserId != account || u.CreateDate.IsZero() {
		t.Errorf("%+v", u)
	}
}

// TestAttachAgainstDelete lets an attachment and a deletion race: whichever
// wins, no role may hold a policy that is gone.
func TestAttachAgainstDelete(t *testing.T) {
	b := newBench(t)
	b.createRole(t, "web")
	for i := range 50 {
		arn := b.createPolicy(t, fmt.Sprint("p", i))
		var attach, remove error
		var wg sync.WaitGroup
		wg.Go(func() {
			_, attach = b.AttachRolePolicy(b.ctx, &iam.AttachRolePolicyInput{RoleName: new("web"), PolicyArn: &arn})
		})
		wg.Go(func() { _, remove = b.DeletePolicy(b.ctx, &iam.DeletePolicyInput{PolicyArn: &arn}) })
		wg.Wait()
		if (attach == nil) == (remove == nil) {
			t.Fatalf("attach: %v, delete: %v", attach, remove)
		}
		role, err := tables.Roles.Get(t.Context(), b.store, account, "", "web")
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.GetPolicy(b.ctx, &iam.GetPolicyInput{PolicyArn: &arn})
		if held := len(role.V.Attached) == 1; held != (err == nil) {
			t.Fatalf("held: %v, policy: %v", held, err)
		}
		if attach == nil {
			if _, err := b.DetachRolePolicy(b.ctx, &iam.DetachRolePolicyInput{RoleName: new("web"), PolicyArn: &arn}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestKeysRace makes keys at once: the quota holds.
func TestKeysRace(t *testing.T) {
	b := newBench(t)
	b.createUser(t, "bob")
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = b.CreateAccessKey(b.ctx, &iam.CreateAccessKeyInput{UserName: new("bob")}) })
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		} else if api.Code(err) != "LimitExceeded" {
			t.Error(err)
		}
	}
	if made != 2 {
		t.Errorf("%d keys: %v", made, errors.Join(errs...))
	}
}
