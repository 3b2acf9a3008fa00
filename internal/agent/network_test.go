package agent

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/network/machine"
	"roadstead.dev/internal/node"
)

func networkTask(mode string, cs ...acs.Container) *acs.Task {
	return &acs.Task{Arn: "arn:aws:ecs:us-east-1:000000000000:task/c/0123", NetworkMode: mode, Containers: cs}
}

func TestNetworkModes(t *testing.T) {
	n := &MachineNetwork{netns: "/machine", containers: machine.NewPretended(machine.PortRange{First: 100, Last: 104}, []machine.Port{{Number: 100}})}
	web := acs.Container{Name: "web", PortMappings: []acs.PortMapping{{ContainerPort: 80}, {ContainerPort: 53, HostPort: 53, Protocol: "udp"}, {ContainerPortRange: "90-91", Protocol: "tcp"}}}
	off := acs.Container{Name: "off", PortMappings: web.PortMappings, DockerConfig: acs.NewDockerConfig(acs.DockerContainerConfig{NetworkDisabled: true}, acs.DockerHostConfig{})}
	for _, tt := range []struct {
		mode string
		want node.Attached
	}{
		{"none", node.Attached{}},
		{"host", node.Attached{Netns: "/machine", Containers: map[string]node.Place{
			"web": {Netns: "/machine", Bindings: []acs.NetworkBinding{
				{BindIP: "0.0.0.0", ContainerPort: 80, HostPort: 80, Protocol: "tcp"},
				{BindIP: "0.0.0.0", ContainerPort: 53, HostPort: 53, Protocol: "udp"},
				{BindIP: "0.0.0.0", ContainerPortRange: "90-91", HostPortRange: "90-91", Protocol: "tcp"},
			}},
		}}},
		{"", node.Attached{Containers: map[string]node.Place{
			"off": {},
			"web": {Address: netip.MustParseAddr("172.17.0.2"), Bindings: []acs.NetworkBinding{
				{BindIP: "0.0.0.0", ContainerPort: 80, HostPort: 101, Protocol: "tcp"},
				{BindIP: "0.0.0.0", ContainerPort: 53, HostPort: 53, Protocol: "udp"},
				{BindIP: "0.0.0.0", ContainerPortRange: "90-91", HostPortRange: "102-103", Protocol: "tcp"},
			}},
		}}},
	} {
		cs := []acs.Container{web}
		if tt.mode == "" {
			cs = append(cs, off)
		}
		for range 2 { // again: nothing changes
			got, err := n.Attach(t.Context(), networkTask(tt.mode, cs...))
			if err != nil {
				t.Error(err)
			}
			if d := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
				t.Errorf("%s: %s", tt.mode, d)
			}
		}
	}
	other := networkTask("bridge", acs.Container{Name: "dns", PortMappings: []acs.PortMapping{{ContainerPort: 53, HostPort: 53, Protocol: "udp"}}})
	other.Arn += "4"
	_, err := n.Attach(t.Context(), other)
	if e, ok := errors.AsType[*node.ContainerError](err); !ok || e.Container != "dns" || e.Reason !=
		"CannotStartContainerError: Error response from daemon: driver failed programming external connectivity on endpoint dns: Bind for 0.0.0.0:53 failed: port is already allocated" {
		t.Errorf("a port that is taken: %v", err)
	}
	if err := n.Detach(t.Context(), networkTask("bridge")); err != nil {
		t.Error(err)
	}
	if _, err := n.Attach(t.Context(), other); err != nil {
		t.Error(err)
	}
	if _, err := n.Attach(t.Context(), networkTask("awsvpc")); err == nil {
		t.Error("an awsvpc task without interface is attached")
	}
}

func TestInterfaceOf(t *testing.T) {
	task := networkTask("awsvpc")
	task.ElasticNetworkInterfaces = []acs.ElasticNetworkInterface{{
		MacAddress: "02:00:00:00:00:01", SubnetGatewayIPv4Address: "10.0.16.1/20",
		IPv4Addresses: []acs.IPv4AddressAssignment{{PrivateAddress: "10.0.16.9"}, {PrivateAddress: "10.0.16.8", Primary: true}},
	}}
	got, err := interfaceOf(task)
	want := machine.Interface{
		MAC: "02:00:00:00:00:01", Address: netip.MustParsePrefix("10.0.16.8/20"), Secondary: []netip.Addr{netip.MustParseAddr("10.0.16.9")}, Gateway: netip.MustParseAddr("10.0.16.1"),
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); err != nil || d != "" {
		t.Error(err, d)
	}
}

func FuzzMappings(f *testing.F) {
	for _, s := range []string{"80-90", "1-65535", "0-1", "9-8", "x", "70000-70001", "-", "1-2-3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := mappingsOf(&acs.Container{PortMappings: []acs.PortMapping{{ContainerPortRange: text}}}); err == nil && text != "" {
			if m[0].Container < 1 || m[0].Count < 1 || m[0].Container+m[0].Count-1 > 65535 || m[0].Host != 0 {
				t.Errorf("%q is %+v", text, m)
			}
		}
		if r, err := portRange(text); err == nil && (r.First < 1 || r.Last < r.First || r.Last > 65535) {
			t.Errorf("%q is %+v", text, r)
		}
	})
}

func FuzzInterface(f *testing.F) {
	f.Add("10.0.0.1/24", "10.0.0.5", "02:00:00:00:00:01")
	f.Add("", "x", "")
	f.Fuzz(func(t *testing.T, gateway, address, mac string) {
		task := networkTask("awsvpc")
		task.ElasticNetworkInterfaces = []acs.ElasticNetworkInterface{{
			MacAddress: mac, SubnetGatewayIPv4Address: gateway, IPv4Addresses: []acs.IPv4AddressAssignment{{PrivateAddress: address, Primary: true}},
		}}
		if e, err := interfaceOf(task); err == nil && (!e.Address.IsValid() || !e.Address.Addr().Is4() || !e.Gateway.Is4() || e.MAC == "") {
			t.Errorf("%+v", e)
		}
	})
}
