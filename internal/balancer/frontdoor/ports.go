package frontdoor

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"sync"
)

// Ports opens the ports of load balancers' listeners on the host's loopback
// address, as far as they are free there. Safe for concurrent use.
type Ports struct {
	door *Door
	host string
	log  *slog.Logger

	mu     sync.Mutex
	closed bool
	open   map[int32]func() // closes the port and waits
	failed map[int32]bool   // those that were reported as taken
}

// NewPorts makes Ports on host, which is 127.0.0.1 but for tests.
func NewPorts(door *Door, host string, log *slog.Logger) *Ports {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Ports{door: door, host: host, log: log, open: map[int32]func(){}, failed: map[int32]bool{}}
}

// Set opens ports that are not open yet and closes those that are not named.
// A port that something else uses is tried again with the next Set.
func (p *Ports) Set(ports []int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	wanted := map[int32]bool{}
	for _, n := range ports {
		wanted[n] = true
		if p.open[n] == nil {
			p.listen(n)
		}
	}
	for n, stop := range p.open {
		if !wanted[n] {
			stop()
			delete(p.open, n)
		}
	}
	for n := range p.failed {
		if !wanted[n] {
			delete(p.failed, n)
		}
	}
}

func (p *Ports) listen(port int32) {
	l, err := net.Listen("tcp", net.JoinHostPort(p.host, strconv.Itoa(int(port))))
	if err != nil {
		if !p.failed[port] {
			p.log.Info("a load balancer's port is not free on the host", "port", port, "error", err)
		}
		p.failed[port] = true
		return
	}
	delete(p.failed, port)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.door.Serve(ctx, l, port); err != nil {
			p.log.Error("listening on the host failed", "port", port, "error", err)
		}
	}()
	p.open[port] = func() {
		cancel()
		<-done
	}
}

// Close closes all ports. The connections are the door's.
func (p *Ports) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for n, stop := range p.open {
		stop()
		delete(p.open, n)
	}
}
