package ecs

import (
	"strings"
	"testing"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/tables"
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

// TestAttachmentReports are what agents send of tasks' interfaces: with a task's
// report, or by themselves.
func TestAttachmentReports(t *testing.T) {
	h := startInstances(t)
	arn := *must(h.RegisterContainerInstance(h.ctx, registerInstance("i-1")))(t).ContainerInstance.ContainerInstanceArn
	id := strings.Repeat("a", 32)
	task := h.task(id, arn[strings.LastIndexByte(arn, '/')+1:])
	if _, err := tables.ECSTasks.Update(h.ctx, h.harness.store, account, region, "c/"+id, func(t *model.Task) error {
		t.Status.LastStatus = model.TaskProvisioning
		t.Status.Attachments = []model.TaskAttachment{{ID: "x", Type: model.AttachmentENI, Status: model.TaskAttachmentAttaching}}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	attached := []ecs.AttachmentStateChange{{AttachmentArn: new("arn:aws:ecs:us-east-1:000000000000:attachment/x"), Status: new("ATTACHED")}}
	alone := func() error {
		_, err := h.SubmitAttachmentStateChanges(h.ctx, &ecs.SubmitAttachmentStateChangesInput{Cluster: new("c"), Attachments: attached})
		return err
	}
	if err := alone(); err != nil || len(h.reports.attached) != 1 {
		t.Error(err, h.reports.attached)
	}
	if _, err := h.SubmitTaskStateChange(h.ctx, &ecs.SubmitTaskStateChangeInput{Cluster: new("c"), Task: &task, Attachments: attached}); err != nil {
		t.Error(err)
	}
	if got := h.reports.attached; len(got) != 2 || got[0] != got[1] || got[0] != task+" "+*attached[0].AttachmentArn+" ATTACHED" {
		t.Errorf("reported %q", got)
	}
	ranges := func(ports string) error {
		_, err := h.SubmitTaskStateChange(h.ctx, &ecs.SubmitTaskStateChangeInput{Cluster: new("c"), Task: &task, Containers: []ecs.ContainerStateChange{{
			ContainerName: new("app"), NetworkBindings: []ecs.NetworkBinding{{ContainerPortRange: new("80-81"), HostPortRange: &ports}},
		}}})
		return err
	}
	if err := ranges("49153-49154"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"1-70000", "5-4", "x", "0-1"} {
		refused(t, ranges(bad), "InvalidParameterException", "invalid port")
	}
	h.as("i-2")
	refused(t, alone(), "AccessDeniedException", "is not the agent")
}
