package ecr

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/registrytest"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const friend = "111122223333"

const letsFriendIn = `{"Version":"2012-10-17","Statement":[{"Sid":"all","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"ecr:*","Resource":"*"}]}`

func TestRegistryPolicy(t *testing.T) {
	f := newFixture(t)
	ctx, stranger := f.root(), f.as(friend, rootOf(friend))
	f.create("web")
	_, err := f.GetRegistryPolicy(ctx, &ecr.GetRegistryPolicyInput{})
	wantCode(t, err, "RegistryPolicyNotFoundException", "Registry policy does not exist in the registry with id '000000000000'")
	_, err = f.DeleteRegistryPolicy(ctx, &ecr.DeleteRegistryPolicyInput{})
	wantCode(t, err, "RegistryPolicyNotFoundException", "")
	_, err = f.PutRegistryPolicy(ctx, &ecr.PutRegistryPolicyInput{PolicyText: new("{}")})
	wantCode(t, err, "InvalidParameterException", "Invalid registry policy provided")

	describe := func() error {
		_, err := f.DescribeImages(stranger, &ecr.DescribeImagesInput{RegistryId: new(account), RepositoryName: new("web")})
		return err
	}
	wantCode(t, describe(), "AccessDeniedException", "ecr:DescribeImages")
	if _, err := f.PutRegistryPolicy(ctx, &ecr.PutRegistryPolicyInput{PolicyText: new(letsFriendIn)}); err != nil {
		t.Fatal(err)
	}
	if err := describe(); err != nil {
		t.Errorf("allowed by the registry's policy: %v", err)
	}
	if text, owner, err := f.PolicyOf(ctx, "arn:aws:ecr:us-east-1:000000000000:repository/web"); err != nil || text != letsFriendIn || owner != account {
		t.Errorf("%q of %s, %v", text, owner, err)
	}
	// The first version of its scope speaks of bringing images alone.
	if _, err := f.PutAccountSetting(ctx, &ecr.PutAccountSettingInput{Name: new("REGISTRY_POLICY_SCOPE"), Value: new("V1")}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, describe(), "AccessDeniedException", "ecr:DescribeImages")
	if _, err := f.CreateRepository(stranger, &ecr.CreateRepositoryInput{RegistryId: new(account), RepositoryName: new("theirs")}); err != nil {
		t.Errorf("CreateRepository is in the first scope: %v", err)
	}
	out, err := f.DeleteRegistryPolicy(ctx, &ecr.DeleteRegistryPolicyInput{})
	if err != nil || *out.PolicyText != letsFriendIn {
		t.Errorf("%+v %v", out, err)
	}
}

