package balancer

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/balancer/rules"
	"roadstead.dev/internal/balancer/sni"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/plan/match"
	"roadstead.dev/internal/plan/sslpolicy"
)

// compileRules makes a listener's table. A group that is not there makes a forward
// action answer 503.
func (in *instance) compileRules(lb balance.LoadBalancer, l balance.Listener) (*l7.Table, error) {
	secure, err := security(lb, l)
	if err != nil {
		return nil, err
	}
	transforms := map[string]*l7.Rewrites{}
	rs := make([]rules.Rule, 0, len(l.Rules))
	for _, r := range l.Rules {
		if len(r.Actions) == 0 {
			return nil, fmt.Errorf("rule %s has no action", r.ARN)
		}
		changes, err := rewrites(r.Transforms)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.ARN, err)
		}
		transforms[r.ARN] = changes
		rs = append(rs, rules.Rule{
			ARN: r.ARN, Priority: r.Priority, Default: r.Default, Conditions: r.Conditions,
			Action: r.Actions[len(r.Actions)-1],
		})
	}
	t := &l7.Table{Settings: settings(lb, l), TLS: secure}
	t.Settings.CookieKey = in.cookieKey(lb.ARN)
	if t.Rules, err = rules.Compile(rs); err != nil {
		return nil, err
	}
	var order []string
	for _, r := range rs {
		order = append(order, r.ARN)
		a := action(r.Action, in.groups)
		a.Rewrites = transforms[r.ARN]
		if !r.Default {
			a.Priority = r.Priority
		}
		t.Actions = append(t.Actions, a)
	}
	in.guard(t, lb, l, order)
	return t, nil
}

// rewrites compiles a rule's transforms, nil where there are none.
func rewrites(in []model.RuleTransform) (*l7.Rewrites, error) {
	if len(in) == 0 {
		return nil, nil //nolint:nilnil // no transforms and no error
	}
	out := &l7.Rewrites{}
	for _, t := range in {
		w, err := match.NewRewrite(t)
		if err != nil {
			return nil, err
		}
		if t.Type == model.TransformHost {
			out.Host = w
		} else {
			out.URL = w
		}
	}
	return out, nil
}

// security is how a listener speaks TLS, nil for one that does not.
func security(lb balance.LoadBalancer, l balance.Listener) (*l7.TLS, error) {
	switch l.Protocol {
	case "HTTP":
		return nil, nil //nolint:nilnil // no TLS and no error
	case protocolHTTPS:
	default:
		return nil, fmt.Errorf("protocol %s is not supported", l.Protocol)
	}
	policy, ok := sslpolicy.Lookup(l.SSLPolicy)
	if !ok {
		return nil, fmt.Errorf("SSL policy %q is unknown", l.SSLPolicy)
	}
	return &l7.TLS{
		Policy: policy, Certificates: sni.New(l.Certificate, l.Certificates), Names: l.CertificateARNs,
		HTTP2: lb.Attributes["routing.http2.enabled"] != "false", Clients: clients(l),
	}, nil
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
	version, cipher := "", ""
	if a["routing.http.x_amzn_tls_version_and_cipher_suite.enabled"] == "true" && l.Protocol == protocolHTTPS {
		version, cipher = fieldName(l, "X-Amzn-Tls-Version"), fieldName(l, "X-Amzn-Tls-Cipher-Suite")
	}
	return l7.Settings{
		TLSVersionField: version, TLSCipherField: cipher,
		Port: l.Port, Scheme: strings.ToLower(l.Protocol), Name: lb.DNSName,
		IdleTimeout:       seconds(a["idle_timeout.timeout_seconds"], time.Minute),
		KeepAlive:         seconds(a["client_keep_alive.seconds"], time.Hour),
		PreserveHost:      a["routing.http.preserve_host_header.enabled"] == "true",
		DropInvalidFields: a["routing.http.drop_invalid_header_fields.enabled"] == "true",
		XFF:               mode,
		XFFClientPort:     a["routing.http.xff_client_port.enabled"] == "true",
		Desync:            l7.Desync(a["routing.http.desync_mitigation_mode"]),
		HideServer:        l.Attributes["routing.http.response.server.enabled"] == "false",
		Add:               added(l.Attributes),
	}
}

// cookieKey seals the stickiness cookies of the load balancer with an id. Every
// process that serves it must open them. They hide targets' addresses; nothing is
// trusted in them but that they name a registered target, so that without secrets
// a key that can be guessed does.
func (in *instance) cookieKey(id string) [32]byte {
	purpose := "stickiness of " + id
	if in.b.cfg.Secrets == nil {
		return sha256.Sum256([]byte(purpose))
	}
	return [32]byte(in.b.cfg.Secrets.Derive(purpose))
}

// fieldName is what a listener calls a header that tells targets of TLS.
func fieldName(l balance.Listener, name string) string {
	if v := l.Attributes["routing.http.request."+strings.ReplaceAll(strings.ToLower(name), "-", "_")+".header_name"]; v != "" {
		return v
	}
	return name
}

// addable are the fields that a listener's attributes can add to responses, in
// the order in which they are sent.
var addable = []string{
	"Strict-Transport-Security", "Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers",
	"Access-Control-Allow-Credentials", "Access-Control-Expose-Headers", "Access-Control-Max-Age", "Content-Security-Policy",
	"X-Content-Type-Options", "X-Frame-Options",
}

func added(a map[string]string) []l7.Field {
	var out []l7.Field
	for _, name := range addable {
		key := "routing.http.response." + strings.ReplaceAll(strings.ToLower(name), "-", "_") + ".header_value"
		if v := a[key]; v != "" {
			out = append(out, l7.Field{Name: name, Value: v})
		}
	}
	return out
}

func groupSettings(a map[string]string) l7.GroupSettings {
	alg := l7.Algorithm(a["load_balancing.algorithm.type"])
	if alg == "" {
		alg = l7.RoundRobin
	}
	s := l7.GroupSettings{
		Algorithm: alg,
		Sticky:    a["stickiness.enabled"] == "true",
		StickyFor: seconds(a["stickiness.lb_cookie.duration_seconds"], 24*time.Hour),
		SlowStart: seconds(a["slow_start.duration_seconds"], 0),
	}
	if a["stickiness.type"] == "app_cookie" {
		s.AppCookie = a["stickiness.app_cookie.cookie_name"]
		s.StickyFor = seconds(a["stickiness.app_cookie.duration_seconds"], 24*time.Hour)
	}
	return s
}

// seconds reads an attribute; what is not set has its default.
func seconds(s string, otherwise time.Duration) time.Duration {
	n, err := strconv.Atoi(s)
	if err != nil {
		return otherwise
	}
	return time.Duration(n) * time.Second
}
