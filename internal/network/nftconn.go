package network

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netns"
)

// socketBuffer is enough for the rules of some ten thousand interfaces.
const socketBuffer = 32 << 20

// nftOptions opens the namespace at path for a connection; empty means the
// process's own. Call closeFn when done.
func nftOptions(path string) (opts []nftables.ConnOption, closeFn func(), err error) {
	// A table travels in one message, and each of its parts is acknowledged.
	opts = append(opts, nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetWriteBuffer(socketBuffer), c.SetReadBuffer(socketBuffer))
	}))
	if path == "" {
		return opts, func() {}, nil
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	return append(opts, nftables.WithNetNSFd(int(ns))), func() { _ = ns.Close() }, nil
}
