// Package containerd runs containers on a containerd daemon (1.6 or newer),
// one containerd namespace for each instance of Roadstead.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/cgroup"
)

// Config of an Engine.
type Config struct {
	// Address is the daemon's socket.
	Address string
	// Namespace is the containerd namespace and the name of the parent of all
	// cgroups: the instance prefix.
	Namespace string
	// StateDir holds what must not outlive a boot: FIFOs, pinned namespaces,
	// runc's state. It must be the same after a restart.
	StateDir string
	// Snapshotter; empty means overlayfs where it works, else native.
	Snapshotter string
	// InitCommand starts the init process of containers that ask for one, and
	// the process that holds a group's process namespace: a static executable
	// and its arguments. Empty refuses such containers.
	InitCommand []string
	// Dial connects to registries; nil means a plain dialer. Names that end in
	// .localhost are dialled at LoopbackAddress whatever it is.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// LoopbackAddress is the host that *.localhost names stand for; empty means
	// 127.0.0.1.
	LoopbackAddress string
	Log             *slog.Logger
}

// Engine is a containerd namespace.
type Engine struct {
	cfg         Config
	client      *client.Client
	cgroups     *cgroup.Hierarchies
	snapshotter string
	registry    *http.Transport
	facts       factsCache
	quotas      quotas
	lease       lease

	mu    sync.Mutex
	locks map[string]*keyLock
}

var _ engine.Engine = (*Engine)(nil)

// New connects to the daemon.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.LoopbackAddress == "" {
		cfg.LoopbackAddress = "127.0.0.1"
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	// The client logs through a global of its own; what matters comes back as
	// errors.
	if err := log.SetLevel("error"); err != nil {
		return nil, fmt.Errorf("quiet containerd's client: %w", err)
	}
	cgroups, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	for _, d := range []string{"fifo", "ns"} {
		if err := os.MkdirAll(filepath.Join(cfg.StateDir, d), 0o700); err != nil {
			return nil, fmt.Errorf("make the engine's state folder: %w", err)
		}
	}
	c, err := client.New(cfg.Address, client.WithDefaultNamespace(cfg.Namespace), client.WithDefaultRuntime(runtimeName),
		client.WithTimeout(10*time.Second), client.WithExtraDialOpts([]grpc.DialOption{reconnect}))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd at %s: %w", cfg.Address, err)
	}
	e := &Engine{cfg: cfg, client: c, cgroups: cgroups, snapshotter: cfg.Snapshotter, locks: map[string]*keyLock{}}
	e.registry = e.transport()
	e.quotas = quotas{groups: map[string]*quota{}, apply: func(group string, cpus float64) {
		if err := cgroups.SetQuota(e.cgroupPath(group), cpus); err != nil && !errors.Is(err, fs.ErrNotExist) {
			cfg.Log.Warn("change a group's share of CPU time", "group", group, "error", err)
		}
	}}
	if err := e.prepare(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return e, nil
}

func (e *Engine) prepare(ctx context.Context) error {
	ctx = e.context(ctx)
	if err := e.client.NamespaceService().Create(ctx, e.cfg.Namespace, nil); err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("make containerd namespace %s: %w", e.cfg.Namespace, err)
	}
	if e.snapshotter != "" {
		return nil
	}
	e.snapshotter = "native"
	r, err := e.client.IntrospectionService().Plugins(ctx, "type==io.containerd.snapshotter.v1")
	if err != nil {
		return fmt.Errorf("list containerd's snapshotters: %w", err)
	}
	for _, p := range r.Plugins {
		if p.ID == "overlayfs" && p.InitErr == nil {
			e.snapshotter = "overlayfs"
		}
	}
	if e.snapshotter == "native" {
		e.cfg.Log.Warn("containerd has no overlayfs: images are copied for each container")
	}
	return nil
}

// reconnect makes a daemon that comes back be noticed soon.
var reconnect = grpc.WithConnectParams(grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: time.Second},
	MinConnectTimeout: 5 * time.Second,
})

// Close lets go of the daemon; containers keep running.
func (e *Engine) Close() error {
	e.registry.CloseIdleConnections()
	return e.client.Close()
}

