package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/gateway/codec"
	"roadstead.dev/internal/gateway/sigv4"
	"roadstead.dev/internal/gateway/validate"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
)

const defaultMaxBody = 32 << 20

// Gateway serves AWS's APIs. It holds no state but its configuration.
type Gateway struct {
	cfg    Config
	routes *routes
	memory *memory
	// lingering holds one for each request whose body is being thrown away.
	lingering chan struct{}
}

var _ http.Handler = (*Gateway)(nil)

// New makes a Gateway.
func New(cfg Config) *Gateway {
	if cfg.MaxBody == 0 {
		cfg.MaxBody = defaultMaxBody
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.BodyMemory == 0 {
		cfg.BodyMemory = defaultBodyMemory
	}
	return &Gateway{
		cfg: cfg, routes: makeRoutes(cfg.Services), memory: newMemory(cfg.BodyMemory),
		lingering: make(chan struct{}, maxLingering),
	}
}

// request is what the gateway knows of a request before its operation is
// known.
type request struct {
	http     *http.Request
	id       string
	received time.Time
	path     string // escaped, as it was sent
	query    url.Values
	form     url.Values
	raw      []byte // the body as it was sent
	body     []byte // the body, uncompressed
	hold     *hold  // the memory that the body takes
	unread   bool   // there is more of the body than was read
	// resource is the path of the same request in path style: S3's buckets may
	// be named by the host.
	resource string
	// stream is the body of an operation that reads it as it comes; payload is
	// what the signature says of it.
	stream  *stream
	payload string
}

// ServeHTTP serves one request of any service.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, s3 := g.routes.bucketHost(r)
	if !s3 && g.elsewhere(w, r) {
		return
	}
	req := &request{http: r, id: id.UUID(), received: g.cfg.Clock.Now(), query: r.URL.Query()}
	req.path, _, _ = strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(req.path, "/") {
		req.path = r.URL.EscapedPath()
	}
	req.resource = req.path
	if bucket != "" {
		req.resource = "/" + bucket + req.path
	}
	g.serve(w, req)
}

// elsewhere serves what is no request of an API; false when it is one.
func (g *Gateway) elsewhere(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.URL.Path == "/_roadstead/health":
		g.health(w)
		return true
	case g.cfg.Registry != nil && isRegistry(r):
		g.cfg.Registry.ServeHTTP(w, r)
		return true
	}
	for prefix, h := range g.cfg.Mounts {
		if strings.HasPrefix(r.URL.Path, prefix) {
			h.ServeHTTP(w, r)
			return true
		}
	}
	return g.signed(w, r)
}

