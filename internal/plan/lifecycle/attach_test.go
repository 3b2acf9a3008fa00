package lifecycle

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/model"
)

// A task on an instance is PENDING once its interface was seen there, and
// stopped when it is not for too long.
func TestAttach(t *testing.T) {
	timeout := Step{Status: model.TaskDeprovisioning, Stop: model.TaskDesired{
		Status: model.TaskStopped, StopCode: model.StopTaskFailedToStart, StoppingAt: now,
		StoppedReason: "Timeout waiting for network interface provisioning to complete.",
	}}
	for _, tt := range []struct {
		name, launchType, status string
		seen                     bool
		since                    time.Duration
		want                     Step
	}{
		{"made", "EC2", model.TaskAttachmentPrecreated, false, 0, Step{Action: Provision}},
		{"awaited", "EC2", model.TaskAttachmentAttaching, false, time.Minute, Step{Wake: now.Add(4 * time.Minute)}},
		{"seen", "EC2", model.TaskAttachmentAttaching, true, time.Minute, Step{Status: model.TaskPending}},
		{"seen late", "EC2", model.TaskAttachmentAttaching, true, time.Hour, Step{Status: model.TaskPending}},
		{"given up", "EC2", model.TaskAttachmentAttaching, false, AttachTimeout, timeout},
		{"Fargate's", "FARGATE", model.TaskAttachmentPrecreated, false, 0, Step{Status: model.TaskPending, Action: Provision}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := task(model.TaskProvisioning, model.TaskRunning, "")
			x.Spec.LaunchType, x.Status.Node = tt.launchType, "i1"
			x.Status.Attachments = []model.TaskAttachment{{ID: "a", Type: model.AttachmentENI, Status: tt.status, AttachingAt: now.Add(-tt.since)}}
			if tt.seen {
				x.Observed.Attached = []string{"a"}
			}
			s := Next(x, Facts{}, now)
			if d := cmp.Diff(tt.want, s); d != "" {
				t.Error(d)
			}
			Apply(x, s, now)
			if want := tt.status == model.TaskAttachmentAttaching && tt.seen; (x.ENI().Status == model.TaskAttachmentAttached) != want {
				t.Errorf("the attachment is %s", x.ENI().Status)
			}
		})
	}
}
