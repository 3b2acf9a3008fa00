// Package machine is the network of the containers of a container instance: a
// bridge for those of bridge mode, whose ports it publishes on the machine's
// addresses, and namespaces for tasks with network interfaces of their own. All
// of it is in the machine's own network namespace and goes with that.
//
// What it gave out is in a file. A process that begins anew adopts what is
// there, and makes again what a reboot has taken.
package machine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"

	"roadstead.dev/internal/jsonfile"
	"roadstead.dev/internal/network"
)

// Config of a Network. Netns, Dir and StateDir are needed.
type Config struct {
	// Netns is the path of the machine's own network namespace.
	Netns string
	// Dir is where the containers' namespaces are mounted, best in /run.
	Dir string
	// StateDir keeps what was given out.
	StateDir string
	// Avoid are blocks of addresses that containers must reach, and that the
	// bridge is therefore not given: those of the machine's VPC.
	Avoid []netip.Prefix
	// Dynamic are the host ports that mappings without one get.
	Dynamic PortRange
	// Reserved ports are given to no mapping without one.
	Reserved []Port
	Log      *slog.Logger
}

// The devices that the network makes in the machine's namespace, beside one for
// each container.
const (
	// Bridge joins the containers of bridge mode.
	Bridge = "ecs0"
	// LocalBridge leads tasks with an interface of their own to the agent.
	LocalBridge = "ecs-bridge"
)

// Network gives containers their network. Its methods may be called by any
// number of goroutines.
type Network struct {
	cfg Config

	mu    sync.Mutex
	state state
	ports *Ports
	// held are the sockets that keep published ports from other programs.
	held map[string][]io.Closer // by task
	// adopted: the kernel has what the state says.
	adopted bool
}

// state is what was given out, as it is kept on disk.
type state struct {
	// Block is the bridge's, zero while there is none; Last is the newest
	// address of it, and LastLocal of the local bridge's, so that addresses are
	// not used again at once.
	Block     netip.Prefix       `json:"block,omitzero"`
	Last      netip.Addr         `json:"last,omitzero"`
	LastLocal netip.Addr         `json:"lastLocal,omitzero"`
	Tasks     map[string]*allots `json:"tasks,omitempty"`
}

// allots is what a task was given.
type allots struct {
	Places    []Place    `json:"places,omitempty"`
	Interface *Interface `json:"interface,omitempty"`
	// Local is the address on the local bridge.
	Local netip.Addr `json:"local,omitzero"`
}

// Container is a container of a task in bridge mode.
type Container struct {
	Name     string
	Mappings []Mapping
}

// Place is where a container is.
type Place struct {
	Container string       `json:"container"`
	Netns     string       `json:"netns"`
	Address   netip.Prefix `json:"address"`
	Gateway   netip.Addr   `json:"gateway"`
	Bindings  []Binding    `json:"bindings,omitempty"`
}

// Interface is a network interface that is a task's own.
type Interface struct {
	MAC string `json:"mac"`
	// Address has the length of its subnet's block.
	Address   netip.Prefix `json:"address"`
	Secondary []netip.Addr `json:"secondary,omitempty"`
	Gateway   netip.Addr   `json:"gateway"`
}

// New reads what was given out. The kernel is left alone until something is
// asked for.
func New(cfg Config) (*Network, error) {
	if cfg.Dynamic == (PortRange{}) {
		cfg.Dynamic = DynamicPorts
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, err
	}
	n := &Network{cfg: cfg, held: map[string][]io.Closer{}, state: state{Tasks: map[string]*allots{}}}
	b, err := os.ReadFile(n.file())
	if err == nil {
		err = json.Unmarshal(b, &n.state)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the network's state: %w", err)
	}
	n.ports = NewPorts(cfg.Dynamic, cfg.Reserved)
	for task, a := range n.state.Tasks {
		for _, p := range a.Places {
			for _, b := range p.Bindings {
				n.ports.take(b, task)
			}
		}
	}
	return n, nil
}

func (n *Network) file() string { return filepath.Join(n.cfg.StateDir, "network.json") }

// save writes the state; n.mu is held.
func (n *Network) save() error {
	return jsonfile.Write(n.file(), n.state)
}

// Restore makes the kernel have what was given out, unless there is nothing. A
// task whose network cannot be made again is told of and left to its end.
func (n *Network) Restore(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.state.Tasks) == 0 {
		return nil
	}
	return n.adopt(ctx)
}

// adopt does what Restore says, once.
func (n *Network) adopt(ctx context.Context) error {
	if n.adopted {
		return nil
	}
	h, err := network.OpenHandle(n.cfg.Netns)
	if err != nil {
		return err
	}
	defer h.Close()
	for _, task := range slices.Sorted(maps.Keys(n.state.Tasks)) {
		a := n.state.Tasks[task]
		if err := n.ensure(ctx, h, task, a); err != nil {
			n.cfg.Log.WarnContext(ctx, "the network of a task is not as it was", "task", task, "error", err)
		}
	}
	if err := n.writeRules(); err != nil {
		return err
	}
	n.adopted = true
	return nil
}

