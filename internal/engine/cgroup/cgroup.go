// Package cgroup makes, limits, reads and removes control groups, of version
// 1 (a hierarchy per controller), 2 (one for all), and of machines that mount
// both. Paths are absolute within each hierarchy: "/roadstead/x".
package cgroup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Hierarchies are the machine's cgroup mounts.
type Hierarchies struct {
	// legacy is the mount point of each version 1 controller.
	legacy map[string]string
	// unified is the mount point of version 2, "" when there is none.
	unified string
}

// controllers that groups use.
var controllers = []string{"cpu", "memory", "pids", "io"}

// Detect reads the machine's cgroup mounts.
func Detect() (*Hierarchies, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find cgroup mounts: %w", err)
	}
	h := parseMounts(b)
	if h.unified == "" && len(h.legacy) == 0 {
		return nil, errors.New("find cgroup mounts: no cgroup file system is mounted")
	}
	return h, nil
}

func parseMounts(mountinfo []byte) *Hierarchies {
	h := &Hierarchies{legacy: map[string]string{}}
	sc := bufio.NewScanner(bytes.NewReader(mountinfo))
	for sc.Scan() {
		left, right, ok := strings.Cut(sc.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		switch r[0] {
		case "cgroup2":
			if h.unified == "" {
				h.unified = l[4]
			}
		case "cgroup":
			for o := range strings.SplitSeq(r[2], ",") {
				switch o {
				case "rw", "ro", "xattr", "release_agent", "clone_children":
				default:
					if _, seen := h.legacy[o]; !seen {
						h.legacy[o] = l[4]
					}
				}
			}
		}
	}
	return h
}

// Unified tells whether version 2 holds the controllers.
func (h *Hierarchies) Unified() bool { return h.legacy["memory"] == "" && h.legacy["cpu"] == "" }

// mounts are the distinct mount points.
func (h *Hierarchies) mounts() []string {
	var m []string
	if h.unified != "" {
		m = append(m, h.unified)
	}
	for _, p := range h.legacy {
		m = append(m, p)
	}
	slices.Sort(m)
	return slices.Compact(m)
}

// Limits of a group. 0 means none.
type Limits struct {
	CPUs   float64
	Memory int64
	// PIDs is how many processes and threads there may be. It is not enforced
	// where the kernel has no controller for it.
	PIDs int64
}

const period = 100_000 // microseconds, the kernel's default

// Ensure makes the group path and sets its limits. A task's group is limited
// without swap, where the kernel can tell.
func (h *Hierarchies) Ensure(path string, l Limits) error {
	if h.Unified() {
		return h.ensureUnified(path, l)
	}
	if cpu := h.legacy["cpu"]; cpu != "" {
		dir := filepath.Join(cpu, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
		shares := int64(1024)
		if l.CPUs > 0 {
			shares = max(2, int64(l.CPUs*1024))
		}
		if err := write(dir, "cpu.shares", shares); err != nil {
			return err
		}
		if err := h.SetQuota(path, l.CPUs); err != nil {
			return err
		}
	} else if l.CPUs > 0 {
		return errors.New("limit CPU: the cpu cgroup controller is not mounted")
	}
	if pids := h.legacy["pids"]; pids != "" && l.PIDs > 0 {
		dir := filepath.Join(pids, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
		if err := write(dir, "pids.max", l.PIDs); err != nil {
			return err
		}
	}
	memory := h.legacy["memory"]
	if memory == "" {
		if l.Memory > 0 {
			return errors.New("limit memory: the memory cgroup controller is not mounted")
		}
		return nil
	}
	if err := h.mkdirHierarchical(memory, path); err != nil {
		return err
	}
	dir := filepath.Join(memory, path)
	limit := int64(-1)
	if l.Memory > 0 {
		limit = l.Memory
	}
	// The memory limit may not exceed the one with swap: which goes first
	// depends on whether they grow.
	err := write(dir, "memory.limit_in_bytes", limit)
	_ = write(dir, "memory.memsw.limit_in_bytes", limit) // absent without swap accounting
	if err != nil {
		err = write(dir, "memory.limit_in_bytes", limit)
	}
	return err
}

// SetQuota changes how much CPU time a group gets that Ensure made; 0 means as
// much as there is.
func (h *Hierarchies) SetQuota(path string, cpus float64) error {
	if h.Unified() {
		quota := "max"
		if cpus > 0 {
			quota = fmt.Sprint(int64(cpus * period))
		}
		return write(filepath.Join(h.unified, path), "cpu.max", fmt.Sprintf("%s %d", quota, period))
	}
	quota := int64(-1)
	if cpus > 0 {
		quota = int64(cpus * period)
	}
	return write(filepath.Join(h.legacy["cpu"], path), "cpu.cfs_quota_us", quota)
}

// mkdirHierarchical makes the directories of path one by one, since kernels
// before 5.11 let a limit cover the children only when told so first.
func (h *Hierarchies) mkdirHierarchical(mount, path string) error {
	dir := mount
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		dir = filepath.Join(dir, part)
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
		_ = write(dir, "memory.use_hierarchy", 1) // absent where it is always so
	}
	return nil
}

func (h *Hierarchies) ensureUnified(path string, l Limits) error {
	dir := h.unified
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		enable(dir)
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make cgroup: %w", err)
		}
	}
	enable(dir)
	if l.CPUs > 0 {
		if err := h.SetQuota(path, l.CPUs); err != nil {
			return err
		}
	}
	if l.PIDs > 0 {
		_ = write(dir, "pids.max", l.PIDs) // absent without the controller
	}
	if l.Memory > 0 {
		if err := write(dir, "memory.max", l.Memory); err != nil {
			return err
		}
		_ = write(dir, "memory.swap.max", 0) // absent without swap accounting
	}
	return nil
}

