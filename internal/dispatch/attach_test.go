package dispatch_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/dispatch"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
)

// onInstance makes the task one of a container instance's, whose interface is
// being attached.
func (w *world) onInstance(status string) {
	w.update(func(t *model.Task) {
		t.Spec.LaunchType, t.Status.Node = model.LaunchTypeEC2, "fargate"
		t.ENI().SetDetail("networkInterfaceId", "eni-1")
		t.ENI().Status = status
	})
}

// The node of a task is told of the task's interface, and what it says of it is
// written down; the task itself comes when it is PENDING.
func TestAttach(t *testing.T) {
	run(t, func(w *world) {
		w.onInstance(model.TaskAttachmentPrecreated)
		if got := w.task().Observed.Attached; len(got) != 0 {
			t.Errorf("seen before it was made: %v", got)
		}
		w.onInstance(model.TaskAttachmentAttaching)
		got := w.task()
		if !slices.Equal(got.Observed.Attached, []string{"id"}) || got.Attaching() || got.Observed.Status != "" {
			t.Errorf("%+v", got.Observed)
		}
		w.provision()
		if got := w.task(); got.Observed.Status != model.TaskRunning {
			t.Errorf("%+v", got.Observed)
		}
	})
}

// A node is told of an interface once in a session, again when it does not
// answer, and in each session.
func TestAttachIsToldAgain(t *testing.T) {
	run(t, func(w *world) {
		w.onInstance(model.TaskAttachmentAttaching)
		w.update(func(t *model.Task) { t.Observed.Attached, t.Status.Node = nil, "deaf" })
		for range 2 {
			s, err := w.d.Node("deaf").Connect(w.t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var told []*acs.AttachTaskNetworkInterfacesMessage
			heartbeats := 0
			for heartbeats < 3 {
				m, err := s.Receive(w.t.Context())
				if err != nil {
					t.Fatal(err)
				}
				switch m := m.(type) {
				case *acs.AttachTaskNetworkInterfacesMessage:
					told = append(told, m)
					if len(told) == 2 {
						_ = s.Send(w.t.Context(), &acs.AckRequest{MessageID: m.MessageID})
					}
				case *acs.PayloadMessage:
					t.Errorf("told to run %+v", m.Tasks)
				case *acs.HeartbeatMessage:
					heartbeats++
					w.update(func(t *model.Task) { t.Status.Version++ }) // it looks again
				}
			}
			if len(told) != 2 {
				t.Fatalf("told %d times", len(told))
			}
			e := told[0].ElasticNetworkInterfaces[0]
			if told[0].TaskArn != w.task().TaskARN || told[0].WaitTimeoutMs != 300_000 || e.EC2ID != "eni-1" || e.MacAddress != "0a:00:00:00:00:01" ||
				e.AttachmentArn != "arn:aws:ecs:us-east-1:000000000000:attachment/id" || e.PrimaryIPv4() != "172.31.16.9" {
				t.Errorf("told %+v", told[0])
			}
			_ = s.Close()
			synctest.Wait()
		}
	})
}

func TestMergePorts(t *testing.T) {
	var o model.TaskObserved
	ch := &acs.TaskStateChange{Sequence: 1, Containers: []acs.ContainerStateChange{{ContainerName: "a", NetworkBindings: []acs.NetworkBinding{
		{BindIP: "0.0.0.0", ContainerPort: 80, HostPort: 49153, Protocol: "tcp"},
		{BindIP: "0.0.0.0", ContainerPortRange: "90-91", HostPortRange: "49154-49155", Protocol: "udp"},
	}}}}
	dispatch.Merge(&o, ch)
	want := []model.NetworkBinding{
		{BindIP: "0.0.0.0", ContainerPort: new(80), HostPort: new(49153), Protocol: "tcp"},
		{BindIP: "0.0.0.0", ContainerPortRange: "90-91", HostPortRange: "49154-49155", Protocol: "udp"},
	}
	if d := cmp.Diff(want, o.Containers[0].NetworkBindings); d != "" {
		t.Error(d)
	}
	task := model.Task{Spec: model.TaskSpec{HostPorts: []model.HostPort{{Number: 53, UDP: true}}}, Observed: o}
	if d := cmp.Diff([]model.HostPort{{Number: 53, UDP: true}, {Number: 49153}, {Number: 49154, UDP: true}, {Number: 49155, UDP: true}}, task.Reservation().Ports); d != "" {
		t.Error(d)
	}
	if n := len((&model.NetworkBinding{HostPortRange: "1-99999999"}).HostPorts()); n != 65535 {
		t.Errorf("%d ports", n)
	}
}
