package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"roadstead.dev/internal/authority"
	"roadstead.dev/internal/balancer/frontdoor"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/dispatch"
	"roadstead.dev/internal/edge"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/imds"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/bolt"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/tables"
)

// gcPercent is how much garbage there may be to what lives, in percent.
const gcPercent = 200

// server is the program in its main role. It is put together in three parts:
// the APIs (apis.go), the controllers (controllers.go), and what stands behind
// them on this machine (plane.go), or pretends to (pretend.go).
type server struct {
	*options
	log   *slog.Logger
	clock clock.Clock
	begun time.Time

	store store.Store
	// fleet places tasks on container instances.
	fleet     *fleet.Book
	directory *identity.Directory
	// dispatcher serves Fargate's node and the agents of container instances.
	dispatcher *dispatch.Dispatcher
	apis       *apis
	ca         *authority.Authority
	// identities signs the identity documents of instances.
	identities *imds.Signer
	ready      atomic.Bool
}

// serve runs a server until ctx ends. What it runs on the machine stays; the
// next one adopts it.
func serve(ctx context.Context, o *options, logTo io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(logTo, &slog.HandlerOptions{Level: slog.LevelInfo}))
	slog.SetDefault(log)
	if os.Getenv("GOGC") == "" {
		// The server's own memory is a few megabytes: with the default a load of
		// requests would have it collected all the time.
		debug.SetGCPercent(gcPercent)
	}
	s := &server{options: o, log: log, clock: clock.System{}, begun: time.Now()}

	s.store, err = bolt.Open(strings.TrimPrefix(o.storeAddress(), "bolt:"), bolt.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	if err := store.Reindex(ctx, s.store, tables.Indexed()...); err != nil {
		return err
	}
	s.fleet = fleet.New(s.store, rand.IntN)
	s.directory, err = identity.New(ctx, identity.Config{
		Store: s.store, Clock: s.clock, Log: log,
		// The built-in key is the gateway's own affair, on loopback alone.
		Root: []identity.RootKey{{AccessKeyID: o.rootKey, Secret: o.rootSecret, Account: o.accountID}},
	})
	if err != nil {
		return err
	}
	s.dispatcher = dispatch.New(dispatch.Config{Store: s.store, Clock: s.clock, Credentials: s.directory, Log: s.log})
	s.identities = imds.NewSigner(s.path("secrets", "instance-identity.pem"))
	if s.apis, err = newAPIs(ctx, s); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.apis.close()) }()

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("%w: is another server running? Choose another address with --listen", err)
	}
	defer func() { _ = listener.Close() }()
	// What stands behind the APIs tells others where they are.
	s.listen = listener.Addr().String()
	s.ca = o.authority()
	s.republishCA()
	return s.run(ctx, listener)
}

// plane is what stands behind the APIs: this machine's containers, networks
// and load balancers, or a pretence of them.
type plane interface {
	// controllers are the loops that drive the plane.
	controllers() []*controller.Controller
	// run does the plane's own work until ctx ends. It calls ready once tasks
	// can start.
	run(ctx context.Context, ready func()) error
	// door serves requests to the endpoint that name a load balancer.
	door() http.Handler
	close() error
}

// run serves until ctx ends or something fails. The APIs answer before the
// plane is there: it finds what they have written meanwhile.
func (s *server) run(ctx context.Context, listener net.Listener) (err error) {
	if err := s.writeState(); err != nil {
		return err
	}
	defer func() { _ = os.Remove(runStatePath(s.absDataDir())) }()

	door := newLateDoor()
	front := s.newEdge(entrance(door, s.apis.onHost(s)), edge.NewConns(edge.MaxConns()))
	closePlane := func() error { return nil }
	defer func() { err = errors.Join(err, closePlane()) }()

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := front.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		s.ready.Store(false)
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := front.Shutdown(patience); err != nil {
			return front.Close()
		}
		return nil
	})
	g.Go(func() error {
		return s.runtime().Run(ctx, s.controllers()...)
	})
	g.Go(func() error { return s.fleet.Run(ctx) })
	g.Go(func() error { return s.apis.run(ctx) })
	g.Go(func() error { return s.directory.Run(ctx) })
	g.Go(func() error {
		p, err := s.newPlane(ctx)
		if err != nil {
			return err
		}
		closePlane = p.close // once nothing uses it
		door.open(p.door())
		return s.drive(ctx, p)
	})
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// drive runs the plane until ctx ends.
func (s *server) drive(ctx context.Context, p plane) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.runtime().Run(ctx, p.controllers()...) })
	g.Go(func() error {
		return p.run(ctx, func() {
			s.ready.Store(true)
			s.log.Info("ready", "endpoint", s.endpoint(), "engine", s.engine, "account", s.accountID, "region", s.region, "after", time.Since(s.begun).Round(time.Millisecond).String())
			if s.engine == engineFake {
				s.log.Warn("the engine is fake: tasks only pretend to run, and load balancers answer nobody")
			}
		})
	})
	return g.Wait()
}

func (s *server) runtime() controller.Runtime {
	return controller.Runtime{Store: s.store, Clock: s.clock, Log: s.log}
}

// lateDoor is a door that is closed at first.
type lateDoor struct {
	to     http.Handler // set before opened is closed
	opened chan struct{}
}

// openTime is how long requests wait for a door to be opened.
const openTime = 10 * time.Second

func newLateDoor() *lateDoor { return &lateDoor{opened: make(chan struct{})} }

func (d *lateDoor) open(to http.Handler) {
	d.to = to
	close(d.opened)
}

func (d *lateDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	late := time.NewTimer(openTime)
	defer late.Stop()
	select {
	case <-d.opened:
		d.to.ServeHTTP(w, r)
	case <-late.C:
		http.Error(w, "Roadstead is starting: load balancers do not answer yet.", http.StatusServiceUnavailable)
	case <-r.Context().Done():
	}
}

// newEdge makes a server of the endpoint. Load balancers take connections over,
// which HTTP/2 does not allow.
func (s *server) newEdge(h http.Handler, conns *edge.Conns) *edge.Server {
	return edge.New(edge.Config{
		Handler: h, Certificate: s.ca.GetCertificate, HTTP1Only: frontdoor.IsLoadBalancer, Conns: conns, Log: s.log,
	})
}

// entrance leads requests for load balancers to the door, others to the APIs.
func entrance(door, apis http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if frontdoor.IsLoadBalancer(r.Host) {
			door.ServeHTTP(w, r)
			return
		}
		apis.ServeHTTP(w, r)
	})
}

// writeState tells the other commands where the server is.
func (s *server) writeState() error {
	ticks, err := startTicks(os.Getpid())
	if err != nil {
		return err
	}
	return writeRunState(s.absDataDir(), runState{
		PID: os.Getpid(), Started: s.begun.UTC(), Listen: s.listen, TLSNames: s.tlsNames, Region: s.region, Account: s.accountID, Engine: s.engine, Ticks: ticks,
	})
}

var errStarting = errors.New("the node is starting")

// readiness is what the health check answers.
func (s *server) readiness() error {
	if !s.ready.Load() {
		return errStarting
	}
	return nil
}

// path is a place in the data folder.
func (s *server) path(elem ...string) string {
	return filepath.Join(append([]string{s.absDataDir()}, elem...)...)
}
