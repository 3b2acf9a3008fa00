package secretsmanager

import (
	"testing"

	"roadstead.dev/internal/api/secretsmanager"
)

func TestRotationIsRefused(t *testing.T) {
	f := newFixture(t)
	f.create("db", "v")
	rotate := func(id, function string) error {
		in := &secretsmanager.RotateSecretInput{SecretId: &id, ClientRequestToken: new("11111111-2222-3333-4444-555555555555")}
		if function != "" {
			in.RotationLambdaARN = &function
		}
		_, err := f.RotateSecret(f.ctx(), in)
		return err
	}
	wantError(t, rotate("none", ""), "ResourceNotFoundException", "")
	wantError(t, rotate("db", ""), "InvalidRequestException", "No Lambda rotation function ARN is associated with this secret.")
	wantError(t, rotate("db", "arn:aws:lambda:us-east-1:111122223333:function:rotate"), "AccessDeniedException", "Secrets Manager cannot invoke the specified Lambda function.")
}

func TestValidateResourcePolicy(t *testing.T) {
	f := newFixture(t)
	f.create("db", "v")
	for text, check := range map[string]string{
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"secretsmanager:GetSecretValue","Resource":"*"}]}`: "",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"secretsmanager:GetSecretValue","Resource":"*"}]}`:                    "Public Access",
		`{`: "JSON Validation",
	} {
		out, err := f.ValidateResourcePolicy(f.ctx(), &secretsmanager.ValidateResourcePolicyInput{SecretId: new("db"), ResourcePolicy: &text})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if len(out.ValidationErrors) > 0 {
			got = *out.ValidationErrors[0].CheckName
		}
		if got != check || *out.PolicyValidationPassed != (check == "") {
			t.Errorf("%s: %q, want %q", text, got, check)
		}
	}
	_, err := f.ValidateResourcePolicy(f.ctx(), &secretsmanager.ValidateResourcePolicyInput{SecretId: new("none"), ResourcePolicy: new("{}")})
	wantError(t, err, "ResourceNotFoundException", "")
}

func TestVersionsAndTagsAreListed(t *testing.T) {
	f := newFixture(t)
	f.create("db", "v")
	f.put("db", "one", "w")
	f.put("db", "two", "x")
	count := func(deprecated bool) int {
		t.Helper()
		out, err := f.ListSecretVersionIds(f.ctx(), &secretsmanager.ListSecretVersionIdsInput{SecretId: new("db"), IncludeDeprecated: &deprecated})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Versions)
	}
	if with, without := count(true), count(false); with != 3 || without != 2 {
		t.Errorf("%d versions with deprecated ones, %d without", with, without)
	}
	if _, err := f.TagResource(f.ctx(), &secretsmanager.TagResourceInput{SecretId: new("db"), Tags: []secretsmanager.Tag{{Key: new("a"), Value: new("1")}, {Key: new("b"), Value: new("2")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.UntagResource(f.ctx(), &secretsmanager.UntagResourceInput{SecretId: new("db"), TagKeys: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	d, err := f.DescribeSecret(f.ctx(), &secretsmanager.DescribeSecretInput{SecretId: new("db")})
	if err != nil || len(d.Tags) != 1 || *d.Tags[0].Key != "b" {
		t.Errorf("%+v, %v", d, err)
	}
}
