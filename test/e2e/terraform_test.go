package e2e

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// TestTerraform applies what users write for the resources that need no
// container: each configuration is applied, changed in place and destroyed,
// and a plan after each of those finds nothing to do.
func TestTerraform(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	s := ownServer(t, "fake")
	var wg sync.WaitGroup
	for _, c := range []struct {
		name string
		// What Terraform counts when it applies revisions 1 and 2.
		first, second string
		applied       func(*testing.T, *server, *configuration)
		// imported says how to import the case after its second revision.
		imported  *reimports
		changed   func(*testing.T, *server)
		destroyed func(*testing.T, *server)
	}{
		{
			name: "network", first: "74 added, 0 changed, 0 destroyed", second: "0 added, 14 changed, 0 destroyed",
			applied: networkApplied, imported: networkImports, changed: networkChanged, destroyed: networkDestroyed,
		},
		{
			name: "iam", first: "19 added, 0 changed, 0 destroyed", second: "0 added, 10 changed, 0 destroyed",
			applied: iamApplied, changed: iamChanged, destroyed: iamDestroyed,
		},
		{
			// Terraform replaces lifecycle policies.
			name: "registry", first: "4 added, 0 changed, 0 destroyed", second: "1 added, 2 changed, 1 destroyed",
			applied: registryApplied, changed: registryChanged, destroyed: registryDestroyed,
		},
		{
			name: "logs", first: "5 added, 0 changed, 0 destroyed", second: "0 added, 2 changed, 0 destroyed",
			applied: logsApplied, imported: logsImports, changed: logsChanged, destroyed: logsDestroyed,
		},
		{
			name: "balancer", first: "16 added, 0 changed, 0 destroyed", second: "0 added, 9 changed, 0 destroyed",
			applied: balancerApplied, imported: balancerImports, changed: balancerChanged, destroyed: balancerDestroyed,
		},
		{
			// Task definitions are replaced by their next revision.
			name: "habits", first: "23 added, 0 changed, 0 destroyed", second: "1 added, 5 changed, 1 destroyed",
			applied: func(*testing.T, *server, *configuration) {}, changed: habitsChanged, destroyed: habitsDestroyed,
		},
	} {
		// All at once: most of the time the provider waits, half a minute for
		// each load balancer alone.
		wg.Go(func() {
			t.Run(c.name, func(t *testing.T) {
				tf := configure(t, s, c.name, nil)
				tf.apply("1", c.first)
				c.applied(t, s, tf)
				tf.apply("2", c.second)
				c.changed(t, s)
				if c.imported != nil {
					tf.reimport("2", *c.imported)
				}
				tf.destroy("2")
				c.destroyed(t, s)
			})
		})
	}
	wg.Wait()
}

func iamApplied(t *testing.T, s *server, tf *configuration) {
	if got := tf.output("role"); got != "arn:aws:iam::000000000000:role/app/tf-task" {
		t.Errorf("the role is %s", got)
	}
	attached, err := s.iam.ListAttachedRolePolicies(t.Context(), &iam.ListAttachedRolePoliciesInput{RoleName: new("tf-task")})
	if err != nil || len(attached.AttachedPolicies) != 2 {
		t.Errorf("attached: %+v %v", attached, err)
	}
	keys, err := s.iam.ListAccessKeys(t.Context(), &iam.ListAccessKeysInput{UserName: new("tf-deployer")})
	if err != nil || len(keys.AccessKeyMetadata) != 1 || keys.AccessKeyMetadata[0].Status != "Active" {
		t.Errorf("keys: %+v %v", keys, err)
	}
}

func iamChanged(t *testing.T, s *server) {
	versions, err := s.iam.ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: new("arn:aws:iam::000000000000:policy/tf-read")})
	if err != nil || len(versions.Versions) != 2 {
		t.Errorf("versions: %+v %v", versions, err)
	}
	keys, err := s.iam.ListAccessKeys(t.Context(), &iam.ListAccessKeysInput{UserName: new("tf-deployer")})
	if err != nil || len(keys.AccessKeyMetadata) != 1 || keys.AccessKeyMetadata[0].Status != "Inactive" {
		t.Errorf("keys: %+v %v", keys, err)
	}
	groups, err := s.iam.ListGroupsForUser(t.Context(), &iam.ListGroupsForUserInput{UserName: new("tf-deployer")})
	if err != nil || len(groups.Groups) != 2 || *groups.Groups[1].GroupName != "tf-renamed" {
		t.Errorf("groups: %+v %v", groups, err)
	}
}

func iamDestroyed(t *testing.T, s *server) {
	ctx := t.Context()
	_, err := s.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: new("tf-task")})
	gone(t, "NoSuchEntity", err)
	_, err = s.iam.GetUser(ctx, &iam.GetUserInput{UserName: new("tf-deployer")})
	gone(t, "NoSuchEntity", err)
	_, err = s.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: new("arn:aws:iam::000000000000:policy/tf-read")})
	gone(t, "NoSuchEntity", err)
	_, err = s.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: new("tf-task")})
	gone(t, "NoSuchEntity", err)
	_, err = s.iam.GetGroup(ctx, &iam.GetGroupInput{GroupName: new("tf-people")})
	gone(t, "NoSuchEntity", err)
}

