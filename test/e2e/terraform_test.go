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
			name: "registry", first: "15 added, 0 changed, 0 destroyed", second: "1 added, 7 changed, 1 destroyed",
			applied: registryApplied, imported: registryImports, changed: registryChanged, destroyed: registryDestroyed,
		},
		{
			name: "logs", first: "6 added, 0 changed, 0 destroyed", second: "0 added, 3 changed, 0 destroyed",
			applied: logsApplied, imported: logsImports, changed: logsChanged, destroyed: logsDestroyed,
		},
		{
			name: "balancer", first: "17 added, 0 changed, 0 destroyed", second: "0 added, 11 changed, 0 destroyed",
			applied: balancerApplied, imported: balancerImports, changed: balancerChanged, destroyed: balancerDestroyed,
		},
		{
			name: "forwarder", first: "22 added, 0 changed, 0 destroyed", second: "0 added, 6 changed, 0 destroyed",
			applied: forwarderApplied, imported: forwarderImports, changed: forwarderChanged, destroyed: forwarderDestroyed,
		},
		{
			// Task definitions are replaced by their next revision.
			name: "habits", first: "28 added, 0 changed, 0 destroyed", second: "1 added, 7 changed, 1 destroyed",
			applied: habitsApplied, imported: habitsImports, changed: habitsChanged, destroyed: habitsDestroyed,
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
				tf.settled()
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
