package network

import (
	"context"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// DialVPC connects over TCP from the host to an address in a VPC, ip:port,
// whatever the host's own routes say of it: two instances may have VPCs with
// the same addresses. The VPC sees the host's end of their link, and its
// security groups decide.
func (n *Network) DialVPC(ctx context.Context, vpcID, address string) (net.Conn, error) {
	device := n.linkName(vpcID)
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var bind error
		err := c.Control(func(fd uintptr) {
			bind = os.NewSyscallError("setsockopt", unix.BindToDevice(int(fd), device))
		})
		if err != nil {
			return err
		}
		return bind
	}}
	return d.DialContext(ctx, "tcp4", address)
}

// openLink lets the host reach all of a VPC's addresses over their link
// without a route to them: the host takes them for neighbours, and the VPC
// answers for them.
func (n *Network) openLink(vpcID, device string) error {
	if err := writeSysctls(map[string]string{"ipv4/conf/" + device + "/rp_filter": "2"}); err != nil {
		return err
	}
	return runIn(n.VPCNetns(vpcID), func() error {
		return writeSysctls(map[string]string{"ipv4/conf/" + hostDevice + "/proxy_arp": "1"})
	})
}
