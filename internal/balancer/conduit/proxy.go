package conduit

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

// The parts of a header of the proxy protocol, version 2.
// https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt
const (
	signature    = "\r\n\r\n\x00\r\nQUIT\n"
	versionLocal = 0x20
	versionProxy = 0x21
	tcpOverIPv4  = 0x11
	unspecified  = 0x00
	typeCRC32C   = 0x03
	// headLength is that of the fixed part; addresses follow it, and what else
	// is said.
	headLength = len(signature) + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ProxyV2 makes the header of a connection from a client to the load balancer's
// address own, both IPv4.
func ProxyV2(client, own netip.AddrPort) []byte {
	b := append([]byte(signature), versionProxy, tcpOverIPv4, 0, 0)
	s, d := client.Addr().Unmap().As4(), own.Addr().Unmap().As4()
	b = append(append(b, s[:]...), d[:]...)
	b = binary.BigEndian.AppendUint16(b, client.Port())
	b = binary.BigEndian.AppendUint16(b, own.Port())
	return checked(b)
}

// LocalHeader tells a target that a connection is the load balancer's own, as
// those of health checks are.
func LocalHeader() []byte {
	return checked(append([]byte(signature), versionLocal, unspecified, 0, 0))
}

// checked completes a header with its length and a checksum.
func checked(b []byte) []byte {
	b = append(b, typeCRC32C, 0, 4, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(b[headLength-2:], uint16(len(b)-headLength))
	binary.BigEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b, castagnoli))
	return b
}
