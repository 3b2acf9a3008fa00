package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// registryImports says how the case registry is imported.
var registryImports = &reimports{
	ids: map[string]func(*stateResource) string{"aws_ecr_account_setting": attribute("name")},
	// force_delete, the recovery window, and the value of a secret are only
	// Terraform's.
	changed: []string{"aws_ecr_repository", "aws_secretsmanager_secret", "aws_secretsmanager_secret_version"},
}

func registryApplied(t *testing.T, s *server, tf *configuration) {
	_, port, _ := strings.Cut(s.listen, ":")
	host := "000000000000.dkr.ecr.us-east-1.localhost:" + port
	for output, want := range map[string]string{
		"url": host + "/tf/app", "proxy": "http://" + host, "repositories": "tf-documented tf-plain tf/app", "upstream": "quay.io",
	} {
		if got := tf.output(output); got != want {
			t.Errorf("output %s is %s, want %s", output, got, want)
		}
	}
	// What the second revision reads.
	s.pushTo(t, host+"/tf/app", built.tool)
}

func registryChanged(t *testing.T, s *server) {
	ctx := t.Context()
	repos, err := s.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"tf/app"}})
	if err != nil || repos.Repositories[0].ImageTagMutability != "MUTABLE" || !repos.Repositories[0].ImageScanningConfiguration.ScanOnPush {
		t.Errorf("%+v %v", repos, err)
	}
	policy, err := s.ecr.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: new("tf/app")})
	if err != nil || !strings.Contains(*policy.LifecyclePolicyText, `"countNumber":20`) {
		t.Errorf("%+v %v", policy, err)
	}
	// The image was pushed before the configuration that replicates it; the
	// next one is copied to the other region.
	uri := *repos.Repositories[0].RepositoryUri
	next := strings.TrimSuffix(s.pushTo(t, uri, built.roadstead), ":v1")
	eventually(t, 30*time.Second, "the image is replicated", func() error {
		out, err := s.ecr.DescribeImageReplicationStatus(ctx, &ecr.DescribeImageReplicationStatusInput{
			RepositoryName: new("tf/app"), ImageId: &ecrtypes.ImageIdentifier{ImageTag: new("v1")},
		})
		if err != nil {
			return err
		}
		if len(out.ReplicationStatuses) != 1 || out.ReplicationStatuses[0].Status != "COMPLETE" {
			return errorf("%s: %+v", next, out.ReplicationStatuses)
		}
		return nil
	})
	west := ecr.NewFromConfig(s.cfg, func(o *ecr.Options) { o.Region = "eu-west-1" })
	if out, err := west.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: new("tf/app")}); err != nil || len(out.ImageDetails) != 1 || out.ImageDetails[0].ImageTags[0] != "v1" {
		t.Errorf("the copy: %+v %v", out, err)
	}
}

func registryDestroyed(t *testing.T, s *server) {
	ctx := t.Context()
	for _, name := range []string{"tf/app", "tf-plain", "tf-documented"} {
		_, err := s.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{name}})
		gone(t, "RepositoryNotFoundException", err)
	}
	_, err := s.ecr.GetRegistryPolicy(ctx, &ecr.GetRegistryPolicyInput{})
	gone(t, "RegistryPolicyNotFoundException", err)
	rules, err := s.ecr.DescribePullThroughCacheRules(ctx, &ecr.DescribePullThroughCacheRulesInput{})
	if err != nil || len(rules.PullThroughCacheRules) != 0 {
		t.Errorf("%+v %v", rules, err)
	}
	registry, err := s.ecr.DescribeRegistry(ctx, &ecr.DescribeRegistryInput{})
	if err != nil || len(registry.ReplicationConfiguration.Rules) != 0 {
		t.Errorf("%+v %v", registry, err)
	}
}
