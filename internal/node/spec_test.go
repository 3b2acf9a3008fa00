package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/model/acs"
)

func TestContainerSpec(t *testing.T) {
	yes, shm := true, int64(16)
	task := newTaskMessage(
		acs.Container{
			Name: "a", Image: "img", CPU: 64, Memory: 128, EntryPoint: []string{"/e"}, Command: []string{"c"}, Overrides: `{"command":["o"]}`,
			Environment: map[string]string{"B": "2", "A": "1"}, MountPoints: []acs.MountPoint{{SourceVolume: "v", ContainerPath: "/mine/"}},
			VolumesFrom:     []acs.VolumeFrom{{SourceContainer: "b", ReadOnly: true}},
			LinuxParameters: &acs.LinuxParameters{SharedMemorySize: &shm, InitProcessEnabled: &yes, Capabilities: &acs.KernelCapabilities{Add: []string{"SYS_PTRACE"}}},
			DockerConfig: acs.NewDockerConfig(
				acs.DockerContainerConfig{User: "1000:1", WorkingDir: "/w", Tty: true},
				acs.DockerHostConfig{
					ReadonlyRootfs: true, MemoryReservation: 64 << 20, CapDrop: []string{"MKNOD"}, Sysctls: map[string]string{"net.core.somaxconn": "1"},
					Ulimits: []acs.DockerUlimit{{Name: "nofile", Soft: 1, Hard: 2}}, Tmpfs: map[string]string{"/t": "size=1m,mode=700"},
				}),
		},
		acs.Container{Name: "b", Image: "img", MountPoints: []acs.MountPoint{{SourceVolume: "h", ContainerPath: "/host"}, {SourceVolume: "v", ContainerPath: "/mine/"}}},
	)
	task.IpcMode = "task"
	task.Volumes = []acs.Volume{{Name: "v"}, {Name: "h", Host: &acs.HostVolumeProperties{SourcePath: "/srv"}}}
	got, err := containerSpec(&task, &task.Containers[0], &containerState{ID: "id"}, specContext{
		node: "n", netns: "/ns", files: "/f", hostname: "host", env: []string{"A=own", "C=own"}, logURI: "binary:///x",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := engine.ContainerSpec{
		ID: "id", Group: taskID(arn), Image: "img", EntryPoint: []string{"/e"}, Command: []string{"o"}, Env: []string{"C=own", "A=1", "B=2"},
		Labels: map[string]string{
			labelNode: "n", labelTask: arn, labelContainer: "a", labelCluster: task.TaskClusterArn, labelFamily: "web", labelVersion: "3",
		},
		WorkingDir: "/w", User: "1000:1", Hostname: "host", TTY: true, NetNS: "/ns", SharedIPC: true, ReadonlyRootfs: true,
		ShmSize: 16 << 20, Init: true, CapAdd: []string{"SYS_PTRACE"}, CapDrop: []string{"MKNOD"},
		Sysctls: map[string]string{"net.core.somaxconn": "1"}, Ulimits: []engine.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}},
		Resources: engine.Resources{CPUShares: 64, Memory: 128 << 20, MemoryReservation: 64 << 20}, LogURI: "binary:///x",
		Mounts: []engine.Mount{
			{Source: "/f/hosts", Target: "/etc/hosts"},
			{Source: "/f/resolv.conf", Target: "/etc/resolv.conf"},
			{Source: "/f/hostname", Target: "/etc/hostname"},
			{Source: "/f/volumes/v", Target: "/mine", CopyUp: true},
			{Source: "/srv", Target: "/host", ReadOnly: true, CopyUp: true},
			{Target: "/t", Options: []string{"size=1m", "mode=700"}},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestNamespaces(t *testing.T) {
	for _, tt := range []struct {
		pid, ipc string
		want     [4]bool // shared PID, host PID, shared IPC, host IPC
	}{
		{"", "", [4]bool{}}, {"task", "task", [4]bool{true, false, true, false}}, {"host", "host", [4]bool{false, true, false, true}}, {"", "none", [4]bool{}},
	} {
		task := newTaskMessage(essential("a"))
		task.PidMode, task.IpcMode = tt.pid, tt.ipc
		spec, err := containerSpec(&task, &task.Containers[0], &containerState{ID: "id"}, specContext{})
		if got := [4]bool{spec.SharedPID, spec.HostPID, spec.SharedIPC, spec.HostIPC}; err != nil || got != tt.want {
			t.Errorf("pidMode %q, ipcMode %q: %v, %v", tt.pid, tt.ipc, got, err)
		}
	}
}

func TestContainerSpecRefuses(t *testing.T) {
	for name, c := range map[string]acs.Container{
		"override of more than the command": {Overrides: `{"environment":[]}`},
		"docker's configuration is broken":  {DockerConfig: &acs.DockerConfig{Config: "{"}},
		"volume is not there":               {MountPoints: []acs.MountPoint{{SourceVolume: "x", ContainerPath: "/x"}}},
		"volumesFrom of nobody":             {VolumesFrom: []acs.VolumeFrom{{SourceContainer: "x"}}},
		"volumesFrom in a circle":           {Name: "a", VolumesFrom: []acs.VolumeFrom{{SourceContainer: "a"}}},
	} {
		task := newTaskMessage(c)
		if _, err := containerSpec(&task, &task.Containers[0], &containerState{}, specContext{files: "/f"}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDefaults(t *testing.T) {
	task := newTaskMessage(acs.Container{Name: "a", Image: "img"})
	got, err := containerSpec(&task, &task.Containers[0], &containerState{ID: "id"}, specContext{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Resources.CPUShares != 2 || len(got.Ulimits) != 1 || got.Ulimits[0] != (engine.Ulimit{Name: "nofile", Soft: 65535, Hard: 65535}) {
		t.Errorf("%+v", got)
	}
}
