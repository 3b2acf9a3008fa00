package cgroup

import (
	"io/fs"
	"path/filepath"
	"slices"
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
			pids = append(pids, processes(dir)...)
			return nil
		})
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}
