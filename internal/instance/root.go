package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// shared are the folders of the machine that an instance sees, with changes of
// its own laid over them: its image, so to say. Everything else is its own.
var shared = []string{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc"}

// secret are the files of shared folders that are the machine's alone.
var secret = []string{"etc/shadow", "etc/shadow-", "etc/gshadow", "etc/gshadow-", "etc/ssh", "etc/ssl/private", "etc/machine-id", "etc/crypttab", "etc/fstab", "etc/mtab"}

// tree is an instance's root folder before it is the root. The instance has
// written in it: a link there must lead nowhere outside, so every path is
// resolved below the folder.
type tree struct {
	path string
	root *os.Root
}

// makeRoot puts an instance's root folder together below dir, in the mount
// namespace that the caller has to itself, and returns its path.
func makeRoot(dir string, s *Spec) (string, error) {
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return "", fmt.Errorf("keep mounts from the machine: %w", err)
	}
	path := filepath.Join(dir, rootDir)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return "", err
	}
	if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
		return "", fmt.Errorf("mount root: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	t := &tree{path, root}
	if err := t.folders(); err != nil {
		return "", err
	}
	for _, name := range shared {
		if err := t.share(dir, name); err != nil {
			return "", err
		}
	}
	for at, from := range s.Programs {
		if err := t.bindFile(from, strings.TrimPrefix(at, "/")); err != nil {
			return "", err
		}
	}
	return path, t.mountSystem(s)
}

// folders makes those that an instance has of its own.
func (t *tree) folders() error {
	for path, mode := range map[string]fs.FileMode{
		"root": 0o700, "home": 0o755, "var/lib": 0o755, "var/log": 0o755, "var/cache": 0o755, "var/tmp": 0o777 | fs.ModeSticky, "tmp": 0o777 | fs.ModeSticky,
		"opt": 0o755, "srv": 0o755, "mnt": 0o755, "media": 0o755, "run": 0o755, "proc": 0o555, "sys": 0o555, "dev": 0o755,
	} {
		if err := t.root.MkdirAll(path, mode.Perm()); err != nil {
			return err
		}
		// MkdirAll heeds the umask and knows no sticky bit.
		if err := t.root.Chmod(path, mode); err != nil {
			return err
		}
	}
	return t.symlink("../run", "var/run")
}

func (t *tree) symlink(to, at string) error {
	err := t.root.Symlink(to, at)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// mount mounts a file system on a file or folder below the root.
func (t *tree) mount(source, at, kind string, flags uintptr, options string) error {
	f, err := t.root.Open(at)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := unix.Mount(source, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), kind, flags, options); err != nil {
		return fmt.Errorf("mount /%s: %w", at, err)
	}
	return nil
}

// mountFolder makes a folder and mounts a file system on it.
func (t *tree) mountFolder(source, at, kind string, flags uintptr, options string) error {
	if err := t.root.MkdirAll(at, 0o755); err != nil {
		return err
	}
	return t.mount(source, at, kind, flags, options)
}

