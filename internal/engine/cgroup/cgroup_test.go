package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/id"
)

func TestParseMounts(t *testing.T) {
	for name, c := range map[string]struct {
		in      string
		legacy  map[string]string
		unified string
		pure    bool
	}{
		"v2": {
			in:     "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			legacy: map[string]string{}, unified: "/sys/fs/cgroup", pure: true,
		},
		"hybrid": {
			in: "31 30 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n" +
				"32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct\n" +
				"33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n" +
				"34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			legacy: map[string]string{
				"memory": "/sys/fs/cgroup/memory", "cpu": "/sys/fs/cgroup/cpu,cpuacct",
				"cpuacct": "/sys/fs/cgroup/cpu,cpuacct", "name=systemd": "/sys/fs/cgroup/systemd",
			}, unified: "/sys/fs/cgroup/unified",
		},
		"none": {in: "1 2 3 / / rw - ext4 /dev/vda rw\nshort\n", legacy: map[string]string{}, pure: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := parseMounts([]byte(c.in))
			if d := cmp.Diff(c.legacy, h.legacy); d != "" {
				t.Error(d)
			}
			if h.unified != c.unified || h.Unified() != c.pure {
				t.Errorf("unified %q, pure %v", h.unified, h.Unified())
			}
		})
	}
}

func TestEnsureAndRemove(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("cgroups need root")
	}
	h, err := Detect()
	if err != nil {
		t.Skip(err)
	}
	root := "/rstest" + id.Hex(6)
	t.Cleanup(func() {
		if err := h.Remove(root); err != nil {
			t.Error(err)
		}
		if h.Exists(root) {
			t.Error("the group is still there")
		}
	})
	for _, l := range []Limits{{0.5, 64 << 20, 0}, {2, 128 << 20, 1000}, {0.25, 32 << 20, 500}} {
		if err := h.Ensure(root+"/task", l); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(h.legacy["memory"], root, "task", "memory.limit_in_bytes")
	if h.Unified() {
		file = filepath.Join(h.unified, root, "task", "memory.max")
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "33554432\n" {
		t.Errorf("memory limit: %q, %v", b, err)
	}
	value := func(legacy, unified string) string {
		t.Helper()
		controller, _, _ := strings.Cut(legacy, ".")
		file := filepath.Join(h.legacy[controller], root, "task", legacy)
		if h.Unified() {
			file = filepath.Join(h.unified, root, "task", unified)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		return strings.TrimSpace(string(b))
	}
	if v := value("pids.max", "pids.max"); v != "500" {
		t.Errorf("pids.max is %s", v)
	}
	for _, want := range []struct {
		cpus float64
		is   []string // by the versions
	}{{0.25, []string{"25000", "25000 100000"}}, {0, []string{"-1", "max 100000"}}, {1.5, []string{"150000", "150000 100000"}}} {
		if err := h.SetQuota(root+"/task", want.cpus); err != nil {
			t.Fatal(err)
		}
		if v := value("cpu.cfs_quota_us", "cpu.max"); !slices.Contains(want.is, v) {
			t.Errorf("quota of %v CPUs is %s", want.cpus, v)
		}
	}
	if n := h.OOMKills(root + "/task"); n != 0 {
		t.Errorf("%d OOM kills", n)
	}
}