func registryApplied(t *testing.T, s *server, tf *configuration) {
	_, port, _ := strings.Cut(s.listen, ":")
	if got, want := tf.output("url"), "000000000000.dkr.ecr.us-east-1.localhost:"+port+"/tf/app"; got != want {
		t.Errorf("the repository's URL is %s, want %s", got, want)
	}
	// An image must not keep the repository: force_delete is set.
	s.pushTo(t, tf.output("url"), built.tool)
}

func registryChanged(t *testing.T, s *server) {
	out, err := s.ecr.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"tf/app"}})
	if err != nil || out.Repositories[0].ImageTagMutability != "MUTABLE" {
		t.Errorf("%+v %v", out, err)
	}
	p, err := s.ecr.GetLifecyclePolicy(t.Context(), &ecr.GetLifecyclePolicyInput{RepositoryName: new("tf/app")})
	if err != nil || !strings.Contains(*p.LifecyclePolicyText, "20") {
		t.Errorf("%+v %v", p, err)
	}
}

func registryDestroyed(t *testing.T, s *server) {
	for _, name := range []string{"tf/app", "tf-plain"} {
		_, err := s.ecr.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{name}})
		gone(t, "RepositoryNotFoundException", err)
	}
}

func habitsChanged(t *testing.T, s *server) {
	out, err := s.ecs.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: new("tf-habits"), Services: []string{"app"}})
	if err != nil || len(out.Services) != 1 {
		t.Fatalf("%+v %v", out, err)
	}
	if service := out.Services[0]; !strings.HasSuffix(*service.TaskDefinition, "/tf-habits:2") || !service.EnableECSManagedTags || *service.HealthCheckGracePeriodSeconds != 60 {
		t.Errorf("the service: %+v", service)
	}
}

func habitsDestroyed(t *testing.T, s *server) {
	// Terraform lets go of the defaults but does not delete them.
	vpcs, err := s.ec2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{{Name: new("is-default"), Values: []string{"true"}}}})
	if err != nil || len(vpcs.Vpcs) != 1 {
		t.Errorf("default VPCs: %+v %v", vpcs, err)
	}
	out, err := s.ecs.DescribeClusters(t.Context(), &ecs.DescribeClustersInput{Clusters: []string{"tf-habits"}})
	if err != nil || len(out.Clusters) == 1 && *out.Clusters[0].Status != "INACTIVE" {
		t.Errorf("the cluster: %+v %v", out, err)
	}
}

// TestTerraformService applies the whole stack on real containers: the
// service answers through its load balancer, a new revision replaces it, and
// destroying leaves nothing.
func TestTerraformService(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	s := shared(t)
	name := unique(t, "t")
	s.push(t, name, built.tool)
	tf := configure(t, s, "service", map[string]string{"name": name})
	t.Cleanup(func() {
		if t.Failed() {
			out, code := tf.run("destroy", "-auto-approve")
			t.Logf("destroy after failure: %d\n%s", code, out)
		}
	})

	tf.apply("1", "16 added, 0 changed, 0 destroyed")
	browser, url := s.newBrowser(), "http://"+tf.output("dns_name")+"/"
	if code, body, err := get(browser, url); err != nil || code != http.StatusOK || !strings.Contains(body, "revision-1") {
		t.Errorf("%d %q %v", code, body, err)
	}

	tf.apply("2", "1 added, 1 changed, 1 destroyed")
	eventually(t, 30*time.Second, "only the new revision answers", func() error {
		if code, body, err := get(browser, url); err != nil || code != http.StatusOK || !strings.Contains(body, "revision-2") {
			return errorf("%d %q %v", code, body, err)
		}
		return nil
	})
	events, err := s.logs.FilterLogEvents(t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: new("/ecs/" + name)})
	if err != nil || len(events.Events) == 0 {
		t.Errorf("the log: %+v %v", events, err)
	}

	tf.destroy("2")
	ctx := t.Context()
	clusters, err := s.ecs.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{name}})
	if err != nil || len(clusters.Clusters) == 1 && *clusters.Clusters[0].Status != "INACTIVE" {
		t.Errorf("the cluster: %+v %v", clusters, err)
	}
	_, err = s.elb.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{name}})
	gone(t, "LoadBalancerNotFound", err)
	_, err = s.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: new(name + "-task")})
	gone(t, "NoSuchEntity", err)
	groups, err := s.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{{Name: new("group-name"), Values: []string{name + "-*"}}}})
	if err != nil || len(groups.SecurityGroups) != 0 {
		t.Errorf("groups: %+v %v", groups, err)
	}
}