// share lays an instance's changes over one of the machine's folders.
func (t *tree) share(dir, name string) error {
	info, err := os.Lstat("/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		to, err := os.Readlink("/" + name)
		if err != nil {
			return err
		}
		return t.symlink(to, name)
	}
	upper, work := filepath.Join(dir, upperDir, name), filepath.Join(dir, workDir, name)
	for _, d := range []string{upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	own, err := os.OpenRoot(upper)
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	for _, path := range secret {
		if rest, ok := strings.CutPrefix(path, name+"/"); ok {
			if err := hide("/"+path, own, rest); err != nil {
				return err
			}
		}
	}
	options := "lowerdir=/" + name + ",upperdir=" + upper + ",workdir=" + work
	if err := t.mountFolder("overlay", name, "overlay", 0, options); err != nil {
		return fmt.Errorf("lay the instance's own files over /%s (its folder must be on a file system that takes overlays, such as ext4 or xfs): %w", name, err)
	}
	return nil
}

// hide makes a file of the lower folder absent, unless the instance has made
// one of its own.
func hide(lower string, upper *os.Root, path string) error {
	if _, err := os.Lstat(lower); err != nil {
		return nil // there is nothing to hide
	}
	if _, err := upper.Lstat(path); err == nil {
		return nil
	}
	parent := filepath.Dir(path)
	if err := upper.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	in, err := upper.Open(parent)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	// Overlay's sign for a file that is gone.
	if err := unix.Mknodat(int(in.Fd()), filepath.Base(path), unix.S_IFCHR, 0); err != nil {
		return fmt.Errorf("hide %s: %w", lower, err)
	}
	return nil
}

// bindFile shows a file of the machine in the instance, read-only.
func (t *tree) bindFile(from, at string) error {
	if err := t.root.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	f, err := t.root.OpenFile(at, os.O_CREATE|os.O_RDONLY, 0o755)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := t.mount(from, at, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return t.mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}

// mountSystem mounts the kernel's file systems.
func (t *tree) mountSystem(s *Spec) error {
	const safe = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV
	for _, m := range []struct {
		source, at, kind string
		flags            uintptr
		options          string
	}{
		{"proc", "proc", "proc", safe, ""},
		{"sysfs", "sys", "sysfs", safe, ""},
		{"tmpfs", "run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		{"tmpfs", "dev", "tmpfs", unix.MS_NOSUID, "mode=755,size=65536k"},
		{"devpts", "dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{"tmpfs", "dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"mqueue", "dev/mqueue", "mqueue", safe, ""},
	} {
		if err := t.mountFolder(m.source, m.at, m.kind, m.flags, m.options); err != nil {
			return err
		}
	}
	if err := t.makeDevices(); err != nil {
		return err
	}
	if err := t.mountGroups(); err != nil {
		return err
	}
	return t.showMemory(s.Memory)
}

// makeDevices makes the devices that every program may use. The kernel's log
// is the machine's: what is written to an instance's goes nowhere.
func (t *tree) makeDevices() error {
	dev, err := t.root.Open("dev")
	if err != nil {
		return err
	}
	defer func() { _ = dev.Close() }()
	for name, number := range map[string][2]uint32{
		"null": {1, 3}, "zero": {1, 5}, "full": {1, 7}, "random": {1, 8}, "urandom": {1, 9}, "tty": {5, 0}, "kmsg": {1, 3}, "fuse": {10, 229},
	} {
		if err := unix.Mknodat(int(dev.Fd()), name, unix.S_IFCHR|0o666, int(unix.Mkdev(number[0], number[1]))); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
		if err := t.root.Chmod("dev/"+name, 0o666); err != nil {
			return err
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"} {
		if err := t.symlink(to, "dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

// mountGroups mounts the control groups anew: seen from the instance's cgroup
// namespace, its own group is their root.
func (t *tree) mountGroups() error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	var done []string
	for line := range strings.Lines(string(b)) {
		left, right, _ := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) < 5 || len(r) < 3 || !strings.HasPrefix(l[4], "/sys/fs/cgroup") || slices.Contains(done, l[4]) {
			continue
		}
		kind, options := r[0], ""
		switch kind {
		case "tmpfs":
			options = "mode=755"
		case "cgroup":
			options = controllersOf(r[2])
		case "cgroup2":
		default:
			continue
		}
		if err := t.mountFolder(kind, strings.TrimPrefix(l[4], "/"), kind, flags, options); err != nil {
			return err
		}
		done = append(done, l[4])
	}
	return nil
}

// controllersOf drops what says nothing of the hierarchy from a mount's
// options.
func controllersOf(options string) string {
	all := slices.DeleteFunc(strings.Split(options, ","), func(o string) bool {
		return o == "rw" || o == "ro" || strings.HasPrefix(o, "release_agent")
	})
	return strings.Join(all, ",")
}

// showMemory lets programs that read /proc/meminfo see the instance's memory.
func (t *tree) showMemory(mib int) error {
	if mib == 0 {
		return nil
	}
	kib := mib << 10
	text := fmt.Sprintf("MemTotal: %8d kB\nMemFree: %8d kB\nMemAvailable: %8d kB\nBuffers: 0 kB\nCached: 0 kB\nSwapCached: 0 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n", kib, kib, kib)
	if err := t.root.WriteFile("run/meminfo", []byte(text), 0o444); err != nil {
		return err
	}
	return t.mount(filepath.Join(t.path, "run/meminfo"), "proc/meminfo", "", unix.MS_BIND, "")
}

// pivot makes root the root of this mount namespace, and lets go of the
// machine's.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	// The old root lies on top of the new one.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the machine's root: %w", err)
	}
	// What an agent mounts is to reach the containers that it starts.
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("share mounts: %w", err)
	}
	return os.Chdir("/")
}