const runtimeName = "io.containerd.runc.v2"

func (e *Engine) context(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, e.cfg.Namespace)
}

// runtime is runc, with its state beside the engine's own, so that nothing of
// it is left in /run/containerd.
func (e *Engine) runtime() client.NewContainerOpts {
	return client.WithRuntime(runtimeName, &options.Options{Root: filepath.Join(e.cfg.StateDir, "runc")})
}

// cgroupPath of a group, or of a container in it. Instances share no parent,
// so that one can be removed while another begins.
func (e *Engine) cgroupPath(parts ...string) string {
	return filepath.Join(append([]string{"/roadstead-" + e.cfg.Namespace}, parts...)...)
}

// RemoveUnusedImages removes images that no container uses and that were last
// pulled before the time.
func (e *Engine) RemoveUnusedImages(ctx context.Context, before time.Time) (int, error) {
	ctx = e.context(ctx)
	used := map[string]bool{}
	cs, err := e.client.ContainerService().List(ctx)
	if err != nil {
		return 0, fmt.Errorf("list containers: %w", err)
	}
	for _, c := range cs {
		used[c.Image] = true
	}
	images, err := e.client.ImageService().List(ctx)
	if err != nil {
		return 0, fmt.Errorf("list images: %w", err)
	}
	n := 0
	for _, i := range images {
		if used[i.Name] || i.UpdatedAt.After(before) {
			continue
		}
		if err := e.client.ImageService().Delete(ctx, i.Name); err != nil && !errdefs.IsNotFound(err) {
			return n, fmt.Errorf("remove image %s: %w", i.Name, err)
		}
		n++
	}
	return n, nil
}

// Purge removes everything that the instance has in containerd: containers,
// images, snapshots, the namespace, and its cgroups.
func (e *Engine) Purge(ctx context.Context) error {
	cs, err := e.client.ContainerService().List(e.context(ctx))
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var errs []error
	for _, c := range cs {
		errs = append(errs, e.RemoveContainer(ctx, c.ID))
	}
	entries, _ := os.ReadDir(filepath.Join(e.cfg.StateDir, "ns"))
	for _, g := range entries {
		errs = append(errs, e.RemoveGroup(ctx, g.Name()))
	}
	errs = append(errs, e.purgeNamespace(e.context(ctx)), os.RemoveAll(filepath.Join(e.cfg.StateDir, "runc")))
	errs = append(errs, e.cgroups.Remove(e.cgroupPath()))
	return errors.Join(errs...)
}

func (e *Engine) purgeNamespace(ctx context.Context) error {
	ls, err := e.client.LeasesService().List(ctx)
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	for _, l := range ls {
		if err := e.client.LeasesService().Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove lease: %w", err)
		}
	}
	list, err := e.client.ImageService().List(ctx)
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	for _, i := range list {
		// Waits for the garbage collection, which takes what only images held.
		if err := e.client.ImageService().Delete(ctx, i.Name, images.SynchronousDelete()); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove image %s: %w", i.Name, err)
		}
	}
	// A collection that was under way may still hold something.
	for range 50 {
		err = errors.Join(e.purgeSnapshots(ctx), e.purgeContent(ctx))
		if err == nil {
			err = e.client.NamespaceService().Delete(ctx, e.cfg.Namespace)
			if err == nil || errdefs.IsNotFound(err) {
				return nil
			}
			err = fmt.Errorf("remove containerd namespace: %w", err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return err
}

// purgeSnapshots removes what has no children; the next time, their parents.
func (e *Engine) purgeSnapshots(ctx context.Context) error {
	s := e.client.SnapshotService(e.snapshotter)
	for {
		var keys []string
		err := s.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
			keys = append(keys, i.Name)
			return nil
		})
		if err != nil {
			return fmt.Errorf("list snapshots: %w", err)
		}
		var errs []error
		for _, k := range keys {
			if err := s.Remove(ctx, k); err != nil && !errdefs.IsNotFound(err) {
				errs = append(errs, fmt.Errorf("remove snapshot %s: %w", k, err))
			}
		}
		if len(errs) == 0 || len(errs) == len(keys) {
			return errors.Join(errs...)
		}
	}
}
