package accept

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// synDropped is a filter that lets a listening socket see no packet that opens a
// connection: the second bit of a TCP header's fourteenth byte.
var synDropped = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 0, Jf: 1, K: 0x02},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
}

// turnAway makes a listener open no more connections, without closing it. Clients
// try again by themselves after a second, and find who listens then; of one that
// is closed, they may have been told already that it took their connection. What
// the system does not do, is not needed.
func turnAway(l net.Listener) {
	s, ok := l.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(synDropped)), Filter: &synDropped[0]})
	})
}
