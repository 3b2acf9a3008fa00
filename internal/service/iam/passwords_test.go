package iam_test

import (
	"testing"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
)

func TestPasswordPolicy(t *testing.T) {
	b := newBench(t)
	_, err := b.GetAccountPasswordPolicy(b.ctx, &iam.GetAccountPasswordPolicyInput{})
	refused(t, err, "NoSuchEntity", "The Password Policy with domain name 123456789012 cannot be found.")
	if _, err := b.UpdateAccountPasswordPolicy(b.ctx, &iam.UpdateAccountPasswordPolicyInput{
		MinimumPasswordLength: new(int32(10)), RequireUppercaseCharacters: new(true), RequireLowercaseCharacters: new(true),
		RequireNumbers: new(true), RequireSymbols: new(true), PasswordReusePrevention: new(int32(2)), MaxPasswordAge: new(int32(90)),
	}); err != nil {
		t.Fatal(err)
	}
	got, err := b.GetAccountPasswordPolicy(b.ctx, &iam.GetAccountPasswordPolicyInput{})
	if p := ok(t, got, err).PasswordPolicy; *p.MinimumPasswordLength != 10 || !*p.ExpirePasswords || *p.PasswordReusePrevention != 2 || *p.AllowUsersToChangePassword || p.HardExpiry != nil {
		t.Errorf("%+v", p)
	}
	b.createUser(t, "bob")
	for password, want := range map[string]string{
		"Short1!":       "Password should have a minimum length of 10",
		"nouppercase1!": "Password should have at least one uppercase letter",
		"NOLOWERCASE1!": "Password should have at least one lowercase letter",
		"NoNumbersHere": "Password should have at least one number",
		"NoSymbols1234": "Password should have at least one symbol",
	} {
		_, err := b.CreateLoginProfile(b.ctx, &iam.CreateLoginProfileInput{UserName: new("bob"), Password: &password})
		refused(t, err, "PasswordPolicyViolation", want)
	}
	if _, err := b.CreateLoginProfile(b.ctx, &iam.CreateLoginProfileInput{UserName: new("bob"), Password: new("First-Pass-1")}); err != nil {
		t.Fatal(err)
	}
	change := func(password, code string) {
		t.Helper()
		_, err := b.UpdateLoginProfile(b.ctx, &iam.UpdateLoginProfileInput{UserName: new("bob"), Password: &password})
		if api.Code(err) != code {
			t.Errorf("%s: %v, want %q", password, err, code)
		}
	}
	change("First-Pass-1", "PasswordPolicyViolation")
	change("Second-Pass-2", "")
	change("First-Pass-1", "PasswordPolicyViolation")
	change("Third-Pass-3", "")
	change("First-Pass-1", "")

	// The user itself changes its password by knowing it.
	bob := as(t.Context(), api.Identity{ARN: "arn:aws:iam::123456789012:user/bob"})
	_, err = b.ChangePassword(bob, &iam.ChangePasswordInput{OldPassword: new("Third-Pass-3"), NewPassword: new("Fourth-Pass-4")})
	refused(t, err, "AccessDenied", "The old password was incorrect.")
	if _, err := b.ChangePassword(bob, &iam.ChangePasswordInput{OldPassword: new("First-Pass-1"), NewPassword: new("Fourth-Pass-4")}); err != nil {
		t.Error(err)
	}
	_, err = b.ChangePassword(b.ctx, &iam.ChangePasswordInput{OldPassword: new("x"), NewPassword: new("y")})
	if api.Code(err) != "InvalidUserType" {
		t.Errorf("root: %v", err)
	}

	if _, err := b.DeleteAccountPasswordPolicy(b.ctx, &iam.DeleteAccountPasswordPolicyInput{}); err != nil {
		t.Fatal(err)
	}
	_, err = b.DeleteAccountPasswordPolicy(b.ctx, &iam.DeleteAccountPasswordPolicyInput{})
	refused(t, err, "NoSuchEntity", "The Password Policy with domain name 123456789012 cannot be found.")
}