// ensure makes the kernel have what a task was given, and holds its ports.
func (n *Network) ensure(ctx context.Context, h *netlink.Handle, task string, a *allots) error {
	if len(a.Places) > 0 {
		if err := n.ensureBridge(h); err != nil {
			return err
		}
	}
	for i := range a.Places {
		if err := n.ensurePlace(h, &a.Places[i]); err != nil {
			return err
		}
	}
	if len(n.held[task]) == 0 {
		for _, p := range a.Places {
			if err := n.hold(ctx, task, p.Bindings...); err != nil {
				// The rules lead there all the same.
				n.cfg.Log.WarnContext(ctx, "a published port is another program's too", "task", task, "error", err)
			}
		}
	}
	if a.Interface == nil || !network.IsNetns(n.netns(task)) {
		return nil
	}
	return n.ensureInterface(h, task, a)
}

// netns is where a namespace is mounted.
func (n *Network) netns(name string) string { return filepath.Join(n.cfg.Dir, name) }

// Bridged puts each container of a task into a namespace of its own on the
// bridge, and publishes their ports. It is idempotent. *PortError tells of a
// host port that is not free.
func (n *Network) Bridged(ctx context.Context, task string, containers []Container) ([]Place, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.adopt(ctx); err != nil {
		return nil, err
	}
	h, err := network.OpenHandle(n.cfg.Netns)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	a := n.state.Tasks[task]
	if a == nil {
		if err := n.chooseBlock(h); err != nil {
			return nil, err
		}
		if a, err = n.allot(ctx, task, containers); err != nil {
			return nil, err
		}
	}
	if err := n.ensure(ctx, h, task, a); err != nil {
		return nil, err
	}
	n.forgetUDP(h, a)
	return a.Places, n.writeRules()
}

// allot gives a task addresses and ports, and keeps that.
func (n *Network) allot(ctx context.Context, task string, containers []Container) (*allots, error) {
	a := &allots{}
	last := n.state.Last
	bindings, err := n.ports.Publish(task, containers, func(b Binding) error { return n.hold(ctx, task, b) })
	if err != nil {
		n.unpublish(task)
		return nil, err
	}
	for i, c := range containers {
		address, ok := n.freeAddress(n.state.Block, &n.state.Last, a)
		if !ok {
			err = fmt.Errorf("no available IPv4 addresses on this network's address pools: %s", n.state.Block)
			break
		}
		a.Places = append(a.Places, Place{
			Container: c.Name, Netns: n.netns(fmt.Sprintf("%s-%d", task, i)), Gateway: gateway(n.state.Block),
			Address: netip.PrefixFrom(address, n.state.Block.Bits()), Bindings: bindings[i],
		})
	}
	n.state.Tasks[task] = a
	if err == nil {
		err = n.save()
	}
	if err != nil {
		delete(n.state.Tasks, task)
		n.state.Last = last
		n.unpublish(task)
		return nil, err
	}
	return a, nil
}

// Release takes away what a task was given. An interface of its own goes back
// to the machine. Releasing what has nothing is no error.
func (n *Network) Release(ctx context.Context, task string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.state.Tasks[task]
	if a == nil {
		return nil
	}
	if err := n.adopt(ctx); err != nil {
		return err
	}
	h, err := network.OpenHandle(n.cfg.Netns)
	if err != nil {
		return err
	}
	defer h.Close()
	if a.Interface != nil {
		if err := n.giveBack(h, task, a.Interface); err != nil {
			return err
		}
		if err := network.DropNetns(n.netns(task)); err != nil {
			return err
		}
	}
	for _, p := range a.Places {
		if err := removePlace(h, &p); err != nil {
			return err
		}
	}
	// Nothing leads there any more before the address is someone else's.
	delete(n.state.Tasks, task)
	if err := n.writeRules(); err != nil {
		n.state.Tasks[task] = a
		return err
	}
	n.forget(h, a)
	n.unpublish(task)
	return n.save()
}

// used tells which addresses are given out, beside those of more.
func (n *Network) used(more *allots) map[netip.Addr]bool {
	used := map[netip.Addr]bool{}
	for _, a := range append(slices.Collect(maps.Values(n.state.Tasks)), more) {
		for _, p := range a.Places {
			used[p.Address.Addr()] = true
		}
		used[a.Local] = true
	}
	return used
}

// freeAddress finds an address of a block behind the last one.
func (n *Network) freeAddress(block netip.Prefix, last *netip.Addr, more *allots) (netip.Addr, bool) {
	a, ok := nextFree(block, *last, n.used(more))
	if ok {
		*last = a
	}
	return a, ok
}

// sortedPlaces are all containers' on the bridge.
func (n *Network) sortedPlaces() []Place {
	var all []Place
	for _, a := range n.state.Tasks {
		all = append(all, a.Places...)
	}
	slices.SortFunc(all, func(a, b Place) int { return cmp.Compare(a.Netns, b.Netns) })
	return all
}
