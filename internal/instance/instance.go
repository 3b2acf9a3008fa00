// Package instance runs what EC2 calls an instance on this machine: a set of
// namespaces of its own (mount, pid, uts, ipc, cgroup, and the network
// namespace it is given), a root folder of its own, and a control group of its
// type's size. Its first process (see Init) is the machine inside: it runs the
// user data on the first boot and keeps the instance's services running.
//
// An instance is no child of the server's. It goes on when the server ends,
// and the next server finds it by its folder.
package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// Spec is an instance as it is launched. What is not a pointer to a file stays
// as it is for the instance's life.
type Spec struct {
	ID       string `json:"id"`
	Hostname string `json:"hostname"`
	// VCPUs and Memory (MiB) are its type's.
	VCPUs  float64 `json:"vcpus"`
	Memory int     `json:"memory"`
	// ImageID is the machine image that it was launched from.
	ImageID string `json:"imageId,omitempty"`
	Region  string `json:"region,omitempty"`
	// Boots counts the times that the instance was to boot, up to this one.
	Boots int `json:"boots,omitempty"`
	// Interfaces in the order of their devices: eth0 is the first.
	Interfaces []Interface `json:"interfaces,omitempty"`
	// Netns is the path of its network namespace, which the caller makes and
	// removes.
	Netns string `json:"netns"`
	// Cgroup is the path of its group in every hierarchy.
	Cgroup string `json:"cgroup"`
	// Nameserver resolves its names.
	Nameserver string `json:"nameserver,omitempty"`
	// UserData as it was given, decoded from base64. It runs on the first boot.
	UserData []byte `json:"userData,omitempty"`
	// Files are written before the first boot, by path.
	Files map[string]File `json:"files,omitempty"`
	// Env is the environment of the user data and the services, beside what
	// every program has.
	Env []string `json:"env,omitempty"`
	// Programs of the host that the instance sees read-only, by path in the
	// instance.
	Programs map[string]string `json:"programs,omitempty"`
	// Services run from the boot on, once the user data has ended, as
	// cloud-init's order has it.
	Services []Service `json:"services,omitempty"`
}

// Interface is a network interface of an instance.
type Interface struct {
	ID    string `json:"id"`
	VPCID string `json:"vpcId"`
	MAC   string `json:"mac"`
	// Address is the primary one, with the length of its subnet's block.
	Address   netip.Prefix `json:"address"`
	Secondary []netip.Addr `json:"secondary,omitempty"`
	// Index is the device's: 0 is eth0.
	Index int `json:"index"`
	// Bare ones are for a program in the instance, which gives them their
	// addresses.
	Bare bool `json:"bare,omitempty"`
}

// File is a file in the instance.
type File struct {
	Content []byte      `json:"content"`
	Mode    fs.FileMode `json:"mode"`
}

// Service is a program that is started again when it ends.
type Service struct {
	Name string   `json:"name"`
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"`
	// EnvFile is a file of NAME=VALUE lines in the instance, read at each start:
	// /etc/ecs/ecs.config is one.
	EnvFile string `json:"envFile,omitempty"`
}

// The files of an instance's folder.
const (
	specFile    = "spec.json"
	pidFile     = "pid.json"
	consoleFile = "console.log"
	// bootedFile is there once the first boot's user data has ended.
	bootedFile = "booted"
	// endedFile says why the instance is off: it is written by its first
	// process at the end of an orderly shutdown.
	endedFile = "ended"
	// stoppingFile is there from when the runtime began to stop the instance
	// until it boots again: its end is no event then.
	stoppingFile = "stopping"
	// rootDir is the root folder; upperDir has what the instance changed in
	// the folders that it shares with the machine, workDir is overlay's own.
	rootDir  = "root"
	upperDir = "upper"
	workDir  = "work"
)

// process is an instance's first process, told from another of the same
// number by when it started.
type process struct {
	PID   int    `json:"pid"`
	Ticks uint64 `json:"ticks"`
	// Boot tells the machine's boots apart: one that runs no longer since the
	// machine went down did not end by itself.
	Boot string `json:"boot,omitempty"`
}

// ErrBare says that an instance has its interfaces, but for bare ones.
var ErrBare = errors.New("bare interfaces are not attached")

// ErrNotFound says that there is no such instance.
var ErrNotFound = errors.New("no such instance")

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// State is what is known of an instance.
type State struct {
	Spec Spec
	// Running tells whether its first process lives.
	Running bool
	PID     int
	// Booted tells whether its user data has ended.
	Booted bool
	// Ended tells how an instance came to its end that nobody stopped; empty
	// for one that runs, that was stopped, or that the machine went down with.
	Ended End
	Since time.Time
}

// End is how an instance came to its end by itself.
type End string

// The ends of an instance.
const (
	// EndedByShutdown: what runs in it has shut it down.
	EndedByShutdown End = "shutdown"
	// EndedForReboot: what runs in it wants it to boot again.
	EndedForReboot End = "reboot"
	// EndedByFailure: its first process was killed, or broke down.
	EndedByFailure End = "failure"
)

func folder(dir, id string) (string, error) {
	if id == "" || id != filepath.Base(id) || id == "." || id == ".." {
		return "", fmt.Errorf("%q is no instance's id", id)
	}
	return filepath.Join(dir, id), nil
}