// A repository's policy and the registry's hold together, in docker's protocol
// too.
func TestPoliciesJoin(t *testing.T) {
	f := newFixture(t)
	f.create("web")
	deny := strings.Replace(strings.Replace(letsFriendIn, "Allow", "Deny", 1), "ecr:*", "ecr:ListImages", 1)
	deny = strings.Replace(deny, `,"Resource":"*"`, "", 1)
	if _, err := f.PutRegistryPolicy(f.root(), &ecr.PutRegistryPolicyInput{PolicyText: new(letsFriendIn)}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.SetRepositoryPolicy(f.root(), &ecr.SetRepositoryPolicyInput{RepositoryName: new("web"), PolicyText: new(deny)}); err != nil {
		t.Fatal(err)
	}
	ctx := f.as(friend, rootOf(friend))
	_, err := f.ListImages(ctx, &ecr.ListImagesInput{RegistryId: new(account), RepositoryName: new("web")})
	wantCode(t, err, "AccessDeniedException", "explicit deny")
	if _, err := f.DescribeImages(ctx, &ecr.DescribeImagesInput{RegistryId: new(account), RepositoryName: new("web")}); err != nil {
		t.Error(err)
	}
	repo, err := f.Catalog.Repository(t.Context(), registrytest.Space, "web")
	if err != nil || !strings.Contains(repo.Policy, "ecr:ListImages") || !strings.Contains(repo.Policy, `"ecr:*"`) {
		t.Errorf("%+v %v", repo, err)
	}
}

func TestAccountSettings(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct{ name, value, was, refused string }{
		{"BASIC_SCAN_TYPE_VERSION", "AWS_NATIVE", "AWS_NATIVE", "CLAIR"},
		{"REGISTRY_POLICY_SCOPE", "V1", "V2", "V3"},
		{"BLOB_MOUNTING", "ENABLED", "ENABLED", "DISABLED"},
	} {
		get := func() string {
			out, err := f.GetAccountSetting(f.root(), &ecr.GetAccountSettingInput{Name: new(c.name)})
			if err != nil {
				t.Fatal(err)
			}
			return *out.Value
		}
		if got := get(); got != c.was {
			t.Errorf("%s is %s at first, want %s", c.name, got, c.was)
		}
		if _, err := f.PutAccountSetting(f.root(), &ecr.PutAccountSettingInput{Name: new(c.name), Value: new(c.value)}); err != nil || get() != c.value {
			t.Errorf("%s: %v", c.name, err)
		}
		_, err := f.PutAccountSetting(f.root(), &ecr.PutAccountSettingInput{Name: new(c.name), Value: new(c.refused)})
		wantCode(t, err, "InvalidParameterException", c.refused)
	}
	_, err := f.GetAccountSetting(f.root(), &ecr.GetAccountSettingInput{Name: new("OTHER")})
	wantCode(t, err, "InvalidParameterException", "OTHER")
}

func TestScanning(t *testing.T) {
	f := newFixture(t)
	ctx := f.root()
	f.create("plain")
	if _, err := f.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: new("scanned"), ImageScanningConfiguration: &ecr.ImageScanningConfiguration{ScanOnPush: new(true)}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain", "scanned"} {
		f.push(name, "v1")
	}
	status := func(name, tag string) string {
		t.Helper()
		out, err := f.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: new(name), ImageIds: []ecr.ImageIdentifier{{ImageTag: new(tag)}}})
		if err != nil {
			t.Fatal(err)
		}
		if s := out.ImageDetails[0].ImageScanStatus; s != nil {
			return string(s.Status) + " " + *s.Description
		}
		return ""
	}
	const failed = "FAILED UnsupportedImageError: The operating system and/or package manager are not supported."
	if plain, scanned := status("plain", "v1"), status("scanned", "v1"); plain != "" || scanned != failed {
		t.Errorf("plain %q, scanned %q", plain, scanned)
	}
	v1 := &ecr.ImageIdentifier{ImageTag: new("v1")}
	_, err := f.DescribeImageScanFindings(ctx, &ecr.DescribeImageScanFindingsInput{RepositoryName: new("plain"), ImageId: v1})
	wantCode(t, err, "ScanNotFoundException", "Image scan does not exist for the image with '{imageDigest:'null', imageTag:'v1'}' in the repository with name 'plain' in the registry with id '000000000000'")
	_, err = f.StartImageScan(ctx, &ecr.StartImageScanInput{RepositoryName: new("plain"), ImageId: &ecr.ImageIdentifier{ImageTag: new("none")}})
	wantCode(t, err, "ImageNotFoundException", "")
	if out, err := f.StartImageScan(ctx, &ecr.StartImageScanInput{RepositoryName: new("plain"), ImageId: v1}); err != nil || out.ImageScanStatus.Status != ecr.ScanStatusInProgress {
		t.Errorf("%+v %v", out, err)
	}
	_, err = f.StartImageScan(ctx, &ecr.StartImageScanInput{RepositoryName: new("plain"), ImageId: v1})
	wantCode(t, err, "LimitExceededException", "The scan quota per image has been exceeded. Wait and try again.")
	out, err := f.DescribeImageScanFindings(ctx, &ecr.DescribeImageScanFindingsInput{RepositoryName: new("plain"), ImageId: v1})
	if err != nil || out.ImageScanStatus.Status != ecr.ScanStatusFailed || out.ImageScanFindings != nil {
		t.Errorf("%+v %v", out, err)
	}

	// The registry's rules count instead of the repositories' settings.
	rule := func(freq ecr.ScanFrequency, filter string) []ecr.RegistryScanningRule {
		return []ecr.RegistryScanningRule{{ScanFrequency: freq, RepositoryFilters: []ecr.ScanningRepositoryFilter{{Filter: new(filter), FilterType: "WILDCARD"}}}}
	}
	for _, in := range []*ecr.PutRegistryScanningConfigurationInput{
		{ScanType: "ENHANCED"},
		{Rules: rule("CONTINUOUS_SCAN", "*")},
		{Rules: append(rule("MANUAL", "*"), rule("MANUAL", "a*")...)},
	} {
		_, err := f.PutRegistryScanningConfiguration(ctx, in)
		wantCode(t, err, "InvalidParameterException", "")
	}
	if _, err := f.PutRegistryScanningConfiguration(ctx, &ecr.PutRegistryScanningConfigurationInput{ScanType: "BASIC", Rules: rule("SCAN_ON_PUSH", "pl*")}); err != nil {
		t.Fatal(err)
	}
	got, err := f.BatchGetRepositoryScanningConfiguration(ctx, &ecr.BatchGetRepositoryScanningConfigurationInput{RepositoryNames: []string{"plain", "scanned", "none"}})
	if err != nil || !*got.ScanningConfigurations[0].ScanOnPush || *got.ScanningConfigurations[1].ScanOnPush || *got.Failures[0].RepositoryName != "none" {
		t.Errorf("%+v %v", got, err)
	}
	for _, name := range []string{"plain", "scanned"} {
		f.push(name, "v2")
	}
	if plain, scanned := status("plain", "v2"), status("scanned", "v2"); plain != failed || scanned != "" {
		t.Errorf("plain %q, scanned %q", plain, scanned)
	}
}

