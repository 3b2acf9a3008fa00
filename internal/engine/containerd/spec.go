package containerd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"roadstead.dev/internal/engine"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// defaultShm is Docker's size of /dev/shm.
const defaultShm = 64 << 20

// builder turns a specification into options of the OCI spec.
type builder struct {
	engine *Engine
	spec   engine.ContainerSpec
	image  ocispec.ImageConfig
	// userErr is set while the options are applied: the user is looked up in
	// the image then.
	userErr error
}

func (b *builder) options(ctx context.Context) ([]oci.SpecOpts, error) {
	args, err := processArgs(b.spec, b.image)
	if err != nil {
		return nil, err
	}
	if b.spec.Init {
		if len(b.engine.cfg.InitCommand) == 0 {
			return nil, errors.New("this engine has no init process")
		}
		args = slices.Concat([]string{initPath}, b.engine.cfg.InitCommand[1:], []string{"--"}, args)
	}
	namespaces, err := b.namespaces(ctx)
	if err != nil {
		return nil, err
	}
	cwd := b.spec.WorkingDir
	if cwd == "" {
		cwd = b.image.WorkingDir
	}
	if cwd == "" {
		cwd = "/"
	}
	opts := []oci.SpecOpts{
		oci.WithoutRunMount,
		oci.WithDefaultUnixDevices,
		oci.WithProcessArgs(args...),
		oci.WithProcessCwd(cwd),
		b.env,
		oci.WithCgroup(b.engine.cgroupPath(b.spec.Group, b.spec.ID)),
		namespaces,
		b.mounts,
		b.user,
		b.limits,
	}
	if b.spec.Hostname != "" {
		opts = append(opts, oci.WithHostname(b.spec.Hostname))
	}
	if b.spec.TTY {
		opts = append(opts, oci.WithTTY)
	}
	if b.spec.ReadonlyRootfs {
		opts = append(opts, oci.WithRootFSReadonly())
	}
	return append(opts, b.security()...), nil
}

// processArgs follows Docker: a given entry point drops the image's command.
func processArgs(spec engine.ContainerSpec, image ocispec.ImageConfig) ([]string, error) {
	entry, cmd := spec.EntryPoint, spec.Command
	if len(entry) == 0 {
		entry = image.Entrypoint
		if len(cmd) == 0 {
			cmd = image.Cmd
		}
	}
	// docker's --entrypoint "" clears the image's.
	if len(entry) == 1 && entry[0] == "" {
		entry = nil
	}
	args := slices.Concat(entry, cmd)
	if len(args) == 0 {
		return nil, errors.New("no command specified")
	}
	return args, nil
}

func (b *builder) env(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	s.Process.Env = mergeEnv([]string{defaultPath}, b.hostEnv(), b.image.Env, b.spec.Env)
	return nil
}

// hostEnv is what Docker sets by itself.
func (b *builder) hostEnv() []string {
	var env []string
	if b.spec.Hostname != "" {
		env = append(env, "HOSTNAME="+b.spec.Hostname)
	}
	if b.spec.TTY {
		env = append(env, "TERM=xterm")
	}
	return env
}

// mergeEnv lays later lists over earlier ones; a name keeps its first place.
func mergeEnv(lists ...[]string) []string {
	var out []string
	at := map[string]int{}
	for _, l := range lists {
		for _, kv := range l {
			name, _, _ := strings.Cut(kv, "=")
			if i, ok := at[name]; ok {
				out[i] = kv
				continue
			}
			at[name] = len(out)
			out = append(out, kv)
		}
	}
	return out
}

func (b *builder) namespaces(ctx context.Context) (oci.SpecOpts, error) {
	opts := []oci.SpecOpts{}
	if b.spec.NetNS != "" {
		opts = append(opts, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: b.spec.NetNS}))
	}
	if b.spec.SharedIPC {
		path, err := b.engine.sharedIPC(b.spec.Group)
		if err != nil {
			return nil, err
		}
		opts = append(opts, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.IPCNamespace, Path: path}))
	}
	if b.spec.SharedPID {
		path, err := b.engine.sharedPID(ctx, b.spec.Group)
		if err != nil {
			return nil, err
		}
		opts = append(opts, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.PIDNamespace, Path: path}))
	}
	if b.spec.HostIPC {
		opts = append(opts, oci.WithHostNamespace(specs.IPCNamespace))
	}
	if b.spec.HostPID {
		opts = append(opts, oci.WithHostNamespace(specs.PIDNamespace))
	}
	if b.engine.cgroups.Unified() {
		opts = append(opts, oci.WithNamespacedCgroup())
	}
	return oci.Compose(opts...), nil
}

// initPath is where the init process is mounted, as Docker has it.
const initPath = "/sbin/docker-init"

