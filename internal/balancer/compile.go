package balancer

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/balancer/rules"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

// compile makes a listener's table. A group that is not there makes a forward
// action answer 503.
func compile(lb balance.LoadBalancer, l balance.Listener, groups map[string]*group) (*l7.Table, error) {
	if l.Protocol != "HTTP" {
		return nil, fmt.Errorf("protocol %s is not supported", l.Protocol)
	}
	rs := make([]rules.Rule, 0, len(l.Rules))
	for _, r := range l.Rules {
		if len(r.Actions) == 0 {
			return nil, fmt.Errorf("rule %s has no action", r.ARN)
		}
		rs = append(rs, rules.Rule{
			Priority: r.Priority, Default: r.Default, Conditions: r.Conditions,
			Action: r.Actions[len(r.Actions)-1],
		})
	}
	t := &l7.Table{Settings: settings(lb, l)}
	var err error
	if t.Rules, err = rules.Compile(rs); err != nil {
		return nil, err
	}
	for _, r := range rs {
		t.Actions = append(t.Actions, action(r.Action, groups))
	}
	return t, nil
}

func action(a model.RuleAction, groups map[string]*group) l7.Action {
	switch {
	case a.Redirect != nil:
		return l7.Action{Redirect: a.Redirect}
	case a.FixedResponse != nil:
		return l7.Action{Fixed: a.FixedResponse}
	}
	f := &l7.Forward{}
	if a.Forward != nil {
		f.Sticky = a.Forward.Sticky
		f.StickyFor = time.Duration(a.Forward.StickySeconds) * time.Second
		for _, g := range a.Forward.TargetGroups {
			if got := groups[g.TargetGroupARN]; got != nil {
				f.Groups = append(f.Groups, l7.WeightedGroup{Group: got.l7, Weight: int(g.Weight)})
			}
		}
	}
	return l7.Action{Forward: f}
}

func settings(lb balance.LoadBalancer, l balance.Listener) l7.Settings {
	a := lb.Attributes
	mode := l7.XFFMode(a["routing.http.xff_header_processing.mode"])
	if mode == "" {
		mode = l7.XFFAppend
	}
	return l7.Settings{
		Port: l.Port, Scheme: strings.ToLower(l.Protocol), Name: lb.DNSName,
		IdleTimeout:       seconds(a["idle_timeout.timeout_seconds"], time.Minute),
		KeepAlive:         seconds(a["client_keep_alive.seconds"], time.Hour),
		PreserveHost:      a["routing.http.preserve_host_header.enabled"] == "true",
		DropInvalidFields: a["routing.http.drop_invalid_header_fields.enabled"] == "true",
		XFF:               mode,
		XFFClientPort:     a["routing.http.xff_client_port.enabled"] == "true",
		HideServer:        l.Attributes["routing.http.response.server.enabled"] == "false",
		// The cookie must be opened by every process that serves the load
		// balancer. It hides targets' addresses; nothing is trusted in it but
		// that it names a registered target.
		CookieKey: sha256.Sum256([]byte("stickiness of " + lb.ARN)),
	}
}

func groupSettings(a map[string]string) l7.GroupSettings {
	alg := l7.Algorithm(a["load_balancing.algorithm.type"])
	if alg == "" {
		alg = l7.RoundRobin
	}
	return l7.GroupSettings{
		Algorithm: alg,
		Sticky:    a["stickiness.enabled"] == "true",
		StickyFor: seconds(a["stickiness.lb_cookie.duration_seconds"], 24*time.Hour),
	}
}

// seconds reads an attribute; what is not set has its default.
func seconds(s string, otherwise time.Duration) time.Duration {
	n, err := strconv.Atoi(s)
	if err != nil {
		return otherwise
	}
	return time.Duration(n) * time.Second
}