// enable lets the children of dir have controllers, as far as dir has them
// itself. What is missing shows when a limit is set.
func enable(dir string) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return
	}
	have := strings.Fields(string(b))
	for _, c := range controllers {
		if slices.Contains(have, c) {
			_ = write(dir, "cgroup.subtree_control", "+"+c)
		}
	}
}

// Add moves a process into the group path, which is made in all hierarchies.
func (h *Hierarchies) Add(path string, pid int) error {
	var errs []error
	for _, m := range h.mounts() {
		dir := filepath.Join(m, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		if h.legacy["cpuset"] == m {
			copyCpuset(m, path)
		}
		if err := write(dir, "cgroup.procs", pid); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// copyCpuset fills the empty cpusets of new groups from their parents: a
// group with an empty one takes no process.
func copyCpuset(mount, path string) {
	dir := mount
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		parent := dir
		dir = filepath.Join(dir, part)
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			own, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil || len(bytes.TrimSpace(own)) > 0 {
				continue
			}
			if b, err := os.ReadFile(filepath.Join(parent, file)); err == nil {
				_ = write(dir, file, string(bytes.TrimSpace(b)))
			}
		}
	}
}

// Remove removes the group path and its empty children from all hierarchies.
// What is not there is no error; a group with processes is.
func (h *Hierarchies) Remove(path string) error {
	var errs []error
	for _, m := range h.mounts() {
		if err := removeTree(filepath.Join(m, path)); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove cgroup %s: %w", dir, err)
	}
	return nil
}

// Exists tells whether the group path is there in any hierarchy.
func (h *Hierarchies) Exists(path string) bool {
	return slices.ContainsFunc(h.mounts(), func(m string) bool {
		_, err := os.Stat(filepath.Join(m, path))
		return err == nil
	})
}

// Processes are those of the group path itself, in any hierarchy.
func (h *Hierarchies) Processes(path string) []int {
	var pids []int
	for _, m := range h.mounts() {
		pids = append(pids, processes(filepath.Join(m, path))...)
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// processes are those of the group whose folder dir is; none when it is gone.
func processes(dir string) []int {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for f := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 1 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// OOMKills counts the processes of the group path that the kernel killed for
// want of memory, whether the group's own limit or a parent's was reached.
func (h *Hierarchies) OOMKills(path string) int64 {
	file := filepath.Join(h.unified, path, "memory.events")
	if m := h.legacy["memory"]; m != "" {
		file = filepath.Join(m, path, "memory.oom_control")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return n
		}
	}
	return 0
}

func write(dir, file string, v any) error {
	path := filepath.Join(dir, file)
	// Never create: the file would be an ordinary one on a wrong mount.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("set cgroup limit: %w", err)
	}
	_, err = fmt.Fprint(f, v)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("set cgroup limit: write %v to %s: %w", v, path, err)
	}
	return nil
}
