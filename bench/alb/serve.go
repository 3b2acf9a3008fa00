package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/balancer/rules"
	"roadstead.dev/internal/balancer/sni"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/sslpolicy"
)

// roles are what this program does when the benchmark starts it again.
var roles = map[string]func(args []string) error{
	"target":     target,
	"roadstead":  roadstead,
	"reverse":    reverse,
	"handshakes": handshakes,
}

// roadstead serves as an application load balancer's listener does: at the
// first address, for the targets at the next two, with as many rules as the
// fourth argument says, of which the requests match the last two. At the fifth,
// if there is one, it speaks TLS with the certificate and key in the sixth.
func roadstead(args []string) error {
	n, err := strconv.ParseInt(args[3], 10, 32)
	if err != nil {
		return err
	}
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	forward := func(address string) l7.Action {
		g := l7.NewGroup("arn:" + address)
		g.Set(l7.GroupSettings{Algorithm: l7.RoundRobin}, []*l7.Target{l7.NewTarget(address, dial)})
		return l7.Action{Forward: &l7.Forward{Groups: []l7.WeightedGroup{{Group: g, Weight: 1}}}}
	}
	small, other := forward(args[1]), forward(args[2])
	var rs []rules.Rule
	var actions []l7.Action
	for i := range int32(n) - 1 {
		rs = append(rs, rules.Rule{Priority: i + 1, Conditions: []model.RuleCondition{
			{Field: model.ConditionHostHeader, Values: []string{fmt.Sprintf("tenant%d.example.com", i), fmt.Sprintf("*.tenant%d.example.com", i)}},
			{Field: model.ConditionPathPattern, Values: []string{fmt.Sprintf("/service%d/*", i)}},
		}})
		actions = append(actions, small)
	}
	rs = append(rs,
		rules.Rule{Priority: int32(n), Conditions: []model.RuleCondition{{Field: model.ConditionPathPattern, Values: []string{"/bytes/*", "/socket"}}}},
		rules.Rule{Default: true})
	actions = append(actions, other, small)
	table, err := rules.Compile(rs)
	if err != nil {
		return err
	}
	listen := func(address string, settings l7.Settings, secure *l7.TLS) (func(context.Context) error, error) {
		l, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", address) // as place.Netns does
		if err != nil {
			return nil, err
		}
		server := l7.NewServer(&l7.Table{Rules: table, Actions: actions, Settings: settings, TLS: secure}, new(l7.Stats), slog.New(slog.DiscardHandler))
		return func(ctx context.Context) error {
			err := server.Serve(ctx, l)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			server.Shutdown(ctx)
			return err
		}, nil
	}
	plain, err := listen(args[0], l7.Settings{Port: 80}, nil)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if len(args) < 6 {
		return plain(ctx)
	}
	certificate, err := tls.LoadX509KeyPair(args[5], args[5])
	if err != nil {
		return err
	}
	policy, ok := sslpolicy.Lookup("ELBSecurityPolicy-TLS13-1-2-2021-06")
	if !ok {
		return errors.New("no such security policy")
	}
	secure, err := listen(args[4], l7.Settings{Port: 443, Scheme: "https"}, &l7.TLS{Policy: policy, Certificates: sni.New(&certificate, nil), HTTP2: true})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- secure(ctx) }()
	return errors.Join(plain(ctx), <-done)
}

// reverse serves as a few lines of Go do.
func reverse(args []string) error {
	transport := &http.Transport{MaxIdleConnsPerHost: 512}
	through := func(address string) http.Handler {
		p := &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(&url.URL{Scheme: "http", Host: address})
				r.SetXForwarded()
			},
			Transport: transport,
			ErrorLog:  slog.NewLogLogger(slog.NewTextHandler(os.Stderr, nil), slog.LevelError),
		}
		return p
	}
	mux := http.NewServeMux()
	mux.Handle("/bytes/", through(args[2]))
	mux.Handle("/socket", through(args[2]))
	mux.Handle("/", through(args[1]))
	failed := make(chan error, 2)
	go func() { failed <- http.ListenAndServe(args[0], mux) }()                      //nolint:gosec // a benchmark's peer, on the loopback
	go func() { failed <- http.ListenAndServeTLS(args[3], args[4], args[4], mux) }() //nolint:gosec // likewise
	return <-failed
}
