//go:build !linux

package accept

import "net"

func turnAway(net.Listener) {}
