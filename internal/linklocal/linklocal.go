// Package linklocal serves what a VPC offers to everything in it at link-local
// addresses: metadata and credentials of tasks and of instances, the API
// endpoint, and DNS. The sockets are opened inside the VPC's namespace, so the
// source address of a request is an interface's own: the data plane lets nobody
// forge it.
package linklocal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"roadstead.dev/internal/network"
)

// metadataPort is where tasks find their metadata and credentials.
const metadataPort = "80"

// Config of a Server.
type Config struct {
	// Wait returns once a VPC's namespace is there with its addresses; Netns is
	// the namespace's path.
	Wait  func(ctx context.Context, vpcID string) error
	Netns func(vpcID string) string
	// Metadata answers the task metadata and credentials of a VPC's tasks.
	Metadata func(vpcID string) http.Handler
	// InstanceMetadata answers the instance metadata service of a VPC, and
	// ConnContext is its server's. They may be nil.
	InstanceMetadata func(vpcID string) http.Handler
	ConnContext      func(ctx context.Context, c net.Conn) context.Context
	// NewAPI makes a VPC's server of AWS's APIs, at the metadata address and
	// APIPort.
	NewAPI  func() APIServer
	APIPort string
	// Resolver answers a VPC's DNS queries.
	Resolver func(vpcID string) dns.Handler
	Log      *slog.Logger
}

// APIServer serves connections until it is closed, and then returns
// http.ErrServerClosed.
type APIServer interface {
	Serve(l net.Listener) error
	Close() error
}

var _ APIServer = (*http.Server)(nil)

// Server serves any number of VPCs. Safe for concurrent use.
type Server struct {
	cfg Config

	mu   sync.Mutex
	vpcs map[string]*services
}

// services are one VPC's.
type services struct {
	resolver netip.Addr
	stop     []func()
	wg       sync.WaitGroup
}

// New makes a Server that serves no VPC yet.
func New(cfg Config) *Server { return &Server{cfg: cfg, vpcs: map[string]*services{}} }

// Open serves a VPC, once the data plane has made it. Opening what is open
// changes nothing.
func (s *Server) Open(ctx context.Context, vpcID string, cidr netip.Prefix) error {
	if err := s.cfg.Wait(ctx, vpcID); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vpcs[vpcID] != nil {
		return nil
	}
	v := &services{resolver: network.ResolverOf(cidr)}
	if err := s.start(ctx, v, vpcID); err != nil {
		v.close()
		return fmt.Errorf("serve %s: %w", vpcID, err)
	}
	s.vpcs[vpcID] = v
	return nil
}

func (s *Server) start(ctx context.Context, v *services, vpcID string) error {
	netns, address := s.cfg.Netns(vpcID), network.MetadataAddr.String()
	metadata := &http.Server{
		Handler: s.cfg.Metadata(vpcID), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	if err := s.serveHTTP(ctx, v, netns, net.JoinHostPort(address, metadataPort), metadata); err != nil {
		return err
	}
	if s.cfg.InstanceMetadata != nil {
		instances := &http.Server{
			Handler: s.cfg.InstanceMetadata(vpcID), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
			ConnContext: s.cfg.ConnContext, ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		}
		if err := s.serveHTTP(ctx, v, netns, net.JoinHostPort(network.InstanceMetadataAddr.String(), metadataPort), instances); err != nil {
			return err
		}
	}
	if err := s.serveHTTP(ctx, v, netns, net.JoinHostPort(address, s.cfg.APIPort), s.cfg.NewAPI()); err != nil {
		return err
	}
	for _, a := range []netip.Addr{network.ResolverAddr, v.resolver} {
		if err := s.serveDNS(ctx, v, netns, net.JoinHostPort(a.String(), "53"), s.cfg.Resolver(vpcID)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) serveHTTP(ctx context.Context, v *services, netns, address string, srv APIServer) error {
	l, err := network.ListenIn(ctx, netns, address)
	if err != nil {
		return err
	}
	v.stop = append(v.stop, func() { _ = srv.Close() })
	v.wg.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Log.Error("a VPC's service ended", "address", address, "error", err)
		}
	})
	return nil
}

func (s *Server) serveDNS(ctx context.Context, v *services, netns, address string, h dns.Handler) error {
	packets, err := network.ListenPacketIn(ctx, netns, address)
	if err != nil {
		return err
	}
	streams, err := network.ListenIn(ctx, netns, address)
	if err != nil {
		_ = packets.Close()
		return err
	}
	for _, srv := range []*dns.Server{{PacketConn: packets, Handler: h}, {Listener: streams, Handler: h}} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		ended := make(chan struct{})
		v.wg.Go(func() {
			defer close(ended)
			if err := srv.ActivateAndServe(); err != nil {
				s.cfg.Log.Error("a VPC's resolver ended", "address", address, "error", err)
			}
		})
		v.stop = append(v.stop, func() {
			select {
			case <-started:
				_ = srv.Shutdown()
			case <-ended:
			}
		})
	}
	return nil
}

// Close ends a VPC's services.
func (s *Server) Close(vpcID string) {
	s.mu.Lock()
	v := s.vpcs[vpcID]
	delete(s.vpcs, vpcID)
	s.mu.Unlock()
	if v != nil {
		v.close()
	}
}

// CloseAll ends all services.
func (s *Server) CloseAll() {
	s.mu.Lock()
	vpcs := s.vpcs
	s.vpcs = map[string]*services{}
	s.mu.Unlock()
	for _, v := range vpcs {
		v.close()
	}
}

func (v *services) close() {
	for _, stop := range v.stop {
		stop()
	}
	v.wg.Wait()
}
