package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// serveGRPC serves gRPC's health service for the service called name until ctx
// ends.
func serveGRPC(ctx context.Context, l net.Listener, name string) error {
	s, h := grpc.NewServer(), health.NewServer()
	h.SetServingStatus(name, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(s, h)
	stop := context.AfterFunc(ctx, func() {
		h.Shutdown() // ends the streams that wait for a change
		s.GracefulStop()
	})
	defer stop()
	return s.Serve(l)
}
