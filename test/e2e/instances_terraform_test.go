package e2e

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// instanceImports is how the case instances is imported.
var instanceImports = reimports{
	ids: map[string]func(*stateResource) string{
		// The provider would replace an imported pair, since it cannot read the
		// public key back.
		"aws_key_pair": notImportable,
		// An import does not know that the interface is given.
		"aws_instance": func(r *stateResource) string {
			if r.Address == "aws_instance.own" {
				return ""
			}
			return r.str("id")
		},
	},
	// update_default_version and user_data_replace_on_change are the
	// provider's own.
	changed: []string{"aws_launch_template", "aws_instance"},
}

// TestTerraformInstances applies instances and launch templates: changed in
// place with and without a stop, protected, on Spot, by a template, with an
// interface of their own; and drives others by the CLI's waiters.
func TestTerraformInstances(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	s := ownServer(t, "fake")
	tf := configure(t, s, "instances", nil)
	tf.apply("1", "13 added, 0 changed, 0 destroyed")
	if got, want := tf.output("found"), "running us-east-1b ip-10-40-1-20.ec2.internal tf-instances 40 10.40.1.30 spot 1"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	if got := tf.output("running"); got != "3" {
		t.Errorf("%s instances run", got)
	}
	plain := tf.output("plain")
	tf.apply("2", "0 added, 2 changed, 0 destroyed")
	if got := tf.output("plain"); got != plain {
		t.Errorf("%s was replaced by %s", plain, got)
	}
	_, err := s.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{plain}})
	if code := errorCode(err); code != "OperationNotPermitted" {
		t.Errorf("terminating the protected instance: %v", err)
	}
	tf.reimport("2", instanceImports)
	tf.destroy("2")
	templates, err := s.ec2.DescribeLaunchTemplates(t.Context(), &ec2.DescribeLaunchTemplatesInput{})
	if err != nil || len(templates.LaunchTemplates) != 0 {
		t.Errorf("templates are left: %+v %v", templates, err)
	}
	s.instancesByCLI(t)
}

// instancesByCLI takes instances through their states by the CLI, waiting as
// scripts do.
func (s *server) instancesByCLI(t *testing.T) {
	text := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(s.awscli(t, append(args, "--output", "text")...))
	}
	id := text("ec2", "run-instances", "--image-id", "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
		"--instance-type", "t3.nano", "--client-token", "cli", "--query", "Instances[0].InstanceId")
	text("ec2", "wait", "instance-exists", "--instance-ids", id)
	text("ec2", "wait", "instance-running", "--instance-ids", id)
	text("ec2", "wait", "instance-status-ok", "--instance-ids", id)
	text("ec2", "wait", "system-status-ok", "--instance-ids", id)
	volume := text("ec2", "describe-instances", "--instance-ids", id, "--query", "Reservations[].Instances[].BlockDeviceMappings[].Ebs.VolumeId")
	text("ec2", "wait", "volume-in-use", "--volume-ids", volume)
	text("ec2", "stop-instances", "--instance-ids", id)
	text("ec2", "wait", "instance-stopped", "--instance-ids", id)
	text("ec2", "modify-instance-attribute", "--instance-id", id, "--instance-type", "t3.micro")
	text("ec2", "start-instances", "--instance-ids", id)
	text("ec2", "wait", "instance-running", "--instance-ids", id)
	text("ec2", "reboot-instances", "--instance-ids", id)
	if got := text("ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=running", "--query", "Reservations[].Instances[].[InstanceId,InstanceType]"); got != id+"\tt3.micro" {
		t.Errorf("running: %q", got)
	}
	text("ec2", "terminate-instances", "--instance-ids", id)
	text("ec2", "wait", "instance-terminated", "--instance-ids", id)
	nics, err := s.ec2.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{
		Filters: []ec2types.Filter{{Name: new("attachment.instance-id"), Values: []string{id}}},
	})
	if err != nil || len(nics.NetworkInterfaces) != 0 {
		t.Errorf("interfaces are left: %+v %v", nics, err)
	}
}
