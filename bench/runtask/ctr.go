package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"

	"roadstead.dev/bench/internal/server"
	"roadstead.dev/internal/engine/cgroup"
)

// kind is a way to run a container with ctr.
type kind struct {
	name string
	args []string
}

// netnsName is a namespace that is there already, with nothing in it.
const netnsName = "roadstead-bench"

var kinds = []kind{
	{"`ctr run -d`", nil},
	{"`ctr run -d --net-host`", []string{"--net-host"}},
	{"`ctr run -d --with-ns network:…`, a namespace that is there", []string{"--with-ns", "network:/run/netns/" + netnsName}},
}

// ctr is containerd's own client, on the daemon and the images that Roadstead
// uses.
type ctr struct {
	address, namespace, image string
	next                      int
}

func newCtr(ctx context.Context, s *server.Server, address, image string) (*ctr, error) {
	c := &ctr{address: address, image: image}
	if address == "" {
		pattern := "/run/roadstead/*/containerd/containerd.sock"
		out, err := exec.CommandContext(ctx, "sh", "-c", "ls "+pattern).Output()
		if err != nil {
			return nil, fmt.Errorf("find the server's containerd: %w", err)
		}
		// Another server may have one too: the image tells which is ours.
		for socket := range strings.FieldsSeq(string(out)) {
			if c.address = socket; c.find(ctx) {
				break
			}
		}
	}
	if !c.find(ctx) {
		return nil, errors.New("no containerd namespace has the image")
	}
	return c, c.makeNetns()
}

// find finds the namespace that has the image.
func (c *ctr) find(ctx context.Context) bool {
	out, err := exec.CommandContext(ctx, "ctr", "-a", c.address, "namespaces", "ls", "-q").Output()
	if err != nil {
		return false
	}
	for ns := range strings.FieldsSeq(string(out)) {
		list, err := exec.CommandContext(ctx, "ctr", "-a", c.address, "-n", ns, "images", "ls", "-q").Output()
		if err == nil && strings.Contains(string(list), c.image) {
			c.namespace = ns
			return true
		}
	}
	return false
}

func (c *ctr) makeNetns() error {
	runtime.LockOSThread() // the thread ends with the program
	home, err := netns.Get()
	if err != nil {
		return err
	}
	defer func() { _ = home.Close() }()
	_ = netns.DeleteNamed(netnsName)
	ns, err := netns.NewNamed(netnsName)
	if err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	if err := ns.Close(); err != nil {
		return err
	}
	if err := netns.Set(home); err != nil {
		return err
	}
	runtime.UnlockOSThread()
	return nil
}

// close removes what ctr leaves behind when its containers are gone.
func (c *ctr) close() error {
	h, err := cgroup.Detect()
	if err != nil {
		return err
	}
	return errors.Join(netns.DeleteNamed(netnsName), h.Remove("/"+c.namespace))
}

func (c *ctr) exec(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ctr", append([]string{"-a", c.address, "-n", c.namespace}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ctr %s: %w: %s", args[0], err, out)
	}
	return nil
}

// run starts a container and removes it again, and tells how long each took.
func (c *ctr) run(ctx context.Context, k kind) (ran, stopped time.Duration, err error) {
	c.next++
	id := fmt.Sprintf("bench-%d", c.next)
	begun := time.Now()
	if err := c.exec(ctx, c.command(k, id)...); err != nil {
		return 0, 0, err
	}
	ran = time.Since(begun)
	settle()
	begun = time.Now()
	err = c.remove(ctx, id)
	return ran, time.Since(begun), err
}

func (c *ctr) command(k kind, id string) []string {
	return append(append([]string{"run", "-d"}, k.args...), c.image, id)
}

func (c *ctr) remove(ctx context.Context, id string) error {
	if err := c.exec(ctx, "task", "kill", "-s", "SIGTERM", id); err != nil {
		return err
	}
	// It fails until the process has ended.
	for {
		err := c.exec(ctx, "task", "delete", id)
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), "must be stopped") && !strings.Contains(err.Error(), "failed precondition") {
			return err
		}
	}
	return c.exec(ctx, "container", "delete", id)
}

// many starts n containers at the same time, and removes them.
func (c *ctr) many(ctx context.Context, n int) (time.Duration, error) {
	var ids []string
	for range n {
		c.next++
		ids = append(ids, fmt.Sprintf("bench-%d", c.next))
	}
	begun := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	for _, id := range ids {
		g.Go(func() error { return c.exec(gctx, c.command(kinds[0], id)...) })
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	settle()
	for _, id := range ids {
		if err := c.remove(ctx, id); err != nil {
			return 0, err
		}
	}
	return took, nil
}
