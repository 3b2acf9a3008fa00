package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

type server struct {
	name      string
	healthyAt time.Time
	sleeping  atomic.Int64 // requests for /sleep
}

func serve(ctx context.Context, args []string) error {
	var port int
	var unhealthy, stopDelay time.Duration
	var asGRPC bool
	s := &server{}
	if _, err := flags("serve", args, func(f *flag.FlagSet) {
		f.IntVar(&port, "port", 80, "")
		f.StringVar(&s.name, "name", "", "")
		f.DurationVar(&unhealthy, "unhealthy", 0, "")
		f.DurationVar(&stopDelay, "stop-delay", 0, "")
		f.BoolVar(&asGRPC, "grpc", false, "")
	}); err != nil {
		return err
	}
	s.healthyAt = time.Now().Add(unhealthy)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return err
	}
	fmt.Println("listening on", l.Addr())
	if asGRPC {
		return serveGRPC(ctx, l, s.name)
	}
	srv := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	fmt.Println("got SIGTERM")
	wait(context.Background(), stopDelay)
	end, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := srv.Shutdown(end); err != nil {
		return err
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	fmt.Println("stopped")
	return nil
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", s.root)
	mux.HandleFunc("/health", s.health)
	mux.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) { reply(w, os.Environ()) })
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) { reply(w, r.Header) })
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		if code, err := strconv.Atoi(r.PathValue("code")); err == nil && code >= 200 && code < 600 {
			w.WriteHeader(code)
		}
	})
	mux.HandleFunc("/sleep/{d}", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.PathValue("d"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.sleeping.Add(1)
		defer s.sleeping.Add(-1)
		wait(r.Context(), d)
		fmt.Fprintln(w, "slept", d) //nolint:gosec // for no browser
	})
	mux.HandleFunc("/connect", func(w http.ResponseWriter, r *http.Request) {
		if err := dial(r.Context(), "tcp", r.URL.Query().Get("addr"), 3*time.Second); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintln(w, "connected")
	})
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		status, body, err := fetch(r.Context(), r.URL.Query().Get("url"), 5*time.Second)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body) //nolint:gosec // for no browser
	})
	mux.HandleFunc("/eat", func(w http.ResponseWriter, r *http.Request) {
		mb, err := strconv.Atoi(r.URL.Query().Get("mb"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		eatMiB(mb)
		fmt.Fprintln(w, "holding", mb, "MiB more")
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex() // HTTP/2 has it anyway
		_, _ = io.Copy(w, r.Body) // until the client has sent all
	})
	mux.HandleFunc("/ws", s.webSocket)
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for i := 1; r.Context().Err() == nil; i++ {
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", i, s.name)
			if rc.Flush() != nil {
				return
			}
			wait(r.Context(), 100*time.Millisecond)
		}
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		for i := 1; r.Context().Err() == nil; i++ {
			fmt.Fprintln(w, "line", i)
			if rc.Flush() != nil {
				return
			}
			wait(r.Context(), 100*time.Millisecond)
		}
	})
	return mux
}

// webSocket says who is there, and then whatever it hears.
func (s *server) webSocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow() //nolint:errcheck // it is over
	ctx := r.Context()
	kind, said := websocket.MessageText, []byte(s.name)
	for c.Write(ctx, kind, said) == nil {
		if kind, said, err = c.Read(ctx); err != nil {
			return
		}
	}
}

func (s *server) root(w http.ResponseWriter, r *http.Request) {
	host, _ := os.Hostname() // empty is as good
	reply(w, map[string]any{
		"name": s.name, "sleeping": s.sleeping.Load(), "hostname": host, "pid": os.Getpid(), "remote": r.RemoteAddr, "host": r.Host,
		"method": r.Method, "uri": r.RequestURI, "proto": r.Proto, "headers": r.Header,
		"metadata": os.Getenv("ECS_CONTAINER_METADATA_URI_V4"),
	})
}

func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	if time.Now().Before(s.healthyAt) {
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}
