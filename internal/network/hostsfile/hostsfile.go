// Package hostsfile keeps a marked block of names in a hosts file. Several
// instances may keep a block each in one file, at the same time.
package hostsfile

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Entry gives names an address.
type Entry struct {
	Addr  netip.Addr
	Names []string
}

// Set makes the instance's block in the file hold the entries, and removes it
// when there are none. What is outside of the block stays as it is, and
// nothing is written when nothing changes. A file that is not there is made.
func Set(path, instance string, entries []Entry) error {
	if instance == "" || strings.ContainsAny(instance, " \t\r\n") {
		return fmt.Errorf("hosts file: %q is no instance", instance)
	}
	change := func(old []byte) []byte { return replace(old, instance, entries) }
	err := update(path, change)
	if errors.Is(err, os.ErrNotExist) && len(entries) > 0 {
		if err = create(path); err == nil {
			err = update(path, change)
		}
	}
	if err != nil {
		return fmt.Errorf("hosts file %s: %w", path, err)
	}
	return nil
}

// create makes an empty file that all may read, unless it is there by now.
func create(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// Remove takes the instance's block out of the file. A missing file is no
// error.
func Remove(path, instance string) error {
	err := Set(path, instance, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func begin(instance string) string { return "# BEGIN roadstead " + instance }
func end(instance string) string   { return "# END roadstead " + instance }

// replace is a file's content with another block. A block whose end is
// missing loses only the lines that look like ours.
func replace(old []byte, instance string, entries []Entry) []byte {
	var kept [][]byte
	inside := false
	var block [][]byte
	for _, line := range bytes.SplitAfter(old, []byte("\n")) {
		text := string(bytes.TrimRight(line, "\r\n"))
		switch {
		case text == begin(instance):
			kept = append(kept, block...) // an earlier block without an end
			inside, block = true, nil
		case inside && text == end(instance):
			inside, block = false, nil
		case inside:
			block = append(block, line)
		default:
			kept = append(kept, line)
		}
	}
	kept = append(kept, block...)
	out := bytes.Join(kept, nil)
	if len(entries) == 0 {
		return out
	}
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return append(out, render(instance, entries)...)
}

func render(instance string, entries []Entry) string {
	var lines []string
	for _, e := range entries {
		// One name a line: some resolvers limit the length of lines.
		for _, name := range e.Names {
			if name != "" && !strings.ContainsAny(name, " \t\r\n#") && e.Addr.IsValid() {
				lines = append(lines, e.Addr.String()+"\t"+name+"\n")
			}
		}
	}
	slices.Sort(lines)
	return begin(instance) + "\n" + strings.Join(slices.Compact(lines), "") + end(instance) + "\n"
}

// update changes the file under a lock, in one step.
func update(path string, change func([]byte) []byte) error {
	// Where the file is a link, the file behind it is replaced.
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		done, err := updateLocked(f, path, change)
		_ = f.Close()
		if done || err != nil {
			return err
		}
	}
}

// updateLocked reports false when someone replaced the file while we waited
// for its lock.
func updateLocked(f *os.File, path string, change func([]byte) []byte) (done bool, err error) {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	if !os.SameFile(mine, now) {
		return false, nil
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	content := change(old)
	if bytes.Equal(old, content) {
		return true, nil
	}
	err = replaceFile(path, content, mine)
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EROFS) {
		// A container's hosts file is a mount of its own, which only can be
		// written in place.
		err = overwrite(f, content)
	}
	return true, err
}

func replaceFile(path string, content []byte, like os.FileInfo) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".roadstead-hosts-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	err = func() error {
		if _, err := tmp.Write(content); err != nil {
			return err
		}
		if err := tmp.Chmod(like.Mode().Perm()); err != nil {
			return err
		}
		if st, ok := like.Sys().(*syscall.Stat_t); ok {
			if err := tmp.Chown(int(st.Uid), int(st.Gid)); err != nil {
				return err
			}
		}
		return tmp.Sync()
	}()
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func overwrite(f *os.File, content []byte) error {
	if _, err := f.WriteAt(content, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(content))); err != nil {
		return err
	}
	return f.Sync()
}
