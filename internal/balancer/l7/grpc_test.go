package l7

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// service is a target that speaks gRPC.
type service struct {
	pb.UnimplementedTestServiceServer
	// ended gets how the context of each call of the method that waits ended.
	ended chan error
	seen  chan metadata.MD
}

func (s *service) UnaryCall(ctx context.Context, in *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	if md, ok := metadata.FromIncomingContext(ctx); ok && s.seen != nil {
		select {
		case s.seen <- md:
		default:
		}
	}
	if st := in.GetResponseStatus(); st != nil {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("why", "asked", "proof-bin", "\x00\xff"))
		return nil, status.Error(codes.Code(st.GetCode()), st.GetMessage())
	}
	_ = grpc.SetHeader(ctx, metadata.Pairs("first", "1"))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("last", "2"))
	return &pb.SimpleResponse{Payload: in.GetPayload()}, nil
}

func (s *service) StreamingOutputCall(in *pb.StreamingOutputCallRequest, out pb.TestService_StreamingOutputCallServer) error {
	for _, p := range in.GetResponseParameters() {
		if err := out.Send(&pb.StreamingOutputCallResponse{Payload: &pb.Payload{Body: make([]byte, p.GetSize())}}); err != nil {
			return err
		}
	}
	if len(in.GetResponseParameters()) == 0 {
		<-out.Context().Done()
		s.ended <- context.Cause(out.Context())
		return status.FromContextError(out.Context().Err()).Err()
	}
	return nil
}

func (s *service) StreamingInputCall(in pb.TestService_StreamingInputCallServer) error {
	total := 0
	for {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return in.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: int32(total)})
		}
		if err != nil {
			return err
		}
		total += len(m.GetPayload().GetBody())
	}
}

// FullDuplexCall answers each message, and refuses one of a single byte.
func (s *service) FullDuplexCall(both pb.TestService_FullDuplexCallServer) error {
	for {
		m, err := both.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			s.ended <- err
			return err
		}
		if len(m.GetPayload().GetBody()) == 1 {
			return status.Error(codes.ResourceExhausted, "too short")
		}
		if err := both.Send(&pb.StreamingOutputCallResponse{Payload: m.GetPayload()}); err != nil {
			return err
		}
	}
}

func startService(t testing.TB, opts ...grpc.ServerOption) (*service, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, g := &service{ended: make(chan error, 1)}, grpc.NewServer(opts...)
	pb.RegisterTestServiceServer(g, s)
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Serve(l) }()
	t.Cleanup(func() { g.Stop(); <-done })
	return s, l.Addr().String()
}

// startHTTP2 serves a listener of TLS in front of targets of HTTP/2.
func startHTTP2(t testing.TB, v Version, secureTargets bool, targets ...string) *lb {
	t.Helper()
	g := NewGroup("arn:group")
	var ts []*Target
	for _, a := range targets {
		dial := tcpDial
		if secureTargets {
			dial = func(ctx context.Context, addr string) (net.Conn, error) {
				d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
				return d.DialContext(ctx, "tcp", addr)
			}
		}
		ts = append(ts, NewHTTP2Target(a, dial, secureTargets))
	}
	g.Set(GroupSettings{Version: v}, ts)
	b := serve(t, Settings{Port: 443, Scheme: "https"}, g, Action{Forward: &Forward{Groups: []WeightedGroup{{g, 1}}}})
	b.swapTLS(secure(t, modern, certificate(t, 1, nil, "a.test")))
	return b
}

func dialService(t testing.TB, addr string) pb.TestServiceClient {
	t.Helper()
	creds := credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})
	if strings.HasPrefix(addr, "plain:") {
		addr, creds = addr[len("plain:"):], insecure.NewCredentials()
	}
	c, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return pb.NewTestServiceClient(c)
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func payload(n int) *pb.Payload { return &pb.Payload{Body: make([]byte, n)} }

