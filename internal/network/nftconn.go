package network

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/vishvananda/netns"
)

// nftOptions opens the namespace at path for a connection; empty means the
// process's own. Call closeFn when done.
func nftOptions(path string) (opts []nftables.ConnOption, closeFn func(), err error) {
	if path == "" {
		return nil, func() {}, nil
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	return []nftables.ConnOption{nftables.WithNetNSFd(int(ns))}, func() { _ = ns.Close() }, nil
}
