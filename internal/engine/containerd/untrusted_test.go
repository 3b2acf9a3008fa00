package containerd

import (
	"os"
	"path/filepath"
	"testing"
)

// Labels of a task definition must not reach what containerd or the engine
// take for their own: some name programs that run on the host.
func TestUserLabelsAreNoOrders(t *testing.T) {
	in := map[string]string{
		"team":   "red",
		labelLog: "binary:///bin/sh?-c=id", labelGroup: "other", labelStarted: "true", labelHolder: "true",
		"containerd.io/restart.status": "running", "containerd.io/restart.loguri": "binary:///bin/sh",
		"io.containerd.image.config.stop-signal": "SIGKILL",
	}
	out := userLabels(in)
	if len(out) != 1 || out["team"] != "red" {
		t.Errorf("%v are left", out)
	}
	if len(in) != 8 {
		t.Error("the caller's labels changed")
	}
	if userLabels(nil) == nil {
		t.Error("nothing to add to")
	}
}

// A container that shares the volume may plant links where the image has
// folders, for the copy to follow.
func TestCopyUpFollowsNoLinkOfTheVolume(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("owners can only be kept by root")
	}
	dir := t.TempDir()
	volume, image, outside := filepath.Join(dir, "volume"), filepath.Join(dir, "image"), filepath.Join(dir, "outside")
	for _, d := range []string{volume, filepath.Join(image, "d"), outside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"d/passwd", "seed"} {
		if err := os.WriteFile(filepath.Join(image, f), []byte("image"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(image, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(volume, "d")); err != nil {
		t.Fatal(err)
	}
	if err := fill(volume, image); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(outside, "passwd")); err == nil {
		t.Error("the copy left the volume")
	}
	if b, err := os.ReadFile(filepath.Join(volume, "seed")); err != nil || string(b) != "image" {
		t.Errorf("%q, %v", b, err)
	}
	if st, err := os.Stat(volume); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the volume's mode is %v, %v", st.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.copyup")); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}
