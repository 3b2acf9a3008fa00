// Package engine is what a node needs of a container runtime: images, groups
// (a task's resource limits), containers, and their exits. Implementations
// live below it; enginetest is the suite that each passes.
//
// An engine keeps its containers when its process dies. A new engine with the
// same configuration finds them with ListContainers and goes on.
package engine

import (
	"context"
	"errors"
	"time"
)

// Errors that engines wrap.
var (
	// ErrNotFound: there is no such container, group or image.
	ErrNotFound = errors.New("not found")
	// ErrExists: the id is taken by a container that was made before.
	ErrExists = errors.New("exists already")
	// ErrNotRunning: the container has no process to act on.
	ErrNotRunning = errors.New("not running")
	// ErrRejected: the runtime refused the container as it was specified (the
	// command does not exist, a mount is impossible). Trying again is useless.
	ErrRejected = errors.New("rejected by the runtime")
)

// Engine runs containers. All methods are safe for concurrent use. Methods
// that make or remove are idempotent: what is there already in the wanted
// state is no error.
type Engine interface {
	// PullImage makes the image of a reference present and unpacked. The error
	// text is the registry's or the runtime's, ready to follow
	// "CannotPullContainerError: ".
	PullImage(ctx context.Context, req PullRequest) (Image, error)

	// EnsureGroup makes the group that limits all containers of a task
	// together, or changes the limits of one that exists.
	EnsureGroup(ctx context.Context, g Group) error
	// RemoveGroup removes an empty group.
	RemoveGroup(ctx context.Context, id string) error

	// CreateContainer prepares a container; nothing of it runs yet. ErrExists
	// when one with the id exists.
	CreateContainer(ctx context.Context, spec ContainerSpec) error
	// StartContainer starts a created container, or one that has stopped once
	// more (with the same file system). It returns once the process runs.
	StartContainer(ctx context.Context, id string) error
	// StopContainer sends the container's stop signal, waits up to timeout,
	// then kills. It returns once the container has stopped; stopping what
	// does not run is no error.
	StopContainer(ctx context.Context, id string, timeout time.Duration) error
	// Wait returns once the container's current process has ended, at once
	// when it has ended before. ErrNotRunning when it was never started.
	Wait(ctx context.Context, id string) (Exit, error)
	// Exec runs a command inside a running container and returns its exit code
	// and the start of its output. When ctx ends the command is killed.
	Exec(ctx context.Context, id string, cmd Command) (ExecResult, error)
	// Stats reads what a running container uses.
	Stats(ctx context.Context, id string) (Stats, error)
	// RemoveContainer kills the container if it runs and removes it with its
	// file system. Removing what is not there is no error.
	RemoveContainer(ctx context.Context, id string) error
	// InspectContainer tells a container's state; ErrNotFound.
	InspectContainer(ctx context.Context, id string) (Container, error)
	// ListContainers lists the containers that carry all the labels.
	ListContainers(ctx context.Context, labels map[string]string) ([]Container, error)

	// RemoveUnusedImages removes images that no container uses and that were
	// last used before the time.
	RemoveUnusedImages(ctx context.Context, before time.Time) (removed int, err error)

	// Close lets go of the runtime. Containers keep running.
	Close() error
}

// PullRequest asks for an image.
type PullRequest struct {
	// Ref is as in a task definition: "nginx", "public.ecr.aws/x/y:1",
	// "…@sha256:…".
	Ref string
	// Auth for the registry; nil means anonymous.
	Auth *RegistryAuth
	// OS and Architecture, in OCI's words; empty means the engine's own.
	OS           string
	Architecture string
	// IfNotPresent uses an image that is there already without asking the
	// registry. Otherwise the reference is resolved again.
	IfNotPresent bool
}

// RegistryAuth is what basic authentication takes.
type RegistryAuth struct {
	Username string
	Password string
}

// Image is an image that is present.
type Image struct {
	// Ref is the full reference, registry and tag included.
	Ref string
	// Digest is that of what the reference resolved to: the manifest, or the
	// index of a multi-platform image.
	Digest string
	// ID is the digest of the image's configuration.
	ID string
	// Size is the sum of the compressed layers in bytes.
	Size int64
}

// Group limits a task's containers together.
type Group struct {
	// ID is unique in the engine; it is part of file names.
	ID string
	// CPUs is the limit in CPUs, Memory in bytes; 0 means none.
	CPUs   float64
	Memory int64
	// PIDs is how many processes and threads it may have; 0 means as many as
	// the machine can.
	PIDs int64
}

