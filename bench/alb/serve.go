package main

import (
	"context"
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
	"roadstead.dev/internal/model"
)

// roles are what this program does when the benchmark starts it again.
var roles = map[string]func(args []string) error{
	"target":    target,
	"roadstead": roadstead,
	"reverse":   reverse,
}

// roadstead serves as an application load balancer's listener does. The last
// of its arguments is how many rules it has; the requests match the last two.
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
	l, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", args[0]) // as place.Netns does
	if err != nil {
		return err
	}
	server := l7.NewServer(&l7.Table{Rules: table, Actions: actions, Settings: l7.Settings{Port: 80}}, new(l7.Stats), slog.New(slog.DiscardHandler))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := server.Serve(ctx, l); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	server.Shutdown(ctx)
	return nil
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
	return http.ListenAndServe(args[0], mux) //nolint:gosec // a benchmark's peer, on the loopback
}
