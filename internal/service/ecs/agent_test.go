package ecs

import (
	"strings"
	"testing"

	"roadstead.dev/internal/api/ecs"
)

// TestReportsOfOneContainer are what older agents send.
func TestReportsOfOneContainer(t *testing.T) {
	h := startInstances(t)
	arn := *must(h.RegisterContainerInstance(h.ctx, registerInstance("i-1")))(t).ContainerInstance.ContainerInstanceArn
	task := h.task(strings.Repeat("a", 32), arn[strings.LastIndexByte(arn, '/')+1:])
	report := func(container string) error {
		out, err := h.SubmitContainerStateChange(h.ctx, &ecs.SubmitContainerStateChangeInput{Cluster: new("c"), Task: &task, ContainerName: &container, Status: new("STOPPED"), ExitCode: new(int32(3))})
		if err == nil && *out.Acknowledgment != "ACCEPT" {
			t.Errorf("acknowledged by %q", *out.Acknowledgment)
		}
		return err
	}
	if err := report("app"); err != nil || len(h.reports.got) != 1 {
		t.Error(err, h.reports.got)
	}
	refused(t, report("other"), "InvalidParameterException", "no container other")
	attachments := func(cluster string) error {
		_, err := h.SubmitAttachmentStateChanges(h.ctx, &ecs.SubmitAttachmentStateChangesInput{Cluster: &cluster, Attachments: []ecs.AttachmentStateChange{{AttachmentArn: new("arn:aws:ecs:us-east-1:000000000000:attachment/x"), Status: new("ATTACHED")}}})
		return err
	}
	if err := attachments("c"); err != nil {
		t.Error(err)
	}
	refused(t, attachments("nowhere"), "ClusterNotFoundException", "")
	h.as("i-2")
	refused(t, report("app"), "AccessDeniedException", "is not the agent")
}
