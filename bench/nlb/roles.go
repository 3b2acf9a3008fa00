package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// roles are what this program does in the namespaces.
var roles = map[string]func([]string) error{"target": target, "send": send, "open": open}

// The first byte of a connection says what the client wants.
const (
	wantsAnswer = 'a' // one byte back
	wantsSink   = 's' // all taken, and one byte back at the end
)

// target answers at its ports until it is killed.
func target([]string) error {
	pair, err := certificate()
	if err != nil {
		return err
	}
	var all []net.Listener
	for _, port := range plainPorts {
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err != nil {
			return err
		}
		all = append(all, l)
	}
	inner, err := net.Listen("tcp", ":"+strconv.Itoa(securePort))
	if err != nil {
		return err
	}
	all = append(all, tls.NewListener(inner, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}))
	fmt.Print("+")
	failed := make(chan error, len(all))
	for _, l := range all {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					failed <- err
					return
				}
				go answer(c)
			}
		}()
	}
	return <-failed
}

func answer(c net.Conn) {
	defer c.Close() //nolint:errcheck // the client has its answer
	var first [1]byte
	if _, err := io.ReadFull(c, first[:]); err != nil {
		return
	}
	if first[0] == wantsSink {
		buf := make([]byte, 256<<10)
		for {
			if _, err := c.Read(buf); err != nil {
				break
			}
		}
	}
	_, _ = c.Write(first[:])
}

func connect(address string, secure bool) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	if secure {
		return tls.Client(c, &tls.Config{InsecureSkipVerify: true}), nil //nolint:gosec // it is the bench's own
	}
	return c, nil
}

func arguments(args []string) (address string, secure bool, d time.Duration, err error) {
	if len(args) != 3 {
		return "", false, 0, errors.New("address, whether it is secure, and a time are wanted")
	}
	secure, err = strconv.ParseBool(args[1])
	if err == nil {
		d, err = time.ParseDuration(args[2])
	}
	return args[0], secure, d, err
}

// send sends for a while and prints the rate at which all of it arrived, and
// how many gigabits that were.
func send(args []string) error {
	address, secure, d, err := arguments(args)
	if err != nil {
		return err
	}
	c, err := connect(address, secure)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // all has arrived
	if _, err := c.Write([]byte{wantsSink}); err != nil {
		return err
	}
	buf := make([]byte, 256<<10)
	begin, sent := time.Now(), 0
	for time.Since(begin) < d {
		n, err := c.Write(buf)
		if err != nil {
			return err
		}
		sent += n
	}
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return errors.New("the connection cannot be ended")
	}
	if err := half.CloseWrite(); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, buf[:1]); err != nil {
		return err
	}
	all := float64(sent) * 8 / 1e9
	_, err = fmt.Fprintln(os.Stdout, all/time.Since(begin).Seconds(), all)
	return err
}

// clients is how many open connections at once.
const clients = 8

// open opens connections for a while, one after the other each of the clients,
// and prints how many a second were served, and how many in all.
func open(args []string) error {
	address, secure, d, err := arguments(args)
	if err != nil {
		return err
	}
	var served atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, clients)
	begin := time.Now()
	for range clients {
		wg.Go(func() {
			for time.Since(begin) < d {
				if err := once(address, secure); err != nil {
					failed <- err
					return
				}
				served.Add(1)
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	select {
	case err := <-failed:
		return err
	default:
	}
	_, err = fmt.Fprintln(os.Stdout, float64(served.Load())/took.Seconds(), served.Load())
	return err
}

func once(address string, secure bool) error {
	c, err := connect(address, secure)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // it has been served
	one := []byte{wantsAnswer}
	if _, err := c.Write(one); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, one); err != nil {
		return err
	}
	// The target ends it first, so that the client's ports are free at once.
	_, err = c.Read(one)
	if err == nil || !errors.Is(err, io.EOF) {
		return fmt.Errorf("the target does not end the connection: %w", err)
	}
	return nil
}