func TestLifecyclePolicyPreview(t *testing.T) {
	f := newFixture(t)
	ctx := f.root()
	f.create("web")
	name := new("web")
	_, err := f.StartLifecyclePolicyPreview(ctx, &ecr.StartLifecyclePolicyPreviewInput{RepositoryName: name})
	wantCode(t, err, "LifecyclePolicyNotFoundException", "")
	_, err = f.GetLifecyclePolicyPreview(ctx, &ecr.GetLifecyclePolicyPreviewInput{RepositoryName: name})
	wantCode(t, err, "LifecyclePolicyPreviewNotFoundException", "Lifecycle policy preview does not exist for the repository with name 'web' in the registry with id '000000000000'")
	for _, tag := range []string{"v1", "v2", "v3"} {
		f.push("web", tag)
	}
	const policy = `{"rules":[{"rulePriority":7,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}`
	start, err := f.StartLifecyclePolicyPreview(ctx, &ecr.StartLifecyclePolicyPreviewInput{RepositoryName: name, LifecyclePolicyText: new(policy)})
	if err != nil || start.Status != "IN_PROGRESS" {
		t.Fatalf("%+v %v", start, err)
	}
	var seen []string
	in := &ecr.GetLifecyclePolicyPreviewInput{RepositoryName: name, MaxResults: new(int32(1))}
	for {
		out, err := f.GetLifecyclePolicyPreview(ctx, in)
		if err != nil || out.Status != "COMPLETE" || *out.Summary.ExpiringImageTotalCount != 2 {
			t.Fatalf("%+v %v", out, err)
		}
		for _, r := range out.PreviewResults {
			if *r.AppliedRulePriority != 7 || r.Action.Type != "EXPIRE" {
				t.Errorf("%+v", r)
			}
			seen = append(seen, r.ImageTags...)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if len(seen) != 2 {
		t.Errorf("expiring: %q, want two", seen)
	}
	// Nothing was expired.
	if out, err := f.ListImages(ctx, &ecr.ListImagesInput{RepositoryName: name}); err != nil || len(out.ImageIds) != 3 {
		t.Errorf("%+v %v", out, err)
	}
}

// upstreamsFake knows one secret.
type upstreamsFake struct{ valid error }

const secretARN = "arn:aws:secretsmanager:us-east-1:000000000000:secret:ecr-pullthroughcache/hub-AbCdEf"

func (u upstreamsFake) Secret(_ context.Context, _ registry.Space, arn string) error {
	if arn == secretARN {
		return nil
	}
	return notThere{}
}

func (u upstreamsFake) Check(context.Context, registry.Space, *model.ECRPullThroughRule) error {
	return u.valid
}

type notThere struct{ api.Fault }

func (notThere) Error() string        { return "no such secret" }
func (notThere) ErrorCode() string    { return "ResourceNotFoundException" }
func (notThere) ErrorMessage() string { return "no such secret" }
func (notThere) HTTPStatus() int      { return http.StatusBadRequest }

func TestPullThroughCacheRules(t *testing.T) {
	f := newFixture(t)
	f.Upstreams = upstreamsFake{}
	ctx := f.root()
	create := func(prefix, url, secret string) error {
		in := &ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: new(prefix), UpstreamRegistryUrl: new(url)}
		if secret != "" {
			in.CredentialArn = new(secret)
		}
		_, err := f.CreatePullThroughCacheRule(ctx, in)
		return err
	}
	for _, c := range []struct{ url, secret, code, message string }{
		{"harbor.example.com", "", "UnsupportedUpstreamRegistryException", "The upstream registry URL harbor.example.com is invalid. Specify a valid upstream registry URL and try again"},
		{"registry-1.docker.io", "", "UnsupportedUpstreamRegistryException", "The specified upstream registry requires authentication. Specify a valid Secrets Manager ARN"},
		{"registry-1.docker.io", strings.Replace(secretARN, "hub", "none", 1), "SecretNotFoundException", "The ARN of the secret specified in the pull through cache rule was not found."},
		{"registry-1.docker.io", strings.Replace(secretARN, "us-east-1", "eu-west-1", 1), "UnableToAccessSecretException", ""},
		{"quay.io", secretARN, "InvalidParameterException", "credentialArn"},
	} {
		wantCode(t, create("x", c.url, c.secret), c.code, c.message)
	}
	for prefix, url := range map[string]string{"quay": "quay.io", "ecr-public/": "public.ecr.aws", "k8s": "registry.k8s.io"} {
		if err := create(prefix, url, ""); err != nil {
			t.Error(err)
		}
	}
	if err := create("hub", "https://registry-1.docker.io", secretARN); err != nil {
		t.Fatal(err)
	}
	wantCode(t, create("quay", "quay.io", ""), "PullThroughCacheRuleAlreadyExistsException", "The pull through cache rule with prefix 'quay' already exists in the registry with id '000000000000'")

	out, err := f.DescribePullThroughCacheRules(ctx, &ecr.DescribePullThroughCacheRulesInput{EcrRepositoryPrefixes: []string{"hub"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []ecr.PullThroughCacheRule{{
		CreatedAt: new(now(ctx)), UpdatedAt: new(now(ctx)), CredentialArn: new(secretARN), EcrRepositoryPrefix: new("hub"), RegistryId: new(account),
		UpstreamRegistry: "docker-hub", UpstreamRegistryUrl: new("registry-1.docker.io"),
	}}
	if diff := cmp.Diff(want, out.PullThroughCacheRules); diff != "" {
		t.Error(diff)
	}
	var all []string
	in := &ecr.DescribePullThroughCacheRulesInput{MaxResults: new(int32(3))}
	for {
		out, err := f.DescribePullThroughCacheRules(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.PullThroughCacheRules {
			all = append(all, *r.EcrRepositoryPrefix)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if strings.Join(all, " ") != "ecr-public hub k8s quay" {
		t.Errorf("all rules: %q", all)
	}
	_, err = f.DescribePullThroughCacheRules(ctx, &ecr.DescribePullThroughCacheRulesInput{NextToken: new("nonsense")})
	wantCode(t, err, "InvalidParameterException", "nextToken")

	if out, err := f.ValidatePullThroughCacheRule(ctx, &ecr.ValidatePullThroughCacheRuleInput{EcrRepositoryPrefix: new("hub")}); err != nil || !*out.IsValid {
		t.Errorf("%+v %v", out, err)
	}
	f.Upstreams = upstreamsFake{valid: notThere{}}
	if out, err := f.ValidatePullThroughCacheRule(ctx, &ecr.ValidatePullThroughCacheRuleInput{EcrRepositoryPrefix: new("hub")}); err != nil || *out.IsValid || *out.Failure != "no such secret" {
		t.Errorf("%+v %v", out, err)
	}
	_, err = f.UpdatePullThroughCacheRule(ctx, &ecr.UpdatePullThroughCacheRuleInput{EcrRepositoryPrefix: new("quay"), CredentialArn: new(secretARN)})
	wantCode(t, err, "InvalidParameterException", "does not take credentials")
	if _, err := f.UpdatePullThroughCacheRule(ctx, &ecr.UpdatePullThroughCacheRuleInput{EcrRepositoryPrefix: new("hub"), CredentialArn: new(secretARN)}); err != nil {
		t.Error(err)
	}
	if _, err := f.DeletePullThroughCacheRule(ctx, &ecr.DeletePullThroughCacheRuleInput{EcrRepositoryPrefix: new("hub")}); err != nil {
		t.Error(err)
	}
	_, err = f.DeletePullThroughCacheRule(ctx, &ecr.DeletePullThroughCacheRuleInput{EcrRepositoryPrefix: new("hub")})
	wantCode(t, err, "PullThroughCacheRuleNotFoundException", "The pull through cache rule with prefix 'hub' does not exist in the registry with id '000000000000'")
	_, err = f.DescribePullThroughCacheRules(f.as(friend, rootOf(friend)), &ecr.DescribePullThroughCacheRulesInput{RegistryId: new(account)})
	wantCode(t, err, "AccessDeniedException", "")
}

func TestCreationTemplates(t *testing.T) {
	f := newFixture(t)
	ctx := f.root()
	applied := []ecr.RCTAppliedFor{"PULL_THROUGH_CACHE", "REPLICATION"}
	for _, in := range []*ecr.CreateRepositoryCreationTemplateInput{
		{},
		{AppliedFor: applied, EncryptionConfiguration: &ecr.EncryptionConfigurationForRepositoryCreationTemplate{EncryptionType: "KMS"}},
		{AppliedFor: applied, ImageTagMutability: "IMMUTABLE_WITH_EXCLUSION"},
		{AppliedFor: applied, LifecyclePolicy: new("{}")},
		{AppliedFor: applied, RepositoryPolicy: new("{}")},
		{AppliedFor: applied, ResourceTags: []ecr.Tag{{Key: new("k"), Value: new("v")}}},
		{AppliedFor: applied, CustomRoleArn: new("arn:aws:iam::000000000000:role/none")},
	} {
		in.Prefix = new("team")
		_, err := f.CreateRepositoryCreationTemplate(ctx, in)
		wantCode(t, err, "InvalidParameterException", "")
	}
	tx := store.NewTxn()
	tables.Roles.Put(tx, account, "", "maker", &model.Role{IAMPrincipal: model.IAMPrincipal{ARN: "arn:aws:iam::000000000000:role/maker"}})
	if _, err := tx.Commit(t.Context(), f.Store); err != nil {
		t.Fatal(err)
	}
	in := &ecr.CreateRepositoryCreationTemplateInput{
		Prefix: new("team"), AppliedFor: applied, ImageTagMutability: "IMMUTABLE", Description: new("ours"),
		ResourceTags: []ecr.Tag{{Key: new("k"), Value: new("v")}}, CustomRoleArn: new("arn:aws:iam::000000000000:role/maker"),
	}
	if _, err := f.CreateRepositoryCreationTemplate(ctx, in); err != nil {
		t.Fatal(err)
	}
	_, err := f.CreateRepositoryCreationTemplate(ctx, in)
	wantCode(t, err, "TemplateAlreadyExistsException", "team")
	if _, err := f.CreateRepositoryCreationTemplate(ctx, &ecr.CreateRepositoryCreationTemplateInput{Prefix: new("ROOT"), AppliedFor: applied}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.UpdateRepositoryCreationTemplate(ctx, &ecr.UpdateRepositoryCreationTemplateInput{Prefix: new("team"), AppliedFor: applied[:1]}); err != nil {
		t.Fatal(err)
	}
	_, err = f.UpdateRepositoryCreationTemplate(ctx, &ecr.UpdateRepositoryCreationTemplateInput{Prefix: new("none")})
	wantCode(t, err, "TemplateNotFoundException", "none")
	out, err := f.DescribeRepositoryCreationTemplates(ctx, &ecr.DescribeRepositoryCreationTemplatesInput{Prefixes: []string{"team", "none"}})
	if err != nil || len(out.RepositoryCreationTemplates) != 1 || out.RepositoryCreationTemplates[0].ImageTagMutability != "IMMUTABLE" || len(out.RepositoryCreationTemplates[0].AppliedFor) != 1 {
		t.Errorf("%+v %v", out, err)
	}
	// The longest prefix that is for the reason.
	for name, want := range map[string]string{"team/app": "IMMUTABLE", "teamwork/app": "MUTABLE"} {
		if err := f.Catalog.Provide(t.Context(), registrytest.Space, name, "PULL_THROUGH_CACHE"); err != nil {
			t.Fatal(err)
		}
		if row, err := f.Catalog.Row(t.Context(), registrytest.Space, name); err != nil || row.V.TagMutability != want {
			t.Errorf("%s: %+v %v", name, row.V, err)
		}
	}
	if _, err := f.DeleteRepositoryCreationTemplate(ctx, &ecr.DeleteRepositoryCreationTemplateInput{Prefix: new("team")}); err != nil {
		t.Error(err)
	}
	_, err = f.DeleteRepositoryCreationTemplate(ctx, &ecr.DeleteRepositoryCreationTemplateInput{Prefix: new("team")})
	wantCode(t, err, "TemplateNotFoundException", "")
}

func TestReplicationConfiguration(t *testing.T) {
	f := newFixture(t)
	ctx := f.root()
	put := func(region, id string) error {
		_, err := f.PutReplicationConfiguration(ctx, &ecr.PutReplicationConfigurationInput{ReplicationConfiguration: &ecr.ReplicationConfiguration{Rules: []ecr.ReplicationRule{{
			Destinations:      []ecr.ReplicationDestination{{Region: new(region), RegistryId: new(id)}},
			RepositoryFilters: []ecr.RepositoryFilter{{Filter: new("prod"), FilterType: "PREFIX_MATCH"}},
		}}}})
		return err
	}
	wantCode(t, put("us-east-1", account), "InvalidParameterException", "the source registry cannot be a destination")
	if err := put("eu-west-1", account); err != nil {
		t.Fatal(err)
	}
	out, err := f.DescribeRegistry(ctx, &ecr.DescribeRegistryInput{})
	if err != nil || *out.ReplicationConfiguration.Rules[0].RepositoryFilters[0].Filter != "prod" {
		t.Errorf("%+v %v", out, err)
	}
	f.create("prod-web")
	digest := f.push("prod-web", "v1")
	status, err := f.DescribeImageReplicationStatus(ctx, &ecr.DescribeImageReplicationStatusInput{RepositoryName: new("prod-web"), ImageId: &ecr.ImageIdentifier{ImageTag: new("v1")}})
	if err != nil || len(status.ReplicationStatuses) != 1 || status.ReplicationStatuses[0].Status != "IN_PROGRESS" {
		t.Errorf("%s: %+v %v", digest, status, err)
	}
}
