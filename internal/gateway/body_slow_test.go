package gateway_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/gateway"
)

// pipes is a listener without a network, so that the time can be a fake one.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// servePipes serves the gateway inside a bubble.
func servePipes(t *testing.T, memory int64) *pipes {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: gateway.New(gateway.Config{
		Services:    []gateway.Service{gateway.Bind(logs.New(logsHandler{}), logsHandler{})},
		Credentials: directory{}, Authorizer: policies{}, Account: account, BodyMemory: memory,
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(p) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		<-time.After(time.Second) // connections that close linger, and time ends with the test
	})
	return p
}

// head is a signed request's, for a body that says nothing of itself.
func head(t *testing.T, body []byte) []byte {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, "http://endpoint/", nil)
	req.Header.Set("X-Amz-Target", "Logs_20140328.PutLogEvents")
	req.ContentLength = int64(len(body))
	(&signing{key: userKey, secret: secret, service: "logs", region: "us-east-1", at: time.Now()}).sign(t, req, body)
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST / HTTP/1.1\r\nHost: endpoint\r\nContent-Length: %d\r\n", len(body))
	_ = req.Header.Write(&b)
	return append(b.Bytes(), "\r\n"...)
}

// answer reads one, body included.
func answer(c net.Conn) (int, string, error) {
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func eventOf(n int) []byte {
	return []byte(`{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":1,"message":"` + strings.Repeat("m", n) + `"}]}`)
}

func TestSlowBodiesAreCut(t *testing.T) {
	for name, tt := range map[string]struct {
		sent   int           // bytes that come at once
		every  time.Duration // then one each; 0 means none
		within time.Duration
	}{
		"nothing":           {0, 0, 15 * time.Second},
		"half":              {40_000, 0, 15 * time.Second},
		"a byte at a time":  {0, time.Second, 21 * time.Second},
		"the end, at times": {900, 14 * time.Second, 21 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := servePipes(t, 0)
				c := p.dial()
				var wg sync.WaitGroup
				defer wg.Wait()
				defer c.Close()
				body := eventOf(80_000)
				begun := time.Now()
				wg.Go(func() {
					_, _ = c.Write(append(head(t, body), body[:tt.sent]...))
					for i := tt.sent; tt.every > 0; i++ {
						<-time.After(tt.every)
						if _, err := c.Write(body[i : i+1]); err != nil {
							return
						}
					}
				})
				status, text, err := answer(c)
				if err != nil || status != http.StatusRequestTimeout || !strings.Contains(text, "RequestTimeoutException") {
					t.Errorf("answer %d %s, %v", status, text, err)
				}
				if took := time.Since(begun); took > tt.within {
					t.Errorf("cut after %v", took)
				}
			})
		})
	}
}

// A body that keeps pace may take its time.
func TestSteadyBodiesAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePipes(t, 0)
		c := p.dial()
		defer c.Close()
		body := eventOf(1 << 20)
		go func() {
			_, _ = c.Write(head(t, body))
			for part := range slices.Chunk(body, 32<<10) {
				<-time.After(time.Second)
				_, _ = c.Write(part)
			}
		}()
		if status, text, err := answer(c); err != nil || status != http.StatusOK {
			t.Errorf("answer %d %.100s, %v", status, text, err)
		}
	})
}

// A thousand bodies that stand still, by which all memory for bodies would be
// taken, do not stop another client's, small or large.
func TestSlowBodiesStopNobody(t *testing.T) {
	for name, sent := range map[string]int{"small ones": 60_000, "large ones": 200_000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := servePipes(t, 8<<20)
				var wg sync.WaitGroup
				var slow []net.Conn
				for range 1000 {
					c := p.dial()
					slow = append(slow, c)
					body := eventOf(sent)
					wg.Go(func() {
						_, _ = c.Write(append(head(t, body), body[:sent]...))
						_, _ = io.Copy(io.Discard, c)
					})
				}
				<-time.After(2 * time.Second)
				for _, n := range []int{100, 50_000, 1_000_000} {
					c := p.dial()
					body := eventOf(n)
					begun := time.Now()
					go func() { _, _ = c.Write(append(head(t, body), body...)) }()
					status, text, err := answer(c)
					if err != nil || status != http.StatusOK {
						t.Errorf("%d bytes: answer %d %.100s, %v", n, status, text, err)
					}
					if took := time.Since(begun); took > time.Second {
						t.Errorf("%d bytes took %v", n, took)
					}
					_ = c.Close()
				}
				for _, c := range slow {
					_ = c.Close()
				}
				wg.Wait()
			})
		})
	}
}