func (b *builder) mounts(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	shm := b.spec.ShmSize
	if shm <= 0 {
		shm = defaultShm
	}
	for i, m := range s.Mounts {
		if m.Destination == "/dev/shm" {
			s.Mounts[i].Options = []string{"nosuid", "noexec", "nodev", "mode=1777", fmt.Sprintf("size=%d", shm)}
			if b.spec.HostIPC { // its memory is the machine's too
				s.Mounts[i] = specs.Mount{Destination: m.Destination, Type: "bind", Source: m.Destination, Options: []string{"rbind", "nosuid", "noexec", "nodev"}}
			}
		}
	}
	s.Mounts = append(s.Mounts, specs.Mount{
		Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
		Options: []string{"ro", "nosuid", "noexec", "nodev"},
	})
	if b.spec.Init {
		s.Mounts = append(s.Mounts, specs.Mount{
			Destination: initPath, Type: "bind", Source: b.engine.cfg.InitCommand[0], Options: []string{"bind", "ro"},
		})
	}
	// Parents before what is mounted inside them.
	mounts := slices.Clone(b.spec.Mounts)
	slices.SortStableFunc(mounts, func(x, y engine.Mount) int {
		return strings.Count(x.Target, "/") - strings.Count(y.Target, "/")
	})
	for _, m := range mounts {
		// What is asked for replaces what is there by default.
		s.Mounts = slices.DeleteFunc(s.Mounts, func(d specs.Mount) bool { return d.Destination == m.Target })
		if m.Source == "" {
			s.Mounts = append(s.Mounts, specs.Mount{
				Destination: m.Target, Type: "tmpfs", Source: "tmpfs",
				Options: append([]string{"noexec", "nosuid", "nodev"}, m.Options...),
			})
			continue
		}
		mode := "rw"
		if m.ReadOnly {
			mode = "ro"
		}
		s.Mounts = append(s.Mounts, specs.Mount{
			Destination: m.Target, Type: "bind", Source: m.Source,
			Options: append([]string{"rbind", "rprivate", mode}, m.Options...),
		})
	}
	return nil
}

func (b *builder) user(ctx context.Context, c oci.Client, ctr *containers.Container, s *oci.Spec) error {
	user := b.spec.User
	if user == "" {
		user = b.image.User
	}
	if user == "" {
		user = "0"
	}
	if err := oci.WithUser(user)(ctx, c, ctr, s); err != nil {
		b.userErr = fmt.Errorf("unable to find user %s: %w", user, err)
		return b.userErr
	}
	// The groups of the account; none when the caller named a group.
	name, _, grouped := strings.Cut(user, ":")
	if grouped {
		return nil
	}
	return oci.WithAdditionalGIDs(name)(ctx, c, ctr, s)
}

func (b *builder) limits(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	r := s.Linux.Resources
	if shares := b.spec.Resources.CPUShares; shares > 0 {
		// The kernel's range.
		v := uint64(min(max(shares, 2), 262144))
		r.CPU = &specs.LinuxCPU{Shares: &v}
	}
	m := b.spec.Resources
	if m.Memory > 0 || m.MemoryReservation > 0 {
		r.Memory = &specs.LinuxMemory{}
		if m.Memory > 0 {
			r.Memory.Limit = &m.Memory
		}
		if m.MemoryReservation > 0 {
			r.Memory.Reservation = &m.MemoryReservation
		}
	}
	if m.PidsLimit > 0 {
		r.Pids = &specs.LinuxPids{Limit: &m.PidsLimit}
	}
	s.Linux.Sysctl = b.spec.Sysctls
	s.Process.Rlimits = nil
	for _, u := range b.spec.Ulimits {
		l, changed := clampRlimit(rlimit(u))
		if changed {
			b.engine.cfg.Log.Warn("a ulimit is above what this process may give and was lowered",
				"container", b.spec.ID, "ulimit", u.Name, "hard", l.Hard, "soft", l.Soft)
		}
		s.Process.Rlimits = append(s.Process.Rlimits, l)
	}
	return nil
}

func (b *builder) security() []oci.SpecOpts {
	if b.spec.Privileged {
		return []oci.SpecOpts{oci.WithPrivileged, oci.WithAllDevicesAllowed, oci.WithNewPrivileges}
	}
	return []oci.SpecOpts{
		oci.WithAddedCapabilities(capabilities(b.spec.CapAdd)),
		oci.WithDroppedCapabilities(capabilities(b.spec.CapDrop)),
		b.heldCapabilities,
		oci.WithNewPrivileges,
		// Last: what it allows follows from the capabilities.
		defaultSeccomp,
	}
}

// defaultSeccomp is Docker's profile but for the x32 ABI, which is off in the
// kernels of all distributions: each ABI costs every start of a container a
// hundredth of a second in which the runtime compiles the filter.
func defaultSeccomp(ctx context.Context, c oci.Client, ctr *containers.Container, s *oci.Spec) error {
	if err := seccomp.WithDefaultProfile()(ctx, c, ctr, s); err != nil {
		return err
	}
	s.Linux.Seccomp.Architectures = slices.DeleteFunc(s.Linux.Seccomp.Architectures, func(a specs.Arch) bool { return a == specs.ArchX32 })
	return nil
}

// heldCapabilities drops the bounding set of what this machine cannot give,
// and what the user may not hold: Docker gives no effective ones to others
// than root.
func (b *builder) heldCapabilities(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	c := s.Process.Capabilities
	c.Inheritable, c.Ambient = nil, nil
	if s.Process.User.UID != 0 {
		c.Effective, c.Permitted = nil, nil
	}
	return nil
}

// capabilities gives the names their prefix; ALL is every one there is.
func capabilities(names []string) []string {
	var out []string
	for _, n := range names {
		n = strings.ToUpper(n)
		if n == "ALL" {
			return allCapabilities()
		}
		if !strings.HasPrefix(n, "CAP_") {
			n = "CAP_" + n
		}
		out = append(out, n)
	}
	return out
}

func rlimit(u engine.Ulimit) specs.POSIXRlimit {
	v := func(n int64) uint64 {
		if n < 0 {
			return unix.RLIM_INFINITY
		}
		return uint64(n)
	}
	return specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: v(u.Soft), Hard: v(u.Hard)}
}
