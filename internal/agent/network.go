package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/network/machine"
	"roadstead.dev/internal/node"
)

// MachineNetwork gives tasks the network that their mode asks for on the
// machine: its own, a place on its bridge, or one of its interfaces.
type MachineNetwork struct {
	netns      string
	containers containers
}

var (
	_ node.Network    = (*MachineNetwork)(nil)
	_ node.Interfaces = (*MachineNetwork)(nil)
)

// containers gives tasks what is their own of the machine's network.
type containers interface {
	Bridged(ctx context.Context, task string, cs []machine.Container) ([]machine.Place, error)
	Own(ctx context.Context, task string, e machine.Interface) (string, error)
	WaitInterface(ctx context.Context, mac string) error
	Release(ctx context.Context, task string) error
}

// NetworkConfig of a MachineNetwork. All but Avoid is needed.
type NetworkConfig struct {
	Settings Settings
	// StateDir keeps what was given out; RunDir goes with a reboot.
	StateDir, RunDir string
	// Avoid are the blocks of addresses that the bridge is not given.
	Avoid []netip.Prefix
	Log   *slog.Logger
}

// NewNetwork makes the network of the machine's tasks, as an agent of before
// left it.
func NewNetwork(ctx context.Context, c NetworkConfig) (*MachineNetwork, error) {
	n, err := machine.New(machine.Config{
		Netns: MachineNetns, Dir: filepath.Join(c.RunDir, "netns"), StateDir: c.StateDir, Avoid: c.Avoid,
		Dynamic: c.Settings.DynamicPorts, Reserved: c.Settings.reserved(), Log: c.Log,
	})
	if err != nil {
		return nil, err
	}
	if err := n.Restore(ctx); err != nil {
		return nil, fmt.Errorf("put the tasks' network in force again: %w", err)
	}
	return &MachineNetwork{netns: MachineNetns, containers: n}, nil
}

// NewPretendedNetwork is one without a machine: it gives out ports and
// addresses, and nothing is there.
func NewPretendedNetwork(s Settings) *MachineNetwork {
	return &MachineNetwork{containers: machine.NewPretended(s.DynamicPorts, s.reserved())}
}

// reserved are the ports that no mapping without one gets.
func (s *Settings) reserved() []machine.Port {
	var out []machine.Port
	for _, p := range s.ReservedPorts {
		out = append(out, machine.Port{Number: p})
	}
	for _, p := range s.ReservedUDPPorts {
		out = append(out, machine.Port{Number: p, UDP: true})
	}
	return out
}

// Attach tells the namespaces: the machine's for host mode, each container's
// own for bridge mode, the task's own for awsvpc, and none for none, which gives
// each container one of its own with loopback alone.
func (m *MachineNetwork) Attach(ctx context.Context, t *acs.Task) (node.Attached, error) {
	switch t.NetworkMode {
	case "none":
		return node.Attached{}, nil
	case "host":
		return m.host(t)
	case "", "bridge":
		return m.bridge(ctx, t)
	case "awsvpc":
		e, err := interfaceOf(t)
		if err != nil {
			return node.Attached{}, err
		}
		path, err := m.containers.Own(ctx, execution.TaskID(t.Arn), e)
		return node.Attached{Netns: path}, err
	}
	return node.Attached{}, fmt.Errorf("network mode %s is not supported by this agent", t.NetworkMode)
}

// host gives containers the machine's namespace, where their ports are its.
func (m *MachineNetwork) host(t *acs.Task) (node.Attached, error) {
	out := node.Attached{Netns: m.netns, Containers: map[string]node.Place{}}
	for i := range t.Containers {
		mappings, err := mappingsOf(&t.Containers[i])
		if err != nil {
			return out, err
		}
		p := node.Place{Netns: m.netns}
		for _, x := range mappings {
			p.Bindings = append(p.Bindings, binding(machine.Binding{Container: x.Container, Host: x.Container, Count: max(1, x.Count), UDP: x.UDP}))
		}
		out.Containers[t.Containers[i].Name] = p
	}
	return out, nil
}

func (m *MachineNetwork) bridge(ctx context.Context, t *acs.Task) (node.Attached, error) {
	out := node.Attached{Containers: map[string]node.Place{}}
	var cs []machine.Container
	for i := range t.Containers {
		config, _, err := t.Containers[i].DockerConfig.Parse()
		if err != nil {
			return out, err
		}
		if config.NetworkDisabled {
			out.Containers[t.Containers[i].Name] = node.Place{}
			continue
		}
		mappings, err := mappingsOf(&t.Containers[i])
		if err != nil {
			return out, err
		}
		cs = append(cs, machine.Container{Name: t.Containers[i].Name, Mappings: mappings})
	}
	places, err := m.containers.Bridged(ctx, execution.TaskID(t.Arn), cs)
	if e, ok := errors.AsType[*machine.PortError](err); ok {
		return out, &node.ContainerError{Container: e.Container, Reason: "CannotStartContainerError: Error response from daemon: " +
			"driver failed programming external connectivity on endpoint " + e.Container + ": " + e.Error()}
	}
	if err != nil {
		return out, err
	}
	for _, p := range places {
		place := node.Place{Netns: p.Netns, Address: p.Address.Addr()}
		for _, b := range p.Bindings {
			place.Bindings = append(place.Bindings, binding(b))
		}
		out.Containers[p.Container] = place
	}
	return out, nil
}

