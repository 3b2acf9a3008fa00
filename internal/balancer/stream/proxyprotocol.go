package stream

import (
	"net/netip"
	"strconv"
)

// ProxyV1 appends the human-readable header of the proxy protocol.
// https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt
func ProxyV1(b []byte, client, local netip.AddrPort) []byte {
	family := "TCP4"
	if client.Addr().Is6() || local.Addr().Is6() {
		family = "TCP6"
	}
	if !client.IsValid() || !local.IsValid() || client.Addr().Is6() != local.Addr().Is6() {
		return append(b, "PROXY UNKNOWN\r\n"...)
	}
	b = append(append(append(b, "PROXY "...), family...), ' ')
	b = append(client.Addr().AppendTo(b), ' ')
	b = append(local.Addr().AppendTo(b), ' ')
	b = append(strconv.AppendUint(b, uint64(client.Port()), 10), ' ')
	b = strconv.AppendUint(b, uint64(local.Port()), 10)
	return append(b, "\r\n"...)
}
