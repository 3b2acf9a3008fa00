package ecr

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Upstreams reaches the registries that pull through cache rules lead to.
type Upstreams interface {
	// Secret tells whether a rule's credentials can be read.
	Secret(ctx context.Context, sp registry.Space, arn string) error
	// Check tells why a rule does not work, nil when it does.
	Check(ctx context.Context, sp registry.Space, rule *model.ECRPullThroughRule) error
}

// upstreams are the registries that AWS lets rules lead to, and whether they
// want credentials.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreatePullThroughCacheRule.html
var upstreams = []struct {
	kind   ecr.UpstreamRegistry
	host   *regexp.Regexp
	secret bool
}{
	{ecr.UpstreamRegistryEcrPublic, regexp.MustCompile(`^public\.ecr\.aws$`), false},
	{ecr.UpstreamRegistryQuay, regexp.MustCompile(`^quay\.io$`), false},
	{ecr.UpstreamRegistryK8s, regexp.MustCompile(`^registry\.k8s\.io$`), false},
	{ecr.UpstreamRegistryDockerHub, regexp.MustCompile(`^registry-1\.docker\.io$`), true},
	{ecr.UpstreamRegistryGithubContainerRegistry, regexp.MustCompile(`^ghcr\.io$`), true},
	{ecr.UpstreamRegistryAzureContainerRegistry, regexp.MustCompile(`^[a-z0-9-]+\.azurecr\.io$`), true},
	{ecr.UpstreamRegistryGitlabContainerRegistry, regexp.MustCompile(`^registry\.gitlab\.com$`), true},
	{ecr.UpstreamRegistryChainguard, regexp.MustCompile(`^cgr\.dev$`), true},
}

// maxRules is how many rules a registry may have.
const maxRules = 50

func ruleNotFound(sp registry.Space, prefix string) error {
	return ecr.NewPullThroughCacheRuleNotFoundException("The pull through cache rule with prefix '%s' does not exist in the registry with id '%s'", prefix, sp.Account)
}

// rulePrefix is a prefix as records keep it.
func rulePrefix(p *string) string { return strings.TrimSuffix(orEmpty(p), "/") }

// own refuses registries of others, whose settings nobody else can change.
func own(ctx context.Context, action string, registryID *string) (registry.Space, error) {
	sp, c := space(ctx, registryID), api.CallFrom(ctx)
	if sp.Account != c.Account {
		return sp, denied(c.Identity, action, model.MakeARN("ecr", sp.Region, sp.Account, "*"), "because no resource-based policy allows the "+action+" action")
	}
	return sp, nil
}

// CreatePullThroughCacheRule implements ecr.Handler.
func (s *Service) CreatePullThroughCacheRule(ctx context.Context, in *ecr.CreatePullThroughCacheRuleInput) (*ecr.CreatePullThroughCacheRuleOutput, error) {
	sp, err := own(ctx, "ecr:CreatePullThroughCacheRule", in.RegistryId)
	if err != nil {
		return nil, err
	}
	url := strings.TrimSuffix(strings.TrimPrefix(*in.UpstreamRegistryUrl, "https://"), "/")
	rule := &model.ECRPullThroughRule{
		Prefix: rulePrefix(in.EcrRepositoryPrefix), UpstreamPrefix: rulePrefix(in.UpstreamRepositoryPrefix), UpstreamURL: url,
		CredentialARN: orEmpty(in.CredentialArn), CreatedAt: now(ctx), UpdatedAt: now(ctx),
	}
	needsSecret := false
	for _, u := range upstreams {
		if u.host.MatchString(url) {
			rule.Upstream, needsSecret = string(u.kind), u.secret
		}
	}
	switch {
	case rule.Upstream == "" || in.UpstreamRegistry != "" && string(in.UpstreamRegistry) != rule.Upstream:
		return nil, ecr.NewUnsupportedUpstreamRegistryException("The upstream registry URL %s is invalid. Specify a valid upstream registry URL and try again", *in.UpstreamRegistryUrl)
	case in.CustomRoleArn != nil:
		return nil, invalid("customRoleArn", "A custom role is for upstreams in Amazon ECR")
	case needsSecret && rule.CredentialARN == "":
		return nil, ecr.NewUnsupportedUpstreamRegistryException("The specified upstream registry requires authentication. Specify a valid Secrets Manager ARN and try again.")
	case !needsSecret && rule.CredentialARN != "":
		return nil, invalid("credentialArn", "The upstream registry does not take credentials")
	}
	if err := s.checkSecret(ctx, sp, rule.CredentialARN); err != nil {
		return nil, err
	}
	rows, err := tables.ECRPullThroughRules.List(ctx, s.Store, store.Query{Account: sp.Account, Region: sp.Region})
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	if len(rows) >= maxRules {
		return nil, ecr.NewLimitExceededException("The registry with id '%s' already has the maximum number of pull through cache rules: %d", sp.Account, maxRules)
	}
	tx := store.NewTxn()
	tables.ECRPullThroughRules.Create(tx, sp.Account, sp.Region, rule.Prefix, rule)
	if _, err := tx.Commit(ctx, s.Store); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return nil, ecr.NewPullThroughCacheRuleAlreadyExistsException("The pull through cache rule with prefix '%s' already exists in the registry with id '%s'", rule.Prefix, sp.Account)
		}
		return nil, fmt.Errorf("create rule: %w", err)
	}
	return &ecr.CreatePullThroughCacheRuleOutput{
		CreatedAt: new(rule.CreatedAt), CredentialArn: in.CredentialArn, EcrRepositoryPrefix: new(rule.Prefix), RegistryId: new(sp.Account),
		UpstreamRegistry: ecr.UpstreamRegistry(rule.Upstream), UpstreamRegistryUrl: new(rule.UpstreamURL), UpstreamRepositoryPrefix: orNil(rule.UpstreamPrefix),
	}, nil
}