// Detach takes away what the task was given.
func (m *MachineNetwork) Detach(ctx context.Context, t *acs.Task) error {
	return m.containers.Release(ctx, execution.TaskID(t.Arn))
}

// WaitInterface returns once the machine has an interface with the MAC address.
func (m *MachineNetwork) WaitInterface(ctx context.Context, mac string) error {
	return m.containers.WaitInterface(ctx, mac)
}

// mappingsOf are the ports of a container's definition.
func mappingsOf(c *acs.Container) ([]machine.Mapping, error) {
	var out []machine.Mapping
	for _, p := range c.PortMappings {
		m := machine.Mapping{Container: int(p.ContainerPort), Count: 1, Host: int(p.HostPort), UDP: p.Protocol == "udp"}
		if p.ContainerPortRange != "" {
			first, last, _ := strings.Cut(p.ContainerPortRange, "-")
			from, err1 := strconv.Atoi(first)
			to, err2 := strconv.Atoi(last)
			if err := errors.Join(err1, err2); err != nil || from < 1 || to < from || to > 65535 {
				return nil, fmt.Errorf("container %s: %q is no range of ports", c.Name, p.ContainerPortRange)
			}
			m.Container, m.Count, m.Host = from, to-from+1, 0
		}
		out = append(out, m)
	}
	return out, nil
}

// binding is one as it is reported. A range is one of several ports.
func binding(b machine.Binding) acs.NetworkBinding {
	out := acs.NetworkBinding{BindIP: "0.0.0.0", Protocol: b.Protocol()}
	if b.Count > 1 {
		out.ContainerPortRange = fmt.Sprintf("%d-%d", b.Container, b.Container+b.Count-1)
		out.HostPortRange = fmt.Sprintf("%d-%d", b.Host, b.Host+b.Count-1)
		return out
	}
	out.ContainerPort, out.HostPort = int32(b.Container), int32(b.Host)
	return out
}

// interfaceOf is the interface that is the task's own.
func interfaceOf(t *acs.Task) (machine.Interface, error) {
	if len(t.ElasticNetworkInterfaces) != 1 {
		return machine.Interface{}, fmt.Errorf("a task of network mode awsvpc has one interface, and not %d", len(t.ElasticNetworkInterfaces))
	}
	e := t.ElasticNetworkInterfaces[0]
	var out machine.Interface
	mac, err := net.ParseMAC(e.MacAddress)
	if err != nil {
		return out, fmt.Errorf("interface %s: %w", e.EC2ID, err)
	}
	out.MAC = mac.String()
	gateway, err := netip.ParsePrefix(e.SubnetGatewayIPv4Address)
	if err != nil {
		return out, fmt.Errorf("the gateway of interface %s: %w", e.EC2ID, err)
	}
	out.Gateway = gateway.Addr()
	for _, a := range e.IPv4Addresses {
		ip, err := netip.ParseAddr(a.PrivateAddress)
		if err != nil {
			return out, fmt.Errorf("an address of interface %s: %w", e.EC2ID, err)
		}
		if !ip.Is4() || !gateway.Addr().Is4() {
			return out, fmt.Errorf("interface %s: %s by %s is not of IPv4", e.EC2ID, ip, gateway)
		}
		if a.PrivateAddress == e.PrimaryIPv4() {
			out.Address = netip.PrefixFrom(ip, gateway.Bits())
		} else {
			out.Secondary = append(out.Secondary, ip)
		}
	}
	if !out.Address.IsValid() {
		return out, fmt.Errorf("interface %s has no address", e.EC2ID)
	}
	return out, nil
}

// ReadVPCBlocks asks the instance's metadata for its VPC's blocks of addresses.
func ReadVPCBlocks(ctx context.Context, metadata *imds.Client) ([]netip.Prefix, error) {
	mac, err := metaData(ctx, metadata, "mac")
	if err != nil {
		return nil, fmt.Errorf("read the instance's metadata: %w", err)
	}
	text, err := metaData(ctx, metadata, "network/interfaces/macs/"+mac+"/vpc-ipv4-cidr-blocks")
	if err != nil {
		return nil, fmt.Errorf("read the VPC's blocks of addresses: %w", err)
	}
	var out []netip.Prefix
	for f := range strings.FieldsSeq(text) {
		p, err := netip.ParsePrefix(f)
		if err != nil {
			return nil, fmt.Errorf("read the VPC's blocks of addresses: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}

func metaData(ctx context.Context, metadata *imds.Client, path string) (string, error) {
	out, err := metadata.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	if err != nil {
		return "", err
	}
	return read(out.Content)
}

// portRange reads "first-last".
func portRange(text string) (machine.PortRange, error) {
	first, last, _ := strings.Cut(text, "-")
	from, err1 := strconv.Atoi(strings.TrimSpace(first))
	to, err2 := strconv.Atoi(strings.TrimSpace(last))
	if err := cmp.Or(err1, err2); err != nil || from < 1 || to < from || to > 65535 {
		return machine.PortRange{}, fmt.Errorf("%q is no range of ports, such as 49153-65535", text)
	}
	return machine.PortRange{First: from, Last: to}, nil
}
