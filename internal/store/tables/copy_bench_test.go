package tables

import (
	"testing"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

func BenchmarkCopyTask(b *testing.B) {
	t := &model.Task{ClusterName: "c", TaskID: "t", Status: model.TaskStatus{LastStatus: model.TaskRunning, StartedAt: time.Now()}}
	t.Status.Attachments = []model.TaskAttachment{{ID: "a", Details: []model.ECSNameValue{{Name: "subnetId", Value: "subnet-1"}, {Name: "macAddress", Value: "0a:00"}}}}
	row := store.Row[model.Task]{V: t}
	b.ReportAllocs()
	for b.Loop() {
		_ = row.Copy()
	}
}
