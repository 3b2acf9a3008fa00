package conduit

import (
	"net/netip"
	"strconv"
)

// ProxyV1 makes the header of the proxy protocol's version 1, which people can
// read, for a connection from a client to the load balancer's address own.
// https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt
func ProxyV1(client, own netip.AddrPort) []byte {
	family := "TCP4"
	if client.Addr().Is6() || own.Addr().Is6() {
		family = "TCP6"
	}
	if !client.IsValid() || !own.IsValid() || client.Addr().Is6() != own.Addr().Is6() {
		return []byte("PROXY UNKNOWN\r\n")
	}
	b := append([]byte("PROXY "), family+" "...)
	b = append(client.Addr().AppendTo(b), ' ')
	b = append(own.Addr().AppendTo(b), ' ')
	b = append(strconv.AppendUint(b, uint64(client.Port()), 10), ' ')
	b = strconv.AppendUint(b, uint64(own.Port()), 10)
	return append(b, "\r\n"...)
}