// health answers whether the server is ready.
func (g *Gateway) health(w http.ResponseWriter) {
	status, answer := http.StatusOK, map[string]string{"status": "ready"}
	if g.cfg.Ready != nil {
		if err := g.cfg.Ready(); err != nil {
			status, answer = http.StatusServiceUnavailable, map[string]string{"status": "starting", "reason": err.Error()}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the client is gone when it fails
}

// serve answers a request and logs it.
func (g *Gateway) serve(w http.ResponseWriter, r *request) {
	ctx := r.http.Context()
	defer r.release()
	bodyErr := g.readBody(w, r)
	m, name := g.routes.find(r)
	c := &api.Call{RequestID: r.id, Time: r.received, SourceIP: sourceIP(r.http), Secure: r.http.TLS != nil, UserAgent: r.http.UserAgent(), Host: r.http.Host}

	var resp *codec.Response
	var err error
	switch {
	case m == nil:
		resp, err = g.unknownService(r, name)
	case bodyErr != nil:
		err = bodyErr
	default:
		resp, err = g.call(ctx, m, name, r, c)
	}
	if err != nil && resp == nil {
		resp = g.errorResponse(ctx, m, r, name, err)
	}
	h := w.Header()
	maps.Copy(h, resp.Header)
	// An answer to HEAD says how long the body would be.
	if resp.Stream == nil && (r.http.Method != http.MethodHead || h["Content-Length"] == nil) {
		h["Content-Length"] = []string{strconv.Itoa(len(resp.Body))}
	}
	afterwards := g.linger(w, r)
	w.WriteHeader(resp.Status)
	if resp.Stream != nil {
		g.copyOut(ctx, w, resp.Stream)
	} else {
		_, _ = w.Write(resp.Body) // the client is gone when it fails
	}
	afterwards()
	g.logAccess(ctx, m, name, r, c, resp.Status, err)
}

// call runs one operation, from authentication to the encoded output.
func (g *Gateway) call(ctx context.Context, m *mounted, name string, r *request, c *api.Call) (resp *codec.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	op := m.api.Operation(name)
	if op == nil || op.Invoke == nil {
		if m.refused[name] {
			g.cfg.Log.WarnContext(ctx, "operation is not served", "service", m.api.Name, "operation", name, "request_id", r.id)
		}
		return nil, m.dialect.unknownOp(name, r.form.Get("Version"))
	}
	who, err := g.authenticate(ctx, m, op, r)
	if err != nil {
		return nil, err
	}
	if g.cfg.Throttle != nil && !g.cfg.Throttle.Allow(who.account, who.region, m.api.SigningName, op.Name) {
		return nil, new(m.dialect.throttled)
	}
	c.Identity, c.Account, c.Region = who.identity, who.account, who.region
	c.Partition = model.Partition(c.Region)
	c.Authorize = g.authorizer(m, c)
	ctx = api.WithCall(ctx, c)

	in := op.NewInput()
	wire := codec.Request{Method: r.http.Method, Path: r.resource, Query: r.query, Header: r.http.Header, Body: r.body, Form: r.form}
	if r.stream != nil {
		wire.Stream = r.stream
	}
	if err := m.codec.Decode(op, &wire, in); err != nil {
		return nil, err
	}
	if vs := validate.Check(op.InputShape(), in); len(vs) > 0 {
		return nil, m.dialect.constraint(vs)
	}
	validate.FillTokens(op.InputShape(), in, id.UUID)
	if err := g.authorize(ctx, m, c, op, in); err != nil {
		return nil, err
	}
	if m.api.Protocol == api.EC2Query && isDryRun(in) {
		return nil, &api.Fault{Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.", Status: http.StatusPreconditionFailed}
	}
	out, err := run(ctx, op, in)
	if err != nil {
		return nil, err
	}
	return m.codec.Encode(op, out, r.id)
}

// errorResponse renders an error; one without a wire code is logged and
// becomes an internal failure.
func (g *Gateway) errorResponse(ctx context.Context, m *mounted, r *request, name string, err error) *codec.Response {
	e, ok := errors.AsType[api.Error](err)
	if !ok && errors.Is(err, model.ErrName) {
		e, ok = with(m.dialect.invalid, "A parameter holds a name that is empty or too long, or a character that no name may hold."), true
	}
	if !ok {
		level := slog.LevelError
		if ctx.Err() != nil {
			level = slog.LevelDebug // the client went away
		}
		g.cfg.Log.LogAttrs(ctx, level, "request failed", slog.String("service", m.api.Name), slog.String("operation", name),
			slog.String("request_id", r.id), slog.Any("error", err))
		e = new(m.dialect.internal)
	}
	return m.codec.EncodeError(m.api, e, r.id)
}

// unknownService answers a request that fits no API, in the protocol that it
// seems to speak.
func (g *Gateway) unknownService(r *request, name string) (*codec.Response, error) {
	target := r.http.Header.Get("X-Amz-Target")
	g.cfg.Log.WarnContext(r.http.Context(), "no service is known for the request", "target", target, "operation", name,
		"scope", sigv4.ScopeService(r.http.Header, r.query), "request_id", r.id)
	if target != "" {
		f := &api.Fault{Code: "UnknownOperationException"}
		return codec.JSON{}.EncodeError(nil, f, r.id), f
	}
	d := queryDialect()
	if name != "" {
		f := d.unknownOp(name, r.form.Get("Version"))
		return codec.Query{}.EncodeError(nil, f, r.id), f
	}
	if r.http.Header.Get("Authorization") == "" {
		f := new(d.missing)
		return codec.Query{}.EncodeError(nil, f, r.id), f
	}
	// Signed, and no action named: it was meant for a REST API.
	f := &api.Fault{Code: "UnknownOperationException", Message: "No service is known for this request.", Status: http.StatusNotFound}
	return codec.RESTJSON{}.EncodeError(nil, f, r.id), f
}

func sourceIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// logAccess writes the access log's line.
func (g *Gateway) logAccess(ctx context.Context, m *mounted, name string, r *request, c *api.Call, status int, err error) {
	if !g.cfg.Log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	attrs := make([]slog.Attr, 0, 9)
	if m != nil {
		attrs = append(attrs, slog.String("service", m.api.Name))
	}
	attrs = append(attrs, slog.String("operation", name), slog.Int("status", status))
	if err != nil {
		code := api.Code(err)
		if code == "" {
			code = "InternalFailure"
		}
		attrs = append(attrs, slog.String("code", code))
	}
	attrs = append(attrs,
		slog.Duration("duration", g.cfg.Clock.Now().Sub(r.received)),
		slog.String("request_id", r.id),
		slog.String("region", c.Region),
		slog.String("caller", c.Identity.ARN),
		slog.String("source", c.SourceIP))
	g.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "api", attrs...)
}
