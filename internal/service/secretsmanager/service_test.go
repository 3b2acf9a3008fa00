package secretsmanager

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "111122223333"
	region  = "eu-west-1"
)

var t0 = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fixture is the service, called at a time that the test sets.
type fixture struct {
	*Service
	t  *testing.T
	at time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	key, err := seal.New([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{New(Config{Store: memory.New(), Clock: clock.System{}, Key: key}), t, t0}
}

func (f *fixture) ctx() context.Context { return f.as(account) }

func (f *fixture) as(account string) context.Context {
	return api.WithCall(f.t.Context(), &api.Call{
		Account: account, Region: region, Partition: "aws", Time: f.at, Identity: api.Identity{Root: true},
		Authorize: func(_ context.Context, _, arn string, _ map[string]string) error {
			if strings.Contains(arn, "forbidden") {
				return api.NewFault("AccessDeniedException", "no")
			}
			return nil
		},
	})
}

// token makes a client request token of a short name.
func token(name string) string { return name + strings.Repeat("-", 32-len(name)) }

func (f *fixture) create(name, value string) *secretsmanager.CreateSecretOutput {
	f.t.Helper()
	out, err := f.CreateSecret(f.ctx(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: &value, ClientRequestToken: new(token("v1"))})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func (f *fixture) put(id, version, value string, stages ...string) {
	f.t.Helper()
	if _, err := f.PutSecretValue(f.ctx(), &secretsmanager.PutSecretValueInput{SecretId: &id, ClientRequestToken: new(token(version)), SecretString: &value, VersionStages: stages}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) get(in *secretsmanager.GetSecretValueInput) string {
	f.t.Helper()
	out, err := f.GetSecretValue(f.ctx(), in)
	if err != nil {
		if e, ok := errors.AsType[api.Error](err); ok {
			return e.ErrorCode() + ": " + e.ErrorMessage()
		}
		f.t.Fatal(err)
	}
	if out.SecretString == nil {
		return fmt.Sprintf("binary %x", out.SecretBinary)
	}
	return *out.SecretString
}

func (f *fixture) value(id string) string {
	f.t.Helper()
	return f.get(&secretsmanager.GetSecretValueInput{SecretId: &id})
}

// stages tells the labels of each version.
func (f *fixture) stages(id string) map[string][]string {
	f.t.Helper()
	out, err := f.DescribeSecret(f.ctx(), &secretsmanager.DescribeSecretInput{SecretId: &id})
	if err != nil {
		f.t.Fatal(err)
	}
	got := map[string][]string{}
	for v, st := range out.VersionIdsToStages {
		got[strings.TrimRight(v, "-")] = st
	}
	return got
}

func wantError(t *testing.T, err error, code, message string) {
	t.Helper()
	e, ok := errors.AsType[api.Error](err)
	if !ok || e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), message) {
		t.Errorf("error %v, want %s: %s", err, code, message)
	}
}

func TestCreateAndFind(t *testing.T) {
	f := newFixture(t)
	out := f.create("prod/db", "hush")
	prefix := "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db"
	if !strings.HasPrefix(*out.ARN, prefix+"-") || len(*out.ARN) != len(prefix)+7 || *out.VersionId != token("v1") {
		t.Errorf("%s, %s", *out.ARN, *out.VersionId)
	}
	for _, id := range []string{"prod/db", *out.ARN, prefix} {
		if got := f.value(id); got != "hush" {
			t.Errorf("%s: %s", id, got)
		}
	}
	const missing = "ResourceNotFoundException: Secrets Manager can't find the specified secret."
	for _, id := range []string{"prod", prefix + "-abcdef", strings.Replace(*out.ARN, region, "us-east-1", 1), strings.Replace(*out.ARN, account, "444455556666", 1), "arn:aws:ssm:eu-west-1:111122223333:parameter/prod/db"} {
		if got := f.value(id); got != missing {
			t.Errorf("%s: %s", id, got)
		}
	}
	if got := f.value("sp ace"); !strings.HasPrefix(got, "ValidationException: Invalid name.") {
		t.Error(got)
	}
}

// A name that looks as if it ended in an ARN's suffix is no partial ARN.
func TestNameLikeAWholeARN(t *testing.T) {
	f := newFixture(t)
	out := f.create("name-a1b2c3", "v")
	if got := f.value(*out.ARN); got != "v" {
		t.Error(got)
	}
	if got := f.value("arn:aws:secretsmanager:eu-west-1:111122223333:secret:name-a1b2c3"); !strings.HasPrefix(got, "ResourceNotFound") {
		t.Error(got)
	}
}

func TestCreateTwice(t *testing.T) {
	f := newFixture(t)
	first := f.create("s", "v")
	if again := f.create("s", "v"); *again.ARN != *first.ARN {
		t.Errorf("the same request made %s and %s", *first.ARN, *again.ARN)
	}
	create := func(tok, value string) error {
		_, err := f.CreateSecret(f.ctx(), &secretsmanager.CreateSecretInput{Name: new("s"), SecretString: &value, ClientRequestToken: new(token(tok))})
		return err
	}
	wantError(t, create("v1", "other"), "ResourceExistsException", "You can't use ClientRequestToken "+token("v1")+" because that value is already in use for a version of secret "+*first.ARN)
	wantError(t, create("v2", "v"), "ResourceExistsException", "The operation failed because the secret s already exists.")
}

func TestRefusals(t *testing.T) {
	f := newFixture(t)
	f.create("s", "v")
	for want, call := range map[string]func() error{
		"InvalidParameterException: both a binary": func() error {
			_, err := f.CreateSecret(f.ctx(), &secretsmanager.CreateSecretInput{Name: new("x"), SecretString: new("a"), SecretBinary: []byte("b"), ClientRequestToken: new(token("t"))})
			return err
		},
		"InvalidParameterException: AddReplicaRegions": func() error {
			_, err := f.CreateSecret(f.ctx(), &secretsmanager.CreateSecretInput{Name: new("x"), AddReplicaRegions: []secretsmanager.ReplicaRegionType{{}}, ClientRequestToken: new(token("t"))})
			return err
		},
		"InvalidRequestException: You must provide a ClientRequestToken value.": func() error {
			_, err := f.CreateSecret(f.ctx(), &secretsmanager.CreateSecretInput{Name: new("x"), SecretString: new("a")})
			return err
		},
		"InvalidParameterException: either SecretString or SecretBinary": func() error {
			_, err := f.PutSecretValue(f.ctx(), &secretsmanager.PutSecretValueInput{SecretId: new("s"), ClientRequestToken: new(token("t"))})
			return err
		},
		"InvalidParameterException: between 7 and 30 days": func() error {
			_, err := f.DeleteSecret(f.ctx(), &secretsmanager.DeleteSecretInput{SecretId: new("s"), RecoveryWindowInDays: new(int64(6))})
			return err
		},
		"InvalidParameterException: in conjunction": func() error {
			_, err := f.DeleteSecret(f.ctx(), &secretsmanager.DeleteSecretInput{SecretId: new("s"), RecoveryWindowInDays: new(int64(7)), ForceDeleteWithoutRecovery: new(true)})
			return err
		},
		"ResourceExistsException: already in use": func() error {
			_, err := f.PutSecretValue(f.ctx(), &secretsmanager.PutSecretValueInput{SecretId: new("s"), ClientRequestToken: new(token("v1")), SecretString: new("w")})
			return err
		},
		"MalformedPolicyDocumentException: syntax": func() error {
			_, err := f.PutResourcePolicy(f.ctx(), &secretsmanager.PutResourcePolicyInput{SecretId: new("s"), ResourcePolicy: new("{}")})
			return err
		},
		"PublicPolicyException: broad access": func() error {
			_, err := f.PutResourcePolicy(f.ctx(), &secretsmanager.PutResourcePolicyInput{SecretId: new("s"), BlockPublicPolicy: new(true), ResourcePolicy: new(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"secretsmanager:GetSecretValue","Resource":"*"}}`)})
			return err
		},
		"InvalidParameterException: aws:": func() error {
			_, err := f.TagResource(f.ctx(), &secretsmanager.TagResourceInput{SecretId: new("s"), Tags: []secretsmanager.Tag{{Key: new("AWS:x"), Value: new("")}}})
			return err
		},
	} {
		code, message, _ := strings.Cut(want, ": ")
		wantError(t, call(), code, message)
	}
}

func TestVersions(t *testing.T) {
	f := newFixture(t)
	f.create("s", "one")
	f.put("s", "v2", "two")
	f.put("s", "v3", "three", model.StagePending)
	f.put("s", "v3", "three", model.StagePending) // the same request again
	want := map[string][]string{"v1": {"AWSPREVIOUS"}, "v2": {"AWSCURRENT"}, "v3": {"AWSPENDING"}}
	if d := cmp.Diff(want, f.stages("s")); d != "" {
		t.Error(d)
	}
	for _, tt := range []struct{ version, stage, want string }{
		{"", "", "two"},
		{"", "AWSPREVIOUS", "one"},
		{"", "AWSPENDING", "three"},
		{"v1", "", "one"},
		{"v2", "AWSCURRENT", "two"},
		{"v1", "AWSCURRENT", "InvalidRequestException: You provided a VersionStage that is not associated to the provided VersionId."},
		{"v9", "", "ResourceNotFoundException: Secrets Manager can't find the specified secret value for VersionId: " + token("v9")},
		{"", "MINE", "ResourceNotFoundException: Secrets Manager can't find the specified secret value for staging label: MINE"},
	} {
		in := &secretsmanager.GetSecretValueInput{SecretId: new("s")}
		if tt.version != "" {
			in.VersionId = new(token(tt.version))
		}
		if tt.stage != "" {
			in.VersionStage = &tt.stage
		}
		if got := f.get(in); got != tt.want {
			t.Errorf("%q %q: %s, want %s", tt.version, tt.stage, got, tt.want)
		}
	}
}

// UpdateSecret describes without making a version, and makes one with a value.
func TestUpdateSecret(t *testing.T) {
	f := newFixture(t)
	if _, err := f.CreateSecret(f.ctx(), &secretsmanager.CreateSecretInput{Name: new("s"), ClientRequestToken: new(token("v0"))}); err != nil {
		t.Fatal(err)
	}
	if got := f.value("s"); got != "ResourceNotFoundException: Secrets Manager can't find the specified secret value for staging label: AWSCURRENT" {
		t.Error(got)
	}
	out, err := f.UpdateSecret(f.ctx(), &secretsmanager.UpdateSecretInput{SecretId: new("s"), Description: new("d"), ClientRequestToken: new(token("v1"))})
	if err != nil || out.VersionId != nil {
		t.Errorf("%+v, %v", out, err)
	}
	out, err = f.UpdateSecret(f.ctx(), &secretsmanager.UpdateSecretInput{SecretId: new("s"), SecretBinary: []byte{0xff}, ClientRequestToken: new(token("v1"))})
	if err != nil || *out.VersionId != token("v1") {
		t.Errorf("%+v, %v", out, err)
	}
	if got := f.value("s"); got != "binary ff" {
		t.Error(got)
	}
}

func TestMoveStage(t *testing.T) {
	f := newFixture(t)
	f.create("s", "one")
	f.put("s", "v2", "two", "AWSPENDING")
	move := func(stage, from, to string) error {
		in := &secretsmanager.UpdateSecretVersionStageInput{SecretId: new("s"), VersionStage: &stage}
		if from != "" {
			in.RemoveFromVersionId = new(token(from))
		}
		if to != "" {
			in.MoveToVersionId = new(token(to))
		}
		_, err := f.UpdateSecretVersionStage(f.ctx(), in)
		return err
	}
	wantError(t, move("AWSCURRENT", "", "v2"), "InvalidParameterException", "The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently attached to version "+token("v1"))
	wantError(t, move("AWSCURRENT", "v1", ""), "InvalidParameterException", "You can only move staging label AWSCURRENT")
	wantError(t, move("AWSCURRENT", "v2", "v1"), "InvalidParameterException", "not found in version")
	wantError(t, move("X", "", "v9"), "InvalidParameterException", "Not a valid version")
	for _, m := range [][3]string{{"AWSCURRENT", "v1", "v2"}, {"AWSPENDING", "v2", ""}, {"MINE", "", "v1"}} {
		if err := move(m[0], m[1], m[2]); err != nil {
			t.Error(m, err)
		}
	}
	want := map[string][]string{"v1": {"AWSPREVIOUS", "MINE"}, "v2": {"AWSCURRENT"}}
	if d := cmp.Diff(want, f.stages("s")); d != "" {
		t.Error(d)
	}
}

// Whatever is put and moved, a label is at one version at most, and once there
// is a version one is current.
func TestStageProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		versions := map[string]model.SecretVersion{"0": {Stages: []string{model.StageCurrent}}}
		v := &model.Secret{Versions: versions}
		labels := rapid.SampledFrom([]string{model.StageCurrent, model.StagePrevious, model.StagePending, "MINE"})
		for i := range rapid.IntRange(1, 20).Draw(t, "steps") {
			stage := labels.Draw(t, "stage")
			if rapid.Bool().Draw(t, "new") {
				id := fmt.Sprint(i + 1)
				versions[id] = model.SecretVersion{}
				attach(versions, id, stage)
			} else {
				ids := rapid.SampledFrom(append(slices.Sorted(maps.Keys(versions)), ""))
				_ = moveStage(v, stage, ids.Draw(t, "from"), ids.Draw(t, "to"))
			}
			seen := map[string]string{}
			for id, version := range versions {
				for _, st := range version.Stages {
					if other, ok := seen[st]; ok {
						t.Fatalf("%s is at %s and at %s", st, other, id)
					}
					seen[st] = id
				}
			}
			if seen[model.StageCurrent] == "" {
				t.Fatal("no version is current")
			}
		}
	})
}

func TestDeprecatedVersionsGo(t *testing.T) {
	f := newFixture(t)
	f.create("s", "v")
	for i := 2; i <= maxVersions+5; i++ {
		f.at = f.at.Add(time.Hour)
		f.put("s", fmt.Sprintf("v%d", i), "v")
	}
	row, err := tables.Secrets.Get(t.Context(), f.Store, account, region, "s")
	if err != nil {
		t.Fatal(err)
	}
	values, err := tables.SecretValues.List(t.Context(), f.Store, store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if len(row.V.Versions) != maxVersions || len(values) != maxVersions {
		t.Errorf("%d versions and %d values are kept, want %d", len(row.V.Versions), len(values), maxVersions)
	}
	if _, ok := row.V.Versions[token("v1")]; ok {
		t.Error("the oldest is still there")
	}
}

func TestDeleteAndRestore(t *testing.T) {
	f := newFixture(t)
	first := f.create("s", "v")
	out, err := f.DeleteSecret(f.ctx(), &secretsmanager.DeleteSecretInput{SecretId: new("s"), RecoveryWindowInDays: new(int64(7))})
	if err != nil || !out.DeletionDate.Equal(t0.AddDate(0, 0, 7)) {
		t.Fatalf("%+v, %v", out, err)
	}
	const marked = "InvalidRequestException: You can't perform this operation on the secret because it was marked for deletion."
	if got := f.value("s"); got != marked {
		t.Error(got)
	}
	if d, err := f.DescribeSecret(f.ctx(), &secretsmanager.DescribeSecretInput{SecretId: new("s")}); err != nil || d.DeletedDate == nil {
		t.Errorf("%+v, %v", d, err)
	}
	_, err = f.CreateSecret(f.ctx(), &secretsmanager.CreateSecretInput{Name: new("s"), ClientRequestToken: new(token("v2"))})
	wantError(t, err, "InvalidRequestException", "You can't create this secret because a secret with this name is already scheduled for deletion.")
	if _, err := f.RestoreSecret(f.ctx(), &secretsmanager.RestoreSecretInput{SecretId: new("s")}); err != nil {
		t.Fatal(err)
	}
	if got := f.value("s"); got != "v" {
		t.Error(got)
	}
	if _, err := f.DeleteSecret(f.ctx(), &secretsmanager.DeleteSecretInput{SecretId: new("s")}); err != nil {
		t.Fatal(err)
	}
	f.at = t0.AddDate(0, 0, 30)
	if got := f.value("s"); !strings.HasPrefix(got, "ResourceNotFound") {
		t.Error("after its window:", got)
	}
	if again := f.create("s", "new"); *again.ARN == *first.ARN {
		t.Error("the new secret has the old one's ARN")
	}
}

func TestForceDeleteAndPurgeLeaveNothing(t *testing.T) {
	f := newFixture(t)
	f.create("now", "v")
	f.create("later", "v")
	for range 2 { // the second finds nothing, which is no error
		if _, err := f.DeleteSecret(f.ctx(), &secretsmanager.DeleteSecretInput{SecretId: new("now"), ForceDeleteWithoutRecovery: new(true)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.DeleteSecret(f.ctx(), &secretsmanager.DeleteSecretInput{SecretId: new("later")}); err != nil {
		t.Fatal(err)
	}
	left := func() int {
		secrets, err1 := tables.Secrets.List(t.Context(), f.Store, store.Query{})
		values, err2 := tables.SecretValues.List(t.Context(), f.Store, store.Query{})
		if err := errors.Join(err1, err2, f.Purge(t.Context(), f.at)); err != nil {
			t.Fatal(err)
		}
		return len(secrets) + len(values)
	}
	if n := left(); n != 2 {
		t.Errorf("%d records before the window has passed, want 2", n)
	}
	f.at = t0.AddDate(0, 0, 31)
	left()
	if n := left(); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

func TestListSecrets(t *testing.T) {
	f := newFixture(t)
	for i, s := range []struct{ name, description, key, tag string }{
		{"prod/db", "Main database", "team", "core"}, {"prod/api", "Key of the API", "team", "web"}, {"test/db", "", "owner", "core"},
	} {
		f.at = t0.Add(time.Duration(i) * time.Hour)
		if _, err := f.CreateSecret(f.ctx(), &secretsmanager.CreateSecretInput{
			Name: &s.name, Description: &s.description, ClientRequestToken: new(token("v")), Tags: []secretsmanager.Tag{{Key: &s.key, Value: &s.tag}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	list := func(in *secretsmanager.ListSecretsInput) string {
		var names []string
		for {
			out, err := f.ListSecrets(f.ctx(), in)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range out.SecretList {
				names = append(names, *e.Name)
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				return strings.Join(names, " ")
			}
		}
	}
	filter := func(key, value string) *secretsmanager.ListSecretsInput {
		return &secretsmanager.ListSecretsInput{Filters: []secretsmanager.Filter{{Key: secretsmanager.FilterNameStringType(key), Values: []string{value}}}}
	}
	for _, tt := range []struct {
		in   *secretsmanager.ListSecretsInput
		want string
	}{
		{&secretsmanager.ListSecretsInput{}, "test/db prod/api prod/db"},
		{&secretsmanager.ListSecretsInput{MaxResults: new(int32(1))}, "test/db prod/api prod/db"},
		{&secretsmanager.ListSecretsInput{SortOrder: secretsmanager.SortOrderTypeAsc, MaxResults: new(int32(2))}, "prod/db prod/api test/db"},
		{&secretsmanager.ListSecretsInput{SortOrder: secretsmanager.SortOrderTypeAsc, SortBy: secretsmanager.SortByTypeName}, "prod/api prod/db test/db"},
		{filter("name", "prod/"), "prod/api prod/db"},
		{filter("name", "!prod/"), "test/db"},
		{filter("description", "DATA"), "prod/db"},
		{filter("tag-key", "te"), "prod/api prod/db"},
		{filter("tag-value", "core"), "test/db prod/db"},
		{filter("all", "api"), "prod/api"},
		{filter("owning-service", "x"), ""},
	} {
		if got := list(tt.in); got != tt.want {
			t.Errorf("%+v: %s, want %s", *tt.in, got, tt.want)
		}
	}
	_, err := f.ListSecrets(f.ctx(), &secretsmanager.ListSecretsInput{NextToken: new("?")})
	wantError(t, err, "InvalidNextTokenException", "")
}

func TestBatch(t *testing.T) {
	f := newFixture(t)
	f.create("a", "1")
	f.create("forbidden", "2")
	out, err := f.BatchGetSecretValue(f.ctx(), &secretsmanager.BatchGetSecretValueInput{SecretIdList: []string{"a", "forbidden", "none"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.SecretValues) != 1 || *out.SecretValues[0].SecretString != "1" {
		t.Errorf("%+v", out.SecretValues)
	}
	if len(out.Errors) != 2 || *out.Errors[0].ErrorCode != "AccessDeniedException" || *out.Errors[1].ErrorCode != "ResourceNotFoundException" {
		t.Errorf("%+v", out.Errors)
	}
}

func TestNothingReadableInTheStore(t *testing.T) {
	f := newFixture(t)
	out := f.create("s", "correct horse battery staple")
	rows, _, err := f.Store.List(t.Context(), store.Query{Kind: tables.SecretValues.Kind()})
	if err != nil || len(rows) != 1 {
		t.Fatal(len(rows), err)
	}
	if strings.Contains(string(rows[0].Value), "horse") {
		t.Error("the value is readable")
	}
	if rows[0].Key.ID != *out.ARN+"/"+token("v1") {
		t.Error(rows[0].Key.ID)
	}
}

func TestLastAccessedIsADay(t *testing.T) {
	f := newFixture(t)
	f.create("s", "v")
	before := f.Store.Revision()
	f.value("s")
	f.at = t0.Add(time.Hour)
	f.value("s")
	if n := f.Store.Revision() - before; n != 1 {
		t.Errorf("two reads on a day wrote %d times, want once", n)
	}
	out, err := f.DescribeSecret(f.ctx(), &secretsmanager.DescribeSecretInput{SecretId: new("s")})
	if err != nil || !out.LastAccessedDate.Equal(time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%v, %v", out.LastAccessedDate, err)
	}
}

func TestRandomPasswordProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		flag := func(name string) *bool { return new(rapid.Bool().Draw(t, name)) }
		in := &secretsmanager.GetRandomPasswordInput{
			ExcludeLowercase: flag("lower"), ExcludeUppercase: flag("upper"), ExcludeNumbers: flag("numbers"), ExcludePunctuation: flag("punctuation"),
			IncludeSpace: flag("space"), ExcludeCharacters: new(rapid.StringOf(rapid.SampledFrom([]rune("aA0!é "))).Draw(t, "exclude")),
		}
		n := rapid.IntRange(1, 60).Draw(t, "length")
		p, err := randomPassword(n, in)
		if err != nil {
			if api.Code(err) != "InvalidParameterException" {
				t.Fatal(err)
			}
			return
		}
		if len(p) != n || strings.ContainsAny(p, *in.ExcludeCharacters) {
			t.Fatalf("%q", p)
		}
		for _, k := range []struct {
			letters string
			exclude bool
		}{{lowercase, *in.ExcludeLowercase}, {uppercase, *in.ExcludeUppercase}, {numbers, *in.ExcludeNumbers}, {punctuation, *in.ExcludePunctuation}} {
			if strings.ContainsAny(p, k.letters) == k.exclude {
				t.Fatalf("%q with %q, exclude %v", p, k.letters, k.exclude)
			}
		}
	})
}

func TestScopeAndPolicy(t *testing.T) {
	f := newFixture(t)
	out := f.create("s", "v")
	scope := func(in any) (string, map[string]string) {
		arns, keys := f.ScopeOf(f.ctx(), nil, in)
		return strings.Join(arns, " "), keys
	}
	if arn, keys := scope(&secretsmanager.GetSecretValueInput{SecretId: new("s")}); arn != *out.ARN || keys["secretsmanager:VersionStage"] != "AWSCURRENT" {
		t.Error(arn, keys)
	}
	if arn, _ := scope(&secretsmanager.DescribeSecretInput{SecretId: new("none")}); arn != "arn:aws:secretsmanager:eu-west-1:111122223333:secret:none" {
		t.Error(arn)
	}
	if arn, keys := scope(&secretsmanager.CreateSecretInput{Name: new("n"), Tags: []secretsmanager.Tag{{Key: new("k"), Value: new("v")}}}); arn != "arn:aws:secretsmanager:eu-west-1:111122223333:secret:n-??????" || keys["aws:RequestTag/k"] != "v" {
		t.Error(arn, keys)
	}
	if arn, _ := scope(&secretsmanager.ListSecretsInput{}); arn != "" {
		t.Error(arn)
	}
	const text = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"*","Resource":"*"}}`
	if _, err := f.PutResourcePolicy(f.ctx(), &secretsmanager.PutResourcePolicyInput{SecretId: new("s"), ResourcePolicy: new(text)}); err != nil {
		t.Fatal(err)
	}
	policy, owner, err := f.PolicyOf(f.as("444455556666"), *out.ARN)
	if policy != text || owner != account || err != nil {
		t.Error(policy, owner, err)
	}
	if _, err := f.DeleteResourcePolicy(f.ctx(), &secretsmanager.DeleteResourcePolicyInput{SecretId: new("s")}); err != nil {
		t.Fatal(err)
	}
	if got, err := f.GetResourcePolicy(f.ctx(), &secretsmanager.GetResourcePolicyInput{SecretId: new("s")}); err != nil || got.ResourcePolicy != nil {
		t.Errorf("%+v, %v", got, err)
	}
}
