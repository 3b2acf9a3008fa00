package instance

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"roadstead.dev/internal/engine/cgroup"
	"roadstead.dev/internal/jsonfile"
)

// Subcommand is the first argument with which the program runs for an
// instance: roadstead instance STAGE FOLDER.
const Subcommand = "instance"

// The stages of a boot: the first enters the instance's group and network
// namespace and makes its other namespaces, the second is its first process.
const (
	bootStage = "boot"
	initStage = "init"
)

// Main runs a stage and returns the program's exit code.
func Main(args []string, stderr io.Writer) int {
	err := errors.New("want a stage and an instance's folder")
	if len(args) == 2 {
		switch args[0] {
		case bootStage:
			err = boot(args[1])
		case initStage:
			err = runInit(args[1], stderr)
		}
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "instance:", err)
		return 1
	}
	return 0
}

// boot starts an instance's first process and writes down which it is.
func boot(dir string) error {
	var s Spec
	if err := readJSON(filepath.Join(dir, specFile), &s); err != nil {
		return err
	}
	groups, err := cgroup.Detect()
	if err != nil {
		return err
	}
	if err := groups.Ensure(s.Cgroup, cgroup.Limits{CPUs: s.VCPUs, Memory: int64(s.Memory) << 20}); err != nil {
		return err
	}
	if err := groups.Add(s.Cgroup, os.Getpid()); err != nil {
		return err
	}
	// A child inherits the namespaces of the thread that makes it.
	runtime.LockOSThread()
	if s.Netns != "" {
		if err := enterNetns(s.Netns); err != nil {
			return err
		}
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(program, Subcommand, initStage, dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &unix.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("make the instance's namespaces: %w", err)
	}
	ticks, err := StartTicks(cmd.Process.Pid)
	if err == nil {
		err = jsonfile.Write(filepath.Join(dir, pidFile), process{cmd.Process.Pid, ticks, machineBoot()})
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("the instance's first process: %w", err)
	}
	return cmd.Process.Release()
}

func enterNetns(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	return nil
}
