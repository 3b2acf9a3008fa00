package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"roadstead.dev/internal/model/acs"
)

// sharedVolumes is the folder of the volumes that tasks share.
func (n *Node) sharedVolumes() string { return filepath.Join(n.cfg.StateDir, "volumes") }

// volumeSource is the folder of a volume: of the host's, of the task's own in
// its folder dir, or of one that tasks share.
func volumeSource(t *acs.Task, name, dir, shared string) (string, error) {
	for _, v := range t.Volumes {
		if v.Name != name {
			continue
		}
		switch {
		case v.Type == "docker" && v.Docker != nil:
			if len(v.Docker.DriverOpts) > 0 || v.Docker.Driver != "" && v.Docker.Driver != "local" {
				return "", fmt.Errorf("volume %s: volumes of driver %s with options are not there", name, v.Docker.Driver)
			}
			if v.Docker.Scope == "shared" {
				return filepath.Join(shared, name), nil
			}
		case v.Type != "" && v.Type != "host":
			return "", fmt.Errorf("volume %s: volumes of type %s are not there", name, v.Type)
		case v.Host != nil && v.Host.SourcePath != "":
			return v.Host.SourcePath, nil
		}
		return filepath.Join(dir, "volumes", name), nil
	}
	return "", fmt.Errorf("volume %s is not in the task", name)
}

// makeVolumes makes the folders of the task's volumes. A shared one must be
// there already unless it may be provisioned.
func makeVolumes(t *acs.Task, dir, shared string) error {
	for _, v := range t.Volumes {
		source, err := volumeSource(t, v.Name, dir, shared)
		if err != nil {
			return err
		}
		if d := v.Docker; d != nil && d.Scope == "shared" && !d.Autoprovision {
			if _, err := os.Stat(source); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("VolumeError: Agent could not create task's volume resources: volume %s is not on the instance", v.Name)
			}
		}
		if err := os.MkdirAll(source, 0o755); err != nil {
			return fmt.Errorf("make volume %s: %w", v.Name, err)
		}
	}
	return nil
}