// What gRPC-Go's client gets from gRPC-Go's server does not differ for the load
// balancer between them, whether targets speak TLS or not.
func TestGRPC(t *testing.T) {
	for _, secureTarget := range []bool{false, true} {
		t.Run(fmt.Sprintf("secure=%v", secureTarget), func(t *testing.T) {
			var opts []grpc.ServerOption
			if secureTarget {
				cert := certificate(t, 2, nil, "target.test")
				opts = append(opts, grpc.Creds(credentials.NewServerTLSFromCert(&cert)))
			}
			s, addr := startService(t, opts...)
			s.seen = make(chan metadata.MD, 1)
			b := startHTTP2(t, GRPC, secureTarget, addr)
			c := dialService(t, b.addr)
			t.Run("unary", func(t *testing.T) { testUnary(t, c, s) })
			t.Run("status", func(t *testing.T) { testStatus(t, c) })
			t.Run("server streams", func(t *testing.T) { testServerStreams(t, c) })
			t.Run("client streams", func(t *testing.T) { testClientStreams(t, c) })
			t.Run("both stream", func(t *testing.T) { testBothStream(t, c) })
			t.Run("deadline", func(t *testing.T) { testDeadline(t, c, s) })
			t.Run("cancel", func(t *testing.T) { testCancel(t, c, s) })
			t.Run("unimplemented", func(t *testing.T) {
				if _, err := c.EmptyCall(within(t), &pb.Empty{}); status.Code(err) != codes.Unimplemented {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func testUnary(t *testing.T, c pb.TestServiceClient, s *service) {
	for _, size := range []int{0, 10, 100_000, 3 << 20} {
		var header, trailer metadata.MD
		ctx := metadata.AppendToOutgoingContext(within(t), "who", "me", "token-bin", "\x01\xfe")
		out, err := c.UnaryCall(ctx, &pb.SimpleRequest{Payload: payload(size)}, grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil || len(out.GetPayload().GetBody()) != size {
			t.Fatalf("%d bytes: got %d, %v", size, len(out.GetPayload().GetBody()), err)
		}
		if header.Get("first")[0] != "1" || trailer.Get("last")[0] != "2" {
			t.Errorf("header %v, trailer %v", header, trailer)
		}
	}
	md := <-s.seen
	if md.Get("who")[0] != "me" || md.Get("token-bin")[0] != "\x01\xfe" || md.Get("x-forwarded-proto")[0] != "https" || md.Get("x-forwarded-for")[0] != "127.0.0.1" {
		t.Errorf("the target saw %v", md)
	}
}

func testStatus(t *testing.T, c pb.TestServiceClient) {
	var trailer metadata.MD
	_, err := c.UnaryCall(within(t), &pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Code: 9, Message: "not now: ünready"}}, grpc.Trailer(&trailer))
	if st := status.Convert(err); st.Code() != codes.FailedPrecondition || st.Message() != "not now: ünready" {
		t.Errorf("got %v", err)
	}
	if trailer.Get("why")[0] != "asked" || trailer.Get("proof-bin")[0] != "\x00\xff" {
		t.Errorf("trailer %v", trailer)
	}
}

func testServerStreams(t *testing.T, c pb.TestServiceClient) {
	var want []*pb.ResponseParameters
	for i := range 50 {
		want = append(want, &pb.ResponseParameters{Size: int32(i * i * 40)})
	}
	out, err := c.StreamingOutputCall(within(t), &pb.StreamingOutputCallRequest{ResponseParameters: want})
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		m, err := out.Recv()
		if err != nil || len(m.GetPayload().GetBody()) != int(want[i].GetSize()) {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if _, err := out.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func testClientStreams(t *testing.T, c pb.TestServiceClient) {
	in, err := c.StreamingInputCall(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if err := in.Send(&pb.StreamingInputCallRequest{Payload: payload(5000)}); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := in.CloseAndRecv(); err != nil || out.GetAggregatedPayloadSize() != 1_000_000 {
		t.Errorf("got %v, %v", out, err)
	}
}

// testBothStream waits for each answer before it sends the next message.
func testBothStream(t *testing.T, c pb.TestServiceClient) {
	both, err := c.FullDuplexCall(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := both.Send(&pb.StreamingOutputCallRequest{Payload: payload(10 + i)}); err != nil {
			t.Fatal(err)
		}
		if m, err := both.Recv(); err != nil || len(m.GetPayload().GetBody()) != 10+i {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	_ = both.CloseSend()
	if _, err := both.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	// The target may end first.
	if both, err = c.FullDuplexCall(within(t)); err != nil {
		t.Fatal(err)
	}
	_ = both.Send(&pb.StreamingOutputCallRequest{Payload: payload(1)})
	if _, err := both.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the target ended first: %v", err)
	}
}

func testDeadline(t *testing.T, c pb.TestServiceClient, s *service) {
	// Long enough for the call to reach the target on a busy machine.
	ctx, cancel := context.WithTimeout(within(t), time.Second)
	defer cancel()
	out, err := c.StreamingOutputCall(ctx, &pb.StreamingOutputCallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	// The target has the same deadline, and resets the stream when it is the
	// first to notice.
	if _, err := out.Recv(); status.Code(err) != codes.DeadlineExceeded && !strings.Contains(err.Error(), "502") {
		t.Errorf("got %v", err)
	}
	select {
	case <-s.ended:
	case <-within(t).Done():
		t.Error("the target has not seen the end of the call")
	}
}

func testCancel(t *testing.T, c pb.TestServiceClient, s *service) {
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	both, err := c.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = both.Send(&pb.StreamingOutputCallRequest{Payload: payload(10)})
	if _, err := both.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-s.ended; status.Code(err) != codes.Canceled {
		t.Errorf("the target saw %v", err)
	}
}

// What the load balancer itself answers comes as pages, whose statuses gRPC's
// clients translate.
func TestGRPCWithoutTarget(t *testing.T) {
	_, addr := startService(t)
	b := startHTTP2(t, GRPC, false)
	c := dialService(t, b.addr)
	_, err := c.UnaryCall(within(t), &pb.SimpleRequest{})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "503") {
		t.Errorf("no target: %v", err)
	}
	gone := NewHTTP2Target("127.0.0.1:1", tcpDial, false)
	b.group.Set(GroupSettings{Version: GRPC}, []*Target{gone})
	if _, err := c.UnaryCall(within(t), &pb.SimpleRequest{}); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "502") {
		t.Errorf("the target refuses: %v", err)
	}
	// A target that cannot be connected to is passed over.
	b.group.Set(GroupSettings{Version: GRPC}, []*Target{gone, NewHTTP2Target(addr, tcpDial, false)})
	for range 4 {
		if _, err := c.UnaryCall(within(t), &pb.SimpleRequest{}); err != nil {
			t.Error(err)
		}
	}
	// A target of HTTP/1.1 is not asked.
	b.group.Set(GroupSettings{}, []*Target{NewTarget(backend(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") }), tcpDial)})
	if _, err := c.UnaryCall(within(t), &pb.SimpleRequest{}); status.Code(err) != codes.Unknown || !strings.Contains(err.Error(), "464") {
		t.Errorf("targets of HTTP/1.1: %v", err)
	}
}
