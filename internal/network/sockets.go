package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ListenIn listens on a TCP address in the namespace at path. The address
// must be an IP address with a port. The listener works from any goroutine.
func ListenIn(ctx context.Context, path, address string) (net.Listener, error) {
	return ListenWith(ctx, new(net.ListenConfig), path, address)
}

// ListenWith is ListenIn with a configuration.
func ListenWith(ctx context.Context, with *net.ListenConfig, path, address string) (net.Listener, error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, err
	}
	var l net.Listener
	err := runIn(path, func() (err error) {
		l, err = with.Listen(ctx, "tcp", address)
		return err
	})
	return l, err
}

// ListenPacketIn is ListenIn for UDP.
func ListenPacketIn(ctx context.Context, path, address string) (net.PacketConn, error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, err
	}
	var c net.PacketConn
	err := runIn(path, func() (err error) {
		c, err = new(net.ListenConfig).ListenPacket(ctx, "udp", address)
		return err
	})
	return c, err
}

// DialIn connects to address, an IP address with a port, over network ("tcp"
// or "udp") from the namespace at path. It holds no thread while it waits.
func DialIn(ctx context.Context, path, network, address string) (net.Conn, error) {
	return dialFrom(ctx, path, network, address, Source{})
}

// Source is how a connection that is dialled looks to its target. Its zero
// value leaves it to the kernel.
type Source struct {
	// Addr is its source; port 0 means a free one.
	Addr netip.AddrPort
	// Foreign tells that Addr is an address that the namespace does not have.
	// The namespace must route what answers it to its own sockets.
	Foreign bool
	// Mark of the connection's packets; 0 means none.
	Mark uint32
}

// DialFrom is DialIn over TCP with a source.
func DialFrom(ctx context.Context, path, address string, from Source) (net.Conn, error) {
	return dialFrom(ctx, path, "tcp", address, from)
}

// prepare makes a socket be what s says.
func (s Source) prepare(fd int) error {
	if s.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(s.Mark)); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if !s.Addr.Addr().IsValid() {
		return nil
	}
	options := []int{unix.IP_BIND_ADDRESS_NO_PORT}
	if s.Foreign {
		options = append(options, unix.IP_TRANSPARENT)
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, o, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	// One that has ended and waits for stray packets is in nobody's way.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Port: int(s.Addr.Port()), Addr: s.Addr.Addr().Unmap().As4()}))
}

func dialFrom(ctx context.Context, path, network, address string, from Source) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	kind, proto := unix.SOCK_STREAM, unix.IPPROTO_TCP
	switch network {
	case "tcp", "tcp4":
	case "udp", "udp4":
		kind, proto = unix.SOCK_DGRAM, unix.IPPROTO_UDP
	default:
		return nil, net.UnknownNetworkError(network)
	}
	if !to.Addr().Unmap().Is4() {
		return nil, fmt.Errorf("dial %s: only IPv4 is supported", address)
	}
	fd := -1
	if err := runIn(path, func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
		return os.NewSyscallError("socket", err)
	}); err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer func() { _ = f.Close() }()
	if err := from.prepare(fd); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	if err := connect(ctx, f, fd, to); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return net.FileConn(f)
}

// connect connects a non-blocking socket and waits for the outcome in the
// runtime's poller.
func connect(ctx context.Context, f *os.File, fd int, to netip.AddrPort) error {
	err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().Unmap().As4()})
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.EINPROGRESS) {
		return os.NewSyscallError("connect", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := f.SetDeadline(deadline); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	// The socket is asked before the first wait too: what happened to it before
	// the poller was told to wait is not reported again.
	err = rc.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			result = os.NewSyscallError("getsockopt", err)
		case code != 0:
			result = os.NewSyscallError("connect", unix.Errno(code))
		default:
			_, err := unix.Getpeername(int(fd))
			return err == nil
		}
		return true
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return result
}