func (s *Service) checkSecret(ctx context.Context, sp registry.Space, arn string) error {
	if arn == "" {
		return nil
	}
	a, err := model.ParseARN(arn)
	if err != nil || a.Account != sp.Account || a.Region != sp.Region {
		return ecr.NewUnableToAccessSecretException("The secret %s must be in the account and the Region of the rule.", arn)
	}
	err = s.Upstreams.Secret(ctx, sp, arn)
	if e, ok := errors.AsType[api.Error](err); ok && e.HTTPStatus() < 500 {
		if e.ErrorCode() == "ResourceNotFoundException" {
			return ecr.NewSecretNotFoundException("The ARN of the secret specified in the pull through cache rule was not found. Update the pull through cache rule with a valid secret ARN and try again.")
		}
		return ecr.NewUnableToAccessSecretException("The secret is unable to be accessed. Verify the resource permissions for the secret and try again.")
	}
	return err
}

func (s *Service) rule(ctx context.Context, sp registry.Space, prefix string) (store.Row[model.ECRPullThroughRule], error) {
	row, err := tables.ECRPullThroughRules.Get(ctx, s.Store, sp.Account, sp.Region, prefix)
	if errors.Is(err, store.ErrNotFound) {
		return row, ruleNotFound(sp, prefix)
	}
	return row, err
}

// DescribePullThroughCacheRules implements ecr.Handler.
func (s *Service) DescribePullThroughCacheRules(ctx context.Context, in *ecr.DescribePullThroughCacheRulesInput) (*ecr.DescribePullThroughCacheRulesOutput, error) {
	sp, err := own(ctx, "ecr:DescribePullThroughCacheRules", in.RegistryId)
	if err != nil {
		return nil, err
	}
	out := &ecr.DescribePullThroughCacheRulesOutput{PullThroughCacheRules: []ecr.PullThroughCacheRule{}}
	if in.EcrRepositoryPrefixes != nil {
		if in.MaxResults != nil || in.NextToken != nil {
			return nil, invalid("maxResults", "Pagination parameters cannot be used together with ecrRepositoryPrefixes")
		}
		for _, p := range in.EcrRepositoryPrefixes {
			row, err := s.rule(ctx, sp, rulePrefix(&p))
			if err != nil {
				return nil, err
			}
			out.PullThroughCacheRules = append(out.PullThroughCacheRules, showRule(sp, row.V))
		}
		return out, nil
	}
	list := list(sp, "DescribePullThroughCacheRules")
	after, err := position(in.NextToken, list)
	if err != nil {
		return nil, err
	}
	n := pageSize(in.MaxResults)
	rows, err := tables.ECRPullThroughRules.List(ctx, s.Store, store.Query{Account: sp.Account, Region: sp.Region, After: after, Limit: n + 1})
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	if len(rows) > n {
		rows = rows[:n]
		out.NextToken = nextToken(rows[n-1].Key.ID, list)
	}
	for _, r := range rows {
		out.PullThroughCacheRules = append(out.PullThroughCacheRules, showRule(sp, r.V))
	}
	return out, nil
}

