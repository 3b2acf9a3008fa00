package dispatch

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
)

func at(second int) *time.Time {
	t := time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC)
	return &t
}

func TestMerge(t *testing.T) {
	var o model.TaskObserved
	reports := []acs.TaskStateChange{
		{Sequence: 1, Status: "PENDING", PullStartedAt: at(1), Containers: []acs.ContainerStateChange{{ContainerName: "a", Status: "PENDING"}}},
		{Sequence: 3, Status: "RUNNING", PullStoppedAt: at(2), HealthStatus: "UNKNOWN", Containers: []acs.ContainerStateChange{
			{ContainerName: "a", Status: "RUNNING", RuntimeID: "r", ImageDigest: "sha256:x", StartedAt: at(3), HealthStatus: "UNKNOWN"},
		}},
		{Sequence: 4, Status: "RUNNING", HealthStatus: "HEALTHY", Containers: []acs.ContainerStateChange{
			{ContainerName: "a", Status: "RUNNING", HealthStatus: "HEALTHY", StartedAt: at(9), RestartCount: 1},
		}},
		{
			Sequence: 5, Status: "STOPPED", Reason: "Essential container in task exited", ExecutionStoppedAt: at(11), HealthStatus: "HEALTHY",
			Containers: []acs.ContainerStateChange{{ContainerName: "a", Status: "STOPPED", ExitCode: new(int32(3)), StoppedAt: at(11), Reason: "why"}},
		},
	}
	for i := range reports {
		if !Merge(&o, &reports[i]) {
			t.Errorf("report %d changed nothing", i)
		}
	}
	for i := range reports { // again, and late
		if Merge(&o, &reports[i]) {
			t.Errorf("report %d changed something once more", i)
		}
	}
	// One without a number may add, but takes nothing back.
	Merge(&o, &acs.TaskStateChange{Status: "RUNNING", Reason: "other", Containers: []acs.ContainerStateChange{{ContainerName: "a", Status: "PENDING", ExitCode: new(int32(9))}}})
	want := model.TaskObserved{
		Status: "STOPPED", Reason: "Essential container in task exited", Sequence: 5, HealthStatus: "HEALTHY",
		PullStartedAt: *at(1), PullStoppedAt: *at(2), ExecutionStoppedAt: *at(11),
		Containers: []model.ContainerState{{
			Name: "a", LastStatus: "STOPPED", RuntimeID: "r", ImageDigest: "sha256:x", ExitCode: new(3), Reason: "why",
			HealthStatus: "HEALTHY", StartedAt: *at(9), StoppedAt: *at(11), RestartCount: 1,
		}},
	}
	if d := cmp.Diff(want, o); d != "" {
		t.Error(d)
	}
}

// Whatever comes in whatever order: nothing goes back.
func TestMergeOnlyMovesForward(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		status := rapid.SampledFrom([]string{"", "PENDING", "RUNNING", "STOPPED", "bogus"})
		var o model.TaskObserved
		for range rapid.IntRange(1, 12).Draw(t, "reports") {
			before := model.TaskObserved{}
			b, err := json.Marshal(o)
			if err != nil || json.Unmarshal(b, &before) != nil {
				t.Fatal(err)
			}
			ch := acs.TaskStateChange{
				Sequence: rapid.Int64Range(0, 6).Draw(t, "sequence"), Status: status.Draw(t, "status"),
				Containers: []acs.ContainerStateChange{{
					ContainerName: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"), Status: status.Draw(t, "container"),
				}},
			}
			if rapid.Bool().Draw(t, "exited") {
				ch.Containers[0].ExitCode = new(rapid.Int32Range(0, 255).Draw(t, "code"))
			}
			changed := Merge(&o, &ch)
			if rank(o.Status) < rank(before.Status) || o.Sequence < before.Sequence {
				t.Fatalf("%+v after %+v", o, before)
			}
			for _, c := range before.Containers {
				now := (&model.Task{Observed: o}).Container(c.Name)
				if now == nil || rank(now.LastStatus) < rank(c.LastStatus) || c.ExitCode != nil && *now.ExitCode != *c.ExitCode {
					t.Fatalf("%+v after %+v", now, c)
				}
			}
			before.Sequence = o.Sequence
			if !changed && !cmp.Equal(before, o) {
				t.Fatalf("changed without saying so: %s", cmp.Diff(before, o))
			}
		}
	})
}
