package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

func connect(ctx context.Context, args []string) error {
	var timeout time.Duration
	var udp bool
	rest, err := flags("connect", args, func(f *flag.FlagSet) {
		f.DurationVar(&timeout, "timeout", 3*time.Second, "")
		f.BoolVar(&udp, "udp", false, "")
	})
	if err != nil {
		return err
	}
	addr, err := one("connect", rest)
	if err != nil {
		return err
	}
	network := "tcp"
	if udp {
		network = "udp"
	}
	if err := dial(ctx, network, addr, timeout); err != nil {
		return err
	}
	fmt.Println("connected", addr)
	return nil
}

// dial connects; over UDP it also waits for an echo.
func dial(ctx context.Context, network, addr string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if network != "udp" {
		return nil
	}
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 64))
	return err
}

func listen(_ context.Context, args []string) error {
	var port int
	var udp bool
	if _, err := flags("listen", args, func(f *flag.FlagSet) {
		f.IntVar(&port, "port", 80, "")
		f.BoolVar(&udp, "udp", false, "")
	}); err != nil {
		return err
	}
	addr := fmt.Sprintf(":%d", port)
	if udp {
		c, err := net.ListenPacket("udp", addr)
		if err != nil {
			return err
		}
		fmt.Println("listening on", c.LocalAddr())
		buf := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return err
			}
			if _, err := c.WriteTo(buf[:n], from); err != nil {
				return err
			}
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Println("listening on", l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = c.Close() }()
			_, _ = io.Copy(c, c) // until the peer closes
		}()
	}
}

func get(ctx context.Context, args []string) error {
	var timeout time.Duration
	rest, err := flags("get", args, func(f *flag.FlagSet) { f.DurationVar(&timeout, "timeout", 5*time.Second, "") })
	if err != nil {
		return err
	}
	url, err := one("get", rest)
	if err != nil {
		return err
	}
	status, body, err := fetch(ctx, url, timeout)
	if err != nil {
		return err
	}
	fmt.Println(status)
	fmt.Print(body)
	if !strings.HasSuffix(body, "\n") {
		fmt.Println()
	}
	return nil
}

func fetch(ctx context.Context, url string, timeout time.Duration) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(b), errors.Join(err, resp.Body.Close())
}

func resolve(ctx context.Context, args []string) error {
	name, err := one("resolve", args)
	if err != nil {
		return err
	}
	addrs, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(addrs, "\n"))
	return nil
}
