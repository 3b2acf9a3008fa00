package edge

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

func TestConnectionsForOpenFiles(t *testing.T) {
	for files, want := range map[uint64]int{
		0: 32, 256: 32, 1024: 32, 2048: 512, 1 << 20: DefaultMaxConns, 1<<64 - 1: DefaultMaxConns,
	} {
		if got := connsFor(files); got != want {
			t.Errorf("%d files: %d connections, want %d", files, got, want)
		}
	}
}

// ask sends a request on a connection of its own, which stays open.
func ask(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := again(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func again(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err == nil && n == 0 {
		return fmt.Errorf("no answer")
	}
	return err
}

func TestIdleConnectionsMakeRoom(t *testing.T) {
	e := start(t, Config{Handler: http.HandlerFunc(how), Conns: NewConns(2)})
	first, second := ask(t, e.address), ask(t, e.address)
	awaitIdle(t, e.cfg.Conns, 2)
	if err := again(first); err != nil {
		t.Fatal(err)
	}
	awaitIdle(t, e.cfg.Conns, 2) // now second is idle for longer
	third := ask(t, e.address)
	cutOff(t, second, 5*time.Second)
	for name, c := range map[string]net.Conn{"first": first, "third": third} {
		if err := again(c); err != nil {
			t.Errorf("the %s connection: %v", name, err)
		}
	}
}

// awaitIdle waits until n connections are idle: a client has its answer a moment
// before the server is done with the request.
func awaitIdle(t *testing.T, cs *Conns, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); <-tick.C {
		cs.mu.Lock()
		now := cs.waiting[idle].Len()
		cs.mu.Unlock()
		if now == n {
			return
		}
	}
	t.Fatalf("there are not %d idle connections after 5s", n)
}

// Where every place is taken by a request that is being served, new
// connections wait for one to end.
func TestNewConnectionsWait(t *testing.T) {
	end := make(chan struct{})
	began := make(chan struct{}, 8)
	e := start(t, Config{Conns: NewConns(2), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		if r.URL.Path == "/wait" {
			<-end
		}
	})})
	for range 2 {
		c, err := net.Dial("tcp", e.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
		<-began
	}
	waits := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + e.address)
		if err == nil {
			_ = resp.Body.Close()
		}
		waits <- err
	}()
	select {
	case <-began:
		t.Error("a third connection was served")
	case <-time.After(50 * time.Millisecond):
	}
	close(end)
	if err := <-waits; err != nil {
		t.Error(err)
	}
}

// One client's silent and slow connections do not keep another's requests out.
func TestSlowConnectionsKeepNobodyOut(t *testing.T) {
	const places, slow = 200, 1000
	e := start(t, Config{Handler: http.HandlerFunc(how), Conns: NewConns(places)})
	for i := range slow {
		c, err := net.Dial("tcp", e.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nX-Slow: ")
		}
		if i%100 == 0 {
			begun := time.Now()
			ask(t, e.address)
			if took := time.Since(begun); took > time.Second {
				t.Errorf("behind %d slow connections a request took %v", i, took)
			}
		}
		if n := e.cfg.Conns.Open(); n > places {
			t.Fatalf("%d connections at %d places", n, places)
		}
	}
}
