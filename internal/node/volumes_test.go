package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"roadstead.dev/internal/model/acs"
)

func TestVolumes(t *testing.T) {
	dir, shared := filepath.Join(t.TempDir(), "task"), filepath.Join(t.TempDir(), "volumes")
	host := filepath.Join(t.TempDir(), "on", "host")
	docker := func(scope string, provision bool) *acs.DockerVolumeConfiguration {
		return &acs.DockerVolumeConfiguration{Scope: scope, Autoprovision: provision, Driver: "local"}
	}
	task := &acs.Task{Volumes: []acs.Volume{
		{Name: "own", Type: "host"},
		{Name: "host", Type: "host", Host: &acs.HostVolumeProperties{SourcePath: host}},
		{Name: "scratch", Type: "docker", Docker: docker("task", false)},
		{Name: "common", Type: "docker", Docker: docker("shared", true)},
	}}
	if err := makeVolumes(task, dir, shared); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"own": filepath.Join(dir, "volumes", "own"), "host": host, "scratch": filepath.Join(dir, "volumes", "scratch"), "common": filepath.Join(shared, "common"),
	} {
		got, err := volumeSource(task, name, dir, shared)
		if err != nil || got != want {
			t.Errorf("%s is at %s, %v", name, got, err)
		}
		if _, err := os.Stat(got); err != nil {
			t.Error(err)
		}
	}
	for want, v := range map[string]acs.Volume{
		"VolumeError: Agent could not create task's volume resources: volume absent is not on the instance": {Name: "absent", Type: "docker", Docker: docker("shared", false)},
		"volume v: volumes of driver rexray with options are not there":                                     {Name: "v", Type: "docker", Docker: &acs.DockerVolumeConfiguration{Driver: "rexray"}},
		"volume f: volumes of type efs are not there":                                                       {Name: "f", Type: "efs"},
	} {
		if err := makeVolumes(&acs.Task{Volumes: []acs.Volume{v}}, dir, shared); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", v, err)
		}
	}
	// One that is there needs no provision.
	task.Volumes = []acs.Volume{{Name: "common", Type: "docker", Docker: docker("shared", false)}}
	if err := makeVolumes(task, dir, shared); err != nil {
		t.Error(err)
	}
}