func showRule(sp registry.Space, r *model.ECRPullThroughRule) ecr.PullThroughCacheRule {
	return ecr.PullThroughCacheRule{
		CreatedAt: new(r.CreatedAt), UpdatedAt: new(r.UpdatedAt), CredentialArn: orNil(r.CredentialARN), EcrRepositoryPrefix: new(r.Prefix),
		RegistryId: new(sp.Account), UpstreamRegistry: ecr.UpstreamRegistry(r.Upstream), UpstreamRegistryUrl: new(r.UpstreamURL),
		UpstreamRepositoryPrefix: orNil(r.UpstreamPrefix),
	}
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// UpdatePullThroughCacheRule implements ecr.Handler.
func (s *Service) UpdatePullThroughCacheRule(ctx context.Context, in *ecr.UpdatePullThroughCacheRuleInput) (*ecr.UpdatePullThroughCacheRuleOutput, error) {
	sp, err := own(ctx, "ecr:UpdatePullThroughCacheRule", in.RegistryId)
	if err != nil {
		return nil, err
	}
	prefix := rulePrefix(in.EcrRepositoryPrefix)
	row, err := s.rule(ctx, sp, prefix)
	if err != nil {
		return nil, err
	}
	switch {
	case in.CustomRoleArn != nil:
		return nil, invalid("customRoleArn", "A custom role is for upstreams in Amazon ECR")
	case in.CredentialArn == nil:
		return nil, invalid("credentialArn", "The credentials of the rule must be given")
	case row.V.CredentialARN == "":
		return nil, invalid("credentialArn", "The upstream registry does not take credentials")
	}
	if err := s.checkSecret(ctx, sp, *in.CredentialArn); err != nil {
		return nil, err
	}
	row, err = tables.ECRPullThroughRules.Update(ctx, s.Store, sp.Account, sp.Region, prefix, func(r *model.ECRPullThroughRule) error {
		r.CredentialARN, r.UpdatedAt = *in.CredentialArn, now(ctx)
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, ruleNotFound(sp, prefix)
	}
	if err != nil {
		return nil, err
	}
	return &ecr.UpdatePullThroughCacheRuleOutput{
		CredentialArn: in.CredentialArn, EcrRepositoryPrefix: new(prefix), RegistryId: new(sp.Account),
		UpdatedAt: new(row.V.UpdatedAt), UpstreamRepositoryPrefix: orNil(row.V.UpstreamPrefix),
	}, nil
}

// ValidatePullThroughCacheRule implements ecr.Handler: it asks the upstream.
func (s *Service) ValidatePullThroughCacheRule(ctx context.Context, in *ecr.ValidatePullThroughCacheRuleInput) (*ecr.ValidatePullThroughCacheRuleOutput, error) {
	sp, err := own(ctx, "ecr:ValidatePullThroughCacheRule", in.RegistryId)
	if err != nil {
		return nil, err
	}
	row, err := s.rule(ctx, sp, rulePrefix(in.EcrRepositoryPrefix))
	if err != nil {
		return nil, err
	}
	out := &ecr.ValidatePullThroughCacheRuleOutput{
		CredentialArn: orNil(row.V.CredentialARN), EcrRepositoryPrefix: new(row.V.Prefix), RegistryId: new(sp.Account),
		UpstreamRegistryUrl: new(row.V.UpstreamURL), UpstreamRepositoryPrefix: orNil(row.V.UpstreamPrefix), IsValid: new(true),
	}
	if err := s.Upstreams.Check(ctx, sp, row.V); err != nil {
		out.IsValid, out.Failure = new(false), new(err.Error())
	}
	return out, nil
}

// DeletePullThroughCacheRule implements ecr.Handler. What was pulled stays.
func (s *Service) DeletePullThroughCacheRule(ctx context.Context, in *ecr.DeletePullThroughCacheRuleInput) (*ecr.DeletePullThroughCacheRuleOutput, error) {
	sp, err := own(ctx, "ecr:DeletePullThroughCacheRule", in.RegistryId)
	if err != nil {
		return nil, err
	}
	var out *ecr.DeletePullThroughCacheRuleOutput
	err = retryConflict(ctx, func() error {
		row, err := s.rule(ctx, sp, rulePrefix(in.EcrRepositoryPrefix))
		if err != nil {
			return err
		}
		tx := store.NewTxn()
		tables.ECRPullThroughRules.Delete(tx, row)
		r := row.V
		out = &ecr.DeletePullThroughCacheRuleOutput{
			CreatedAt: new(r.CreatedAt), CredentialArn: orNil(r.CredentialARN), EcrRepositoryPrefix: new(r.Prefix), RegistryId: new(sp.Account),
			UpstreamRegistryUrl: new(r.UpstreamURL), UpstreamRepositoryPrefix: orNil(r.UpstreamPrefix),
		}
		_, err = tx.Commit(ctx, s.Store)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
