//go:build !linux

package l7

import "net"

func turnAway(net.Listener) {}
