package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// dial connects to the proxy.
func (p *proxy) dial(ctx context.Context, secure bool) (net.Conn, error) {
	if !secure {
		return new(net.Dialer).DialContext(ctx, "tcp", p.address)
	}
	d := tls.Dialer{Config: clientConfig()}
	return d.DialContext(ctx, "tcp", p.secure)
}

// websockets opens WebSockets through a proxy and returns how much more memory it
// has while nothing happens on them.
func (b *bench) websockets(ctx context.Context, p *proxy, secure bool) (more int64, err error) {
	before, err := p.memory()
	if err != nil {
		return 0, err
	}
	open := make([]net.Conn, 0, b.sockets)
	defer func() {
		for _, c := range open {
			err = errors.Join(err, c.Close())
		}
	}()
	buf := make([]byte, 1024)
	for range b.sockets {
		c, err := p.dial(ctx, secure)
		if err != nil {
			return 0, err
		}
		open = append(open, c)
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return 0, err
		}
		if _, err := c.Write([]byte("GET /socket HTTP/1.1\r\nHost: shop.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")); err != nil {
			return 0, err
		}
		n, err := c.Read(buf)
		if err != nil {
			return 0, err
		}
		if !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 101 ")) {
			return 0, fmt.Errorf("no WebSocket: %q", buf[:n])
		}
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(2 * time.Second):
	}
	after, err := p.memory()
	return after - before, err
}
