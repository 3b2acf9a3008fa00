package node

import (
	"cmp"
	"fmt"
	"net/netip"

	"roadstead.dev/internal/model/acs"
)

// networks are a container's: the bridge's, its machine's, or its task's own
// interfaces.
func networks(s *taskState, c *containerState, v4 bool) []metadataNetwork {
	t := &s.Task
	if len(t.ElasticNetworkInterfaces) > 0 {
		return interfaces(t, v4)
	}
	switch {
	case bridged(t):
		n := metadataNetwork{NetworkMode: "bridge"}
		if c.Place != nil && c.Place.Address.IsValid() {
			n.IPv4Addresses = []string{c.Place.Address.String()}
		}
		return []metadataNetwork{n}
	case t.NetworkMode == "host":
		// The published agent shows Docker's empty address there.
		return []metadataNetwork{{NetworkMode: "host", IPv4Addresses: []string{""}}}
	}
	return nil
}

func interfaces(t *acs.Task, v4 bool) []metadataNetwork {
	var out []metadataNetwork
	for i, e := range t.ElasticNetworkInterfaces {
		n := metadataNetwork{NetworkMode: cmp.Or(t.NetworkMode, "awsvpc")}
		for _, a := range e.IPv4Addresses {
			n.IPv4Addresses = append(n.IPv4Addresses, a.PrivateAddress)
		}
		for _, a := range e.IPv6Addresses {
			n.IPv6Addresses = append(n.IPv6Addresses, a.Address)
		}
		if v4 {
			index := int32(i)
			n.AttachmentIndex, n.MACAddress = &index, e.MacAddress
			n.DomainNameServers, n.DomainNameSearchList, n.PrivateDNSName = e.DomainNameServers, e.DomainName, e.PrivateDNSName
			n.SubnetGatewayIPv4Address = e.SubnetGatewayIPv4Address
			if p, err := netip.ParsePrefix(e.SubnetGatewayIPv4Address); err == nil {
				n.IPv4SubnetCIDRBlock = p.Masked().String()
			}
		}
		out = append(out, n)
	}
	return out
}

// ports are a container's, with those of its machine once they are known.
func ports(def *acs.Container, c *containerState) []metadataPort {
	var out []metadataPort
	if c.Place == nil {
		for _, p := range def.PortMappings {
			out = append(out, metadataPort{ContainerPort: p.ContainerPort, Protocol: cmp.Or(p.Protocol, "tcp"), HostPort: p.HostPort})
		}
		return out
	}
	for _, b := range c.Place.Bindings {
		p := metadataPort{ContainerPort: b.ContainerPort, Protocol: b.Protocol, HostPort: b.HostPort, HostIP: b.BindIP}
		if b.ContainerPortRange == "" {
			out = append(out, p)
			continue
		}
		var from, to, host int32
		if _, err := fmt.Sscanf(b.ContainerPortRange+" "+b.HostPortRange, "%d-%d %d-", &from, &to, &host); err != nil {
			continue // what the node itself wrote is a range
		}
		for i := range to - from + 1 {
			p.ContainerPort, p.HostPort = from+i, host+i
			out = append(out, p)
		}
	}
	return out
}