// ContainerSpec is a container to be made.
type ContainerSpec struct {
	// ID is unique in the engine; it is part of file names.
	ID     string
	Group  string
	Labels map[string]string

	// Image must have been pulled with this reference.
	Image string
	// EntryPoint and Command as in Docker: nil means the image's, and a given
	// entry point also drops the image's command.
	EntryPoint []string
	Command    []string
	// Env is laid over the image's: "NAME=value".
	Env []string
	// WorkingDir and User are the image's when empty. User is a name or id,
	// with ":group" after it at will.
	WorkingDir string
	User       string
	Hostname   string
	TTY        bool
	OpenStdin  bool
	// StopSignal is the image's when empty, else SIGTERM.
	StopSignal string

	// NetNS is the path of the network namespace to join; empty means one of
	// its own, without interfaces.
	NetNS string
	// SharedIPC and SharedPID join the group's namespaces.
	SharedIPC bool
	SharedPID bool
	// HostIPC and HostPID leave the container in the machine's namespaces.
	HostIPC bool
	HostPID bool

	Mounts         []Mount
	ReadonlyRootfs bool
	// ShmSize in bytes; 0 means Docker's default of 64 MiB.
	ShmSize int64
	// Init runs a minimal init as the first process.
	Init bool

	CapAdd     []string
	CapDrop    []string
	Privileged bool
	Ulimits    []Ulimit
	Sysctls    map[string]string

	Resources Resources

	// LogURI is where the runtime sends the output: binary:// or file://.
	// Empty discards it.
	LogURI string
}

// Mount mounts a host path or a tmpfs.
type Mount struct {
	// Source is a path on the host; empty mounts a tmpfs.
	Source   string
	Target   string
	ReadOnly bool
	// Options are further mount options: size=…, mode=….
	Options []string
	// CopyUp fills an empty source directory with what the image has at the
	// target, as Docker does for volumes.
	CopyUp bool
}

// Ulimit is a resource limit by Docker's name (nofile); -1 is unlimited.
type Ulimit struct {
	Name       string
	Soft, Hard int64
}

// Resources are the container's own limits, within the group's.
type Resources struct {
	// CPUShares are CPU units (1024 a vCPU).
	CPUShares int64
	// Memory is the hard limit, MemoryReservation the soft one, in bytes.
	Memory            int64
	MemoryReservation int64
	// PidsLimit; 0 means none.
	PidsLimit int64
}

// Status is a container's.
type Status string

// A container is Created, then Running, then Stopped.
const (
	Created Status = "CREATED"
	Running Status = "RUNNING"
	Stopped Status = "STOPPED"
)

// Container is a container as it is.
type Container struct {
	ID     string
	Labels map[string]string
	Image  string
	Status Status
	// PID of the first process while Running, in the host's numbers.
	PID       int
	CreatedAt time.Time
	// Exit once Stopped.
	Exit *Exit
}

// Exit tells how a process ended.
type Exit struct {
	// Code is the exit status, or 128 + the signal that killed it.
	Code int
	At   time.Time
	// OOMKilled: the kernel killed a process of the container's because it or
	// its group was out of memory.
	OOMKilled bool
	// Lost: the engine can't tell the true code (the machine restarted).
	Lost bool
}

// Command is run inside a container, with the container's environment, user
// and working directory.
type Command struct {
	Args []string
	// MaxOutput is how many bytes of output to keep.
	MaxOutput int
}

// ExecResult is how a Command ended.
type ExecResult struct {
	Code   int
	Output string
}

// Stats is what a container uses. Counters grow from its start.
type Stats struct {
	Read time.Time
	// CPU time in nanoseconds, and the whole machine's.
	CPUTotal, CPUUser, CPUSystem uint64
	OnlineCPUs                   uint32
	CPUThrottledPeriods          uint64
	CPUPeriods                   uint64
	CPUThrottledTime             uint64
	// Memory in bytes. Cache is the page cache, InactiveFile its part that can
	// be reclaimed at once.
	MemoryUsage, MemoryMax, MemoryLimit  uint64
	MemoryCache, MemoryRSS, InactiveFile uint64
	PageFaults, MajorPageFaults          uint64
	PIDs                                 uint64
	BlockIO                              []BlockIO
	// Networks by interface name; all containers of a network namespace show
	// the same.
	Networks map[string]NetworkStats
}

// BlockIO counts one device's traffic in bytes and operations.
type BlockIO struct {
	Major, Minor          uint64
	ReadBytes, WriteBytes uint64
	ReadOps, WriteOps     uint64
}

// NetworkStats counts one interface's traffic.
type NetworkStats struct {
	RxBytes, RxPackets, RxErrors, RxDropped uint64
	TxBytes, TxPackets, TxErrors, TxDropped uint64
}
