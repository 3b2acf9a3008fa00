package cgroup

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ProcessesBelow are those of the group path and of all groups below it, in
// any hierarchy.
func (h *Hierarchies) ProcessesBelow(path string) []int {
	var pids []int
	for _, m := range h.mounts() {
		_ = filepath.WalkDir(filepath.Join(m, path), func(dir string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil //nolint:nilerr // groups come and go
			}
			b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				return nil //nolint:nilerr // groups come and go
			}
			for f := range strings.FieldsSeq(string(b)) {
				if pid, err := strconv.Atoi(f); err == nil && pid > 1 {
					pids = append(pids, pid)
				}
			}
			return nil
		})
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}
