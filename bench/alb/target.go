package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// target is what stands behind the proxies. Where the small answers come from
// it does as little as it can, so that the proxies are what is measured.
func target(args []string) error {
	failed := make(chan error, len(args))
	for _, address := range args[1:] {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func() { failed <- serveBytes(l) }()
	}
	go func() { failed <- serveSmall(args[0]) }()
	return <-failed
}

// serveBytes answers /bytes/<n> with n bytes, and any upgrade with a WebSocket
// on which nothing happens.
func serveBytes(l net.Listener) error {
	chunk := make([]byte, 64<<10)
	answer := func(c net.Conn) {
		defer func() { _ = c.Close() }()
		buf := make([]byte, 1024)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			head := buf[:n]
			if bytes.Contains(head, []byte("pgrade: websocket")) {
				_, _ = c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"))
				_, _ = c.Read(buf[:1])
				return
			}
			_, number, _ := bytes.Cut(head, []byte("/bytes/"))
			number, _, _ = bytes.Cut(number, []byte(" "))
			left, err := strconv.Atoi(string(number))
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", left); err != nil {
				return
			}
			for left > 0 {
				n, err := c.Write(chunk[:min(left, len(chunk))])
				if err != nil {
					return
				}
				left -= n
			}
		}
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go answer(c)
	}
}

// serveSmall answers each request, which comes in one piece, with 100 bytes.
func serveSmall(address string) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(l, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(l, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}); err != nil {
		return err
	}
	if err := unix.Listen(l, 4096); err != nil {
		return err
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	watch := func(fd int) error {
		return unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	if err := watch(l); err != nil {
		return err
	}
	answer := append([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 100\r\n\r\n"), bytes.Repeat([]byte{'x'}, 100)...)
	buf := make([]byte, 4096)
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(ep, events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			fd := int(e.Fd)
			if fd == l {
				if c, _, err := unix.Accept4(l, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
					_ = unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
					if err := watch(c); err != nil {
						return err
					}
				}
				continue
			}
			if n, err := unix.Read(fd, buf); n <= 0 && err != unix.EAGAIN {
				_ = unix.Close(fd)
				continue
			}
			if _, err := unix.Write(fd, answer); err != nil {
				_ = unix.Close(fd)
			}
		}
	}
}
