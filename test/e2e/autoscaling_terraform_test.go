package e2e

import (
	"strings"
	"testing"
	"time"
)

// autoScalingImports is how the case autoscaling is imported.
var autoScalingImports = reimports{
	ids: map[string]func(*stateResource) string{
		"aws_autoscaling_attachment": notImportable,
		// The provider would replace an imported group for the sake of its
		// initial_lifecycle_hook, which it does not read back.
		"aws_autoscaling_group": func(r *stateResource) string {
			if r.Address == "aws_autoscaling_group.nodes" {
				return ""
			}
			return r.str("id")
		},
		"aws_autoscaling_traffic_source_attachment": notImportable,
		"aws_autoscaling_lifecycle_hook":            joined("/", "autoscaling_group_name", "name"),
	},
	// force_delete and wait_for_capacity_timeout are the provider's own.
	changed: []string{"aws_autoscaling_group"},
}

// TestTerraformAutoScaling applies groups with all that belongs to them: the
// provider waits until their instances serve, and until they are gone.
func TestTerraformAutoScaling(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	s := ownServer(t, "fake")
	tf := configure(t, s, "autoscaling", nil)
	tf.apply("1", "14 added, 0 changed, 0 destroyed")
	if got, want := tf.output("found"), "1 EC2 tf-nodes 2"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	text := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(s.awscli(t, append(args, "--output", "text")...))
	}
	if got := text("ec2", "describe-instances", "--filters", "Name=tag:Name,Values=tf-nodes-1", "Name=instance-state-name,Values=running", "--query", "length(Reservations[].Instances[])"); got != "1" {
		t.Errorf("%s instances run", got)
	}
	tf.apply("2", "0 added, 5 changed, 0 destroyed")
	// The new version of the template is rolled out, which the provider does not
	// wait for.
	eventually(t, time.Minute, "the refresh is done", func() error {
		got := text("autoscaling", "describe-instance-refreshes", "--auto-scaling-group-name", "tf-nodes", "--query", "InstanceRefreshes[].Status")
		if got != "Successful" {
			return errorf("refreshes: %s", got)
		}
		return nil
	})
	if got := text("autoscaling", "describe-auto-scaling-instances", "--query", "AutoScalingInstances[?AutoScalingGroupName=='tf-nodes' && LifecycleState=='InService'].LaunchTemplate.Version"); got != "2\t2" {
		t.Errorf("instances of the versions %q", got)
	}
	tf.reimport("2", autoScalingImports)
	tf.destroy("2")
	if left := text("autoscaling", "describe-auto-scaling-instances", "--query", "AutoScalingInstances[].InstanceId"); left != "" {
		t.Errorf("instances are left: %s", left)
	}
}
