package elb

import (
	"context"
	"strconv"
	"strings"

	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxPath bounds the path of a health check.
const maxPath = 1024

// parseTarget reads what a health check asks: TCP:port, SSL:port,
// HTTP:port/path or HTTPS:port/path.
func parseTarget(target string) (model.HealthCheck, error) {
	proto, rest, _ := strings.Cut(target, ":")
	proto = strings.ToUpper(proto)
	port, path, _ := strings.Cut(rest, "/")
	switch {
	case !model.IsHTTP(proto) && !isSecure(proto) && proto != protoTCP:
		return model.HealthCheck{}, invalid("HealthCheck Target must begin with one of HTTP, TCP, HTTPS, SSL")
	case model.IsHTTP(proto) && !strings.Contains(rest, "/"):
		return model.HealthCheck{}, invalid("HealthCheck HTTP Target must specify a port followed by a path that begins with a slash. e.g. HTTP:80/ping/this/path")
	case model.IsHTTP(proto):
		path = "/" + path
	case strings.Contains(rest, "/"):
		return model.HealthCheck{}, invalid("HealthCheck TCP Target must specify a port and nothing else. e.g. TCP:80")
	}
	if len(path) > maxPath || strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return model.HealthCheck{}, invalid("HealthCheck Target path must have at most %d characters, all of them printable ASCII", maxPath)
	}
	return checkOf(proto, port, path)
}

// checkOf is the check of instances at a port of theirs.
func checkOf(proto, port, path string) (model.HealthCheck, error) {
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 || strings.Trim(port, "0123456789") != "" {
		return model.HealthCheck{}, invalid("HealthCheck Target port must be between 1 and 65535")
	}
	hc := model.HealthCheck{Enabled: true, Protocol: proto, Port: strconv.Itoa(n), Path: path}
	if model.IsHTTP(proto) {
		hc.HTTPCode = "200"
	}
	return hc, nil
}

func renderCheck(hc *model.HealthCheck) *elb.HealthCheck {
	return &elb.HealthCheck{
		Target: new(hc.Protocol + ":" + hc.Port + hc.Path), Interval: &hc.IntervalSeconds, Timeout: &hc.TimeoutSeconds,
		HealthyThreshold: &hc.HealthyThreshold, UnhealthyThreshold: &hc.UnhealthyThreshold,
	}
}

// ConfigureHealthCheck tells how a load balancer's instances are checked.
func (s *Service) ConfigureHealthCheck(ctx context.Context, in *elb.ConfigureHealthCheckInput) (*elb.ConfigureHealthCheckOutput, error) {
	hc, err := parseTarget(value(in.HealthCheck.Target))
	if err != nil {
		return nil, err
	}
	hc.IntervalSeconds, hc.TimeoutSeconds = value(in.HealthCheck.Interval), value(in.HealthCheck.Timeout)
	hc.HealthyThreshold, hc.UnhealthyThreshold = value(in.HealthCheck.HealthyThreshold), value(in.HealthCheck.UnhealthyThreshold)
	if hc.TimeoutSeconds >= hc.IntervalSeconds {
		return nil, invalid("HealthCheck Timeout must be less than the Interval")
	}
	_, err = s.change(ctx, in.LoadBalancerName, func(tx *store.Txn, b *balancer) error {
		g := b.group.Copy()
		g.HealthCheck = hc
		tables.TargetGroups.Replace(tx, b.group, g)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elb.ConfigureHealthCheckOutput{HealthCheck: renderCheck(&hc)}, nil
}

// States of instances.
const (
	inService    = "InService"
	outOfService = "OutOfService"
)

// state is how an instance fares, in the API's words.
type state struct{ state, reason, description string }

// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_InstanceState.html
var (
	serving       = state{inService, "N/A", "N/A"}
	registering   = state{outOfService, "ELB", "Instance registration is still in progress."}
	failing       = state{outOfService, "Instance", "Instance has failed at least the UnhealthyThreshold number of health checks consecutively."}
	recovering    = state{outOfService, "Instance", model.DescriptionNotYetHealthy}
	otherZone     = state{outOfService, "ELB", "Instance is in the EC2 Availability Zone for which LoadBalancer is not configured to route traffic to."}
	unregistered  = state{outOfService, "Instance", "Instance is not currently registered with the LoadBalancer."}
	deregistering = state{inService, "N/A", "Instance deregistration currently in progress."}
	pending       = state{outOfService, "Instance", "Instance is in pending state."}
	stopped       = state{outOfService, "Instance", "Instance is in stopped state."}
	terminated    = state{outOfService, "Instance", "Instance is in terminated state."}
)

// stateOf is the state of a registered instance with that health, nil while
// none is recorded.
func stateOf(t *model.Target, h *model.TargetHealth) state {
	switch {
	case t.DeregisteringAt != nil:
		return deregistering
	case h == nil:
		return registering
	}
	switch h.State {
	case model.TargetHealthHealthy:
		return serving
	case model.TargetHealthUnhealthy:
		if h.Description == model.DescriptionNotYetHealthy {
			return recovering
		}
		return failing
	case model.TargetHealthUnused:
		switch h.Description {
		case model.DescriptionZoneNotEnabled:
			return otherZone
		case model.DescriptionStopped:
			return stopped
		case model.DescriptionTerminated:
			return terminated
		case model.DescriptionInvalidState:
			return pending
		}
	}
	return registering
}

// DescribeInstanceHealth tells how the instances of a load balancer fare: all
// that are registered, or those that are named.
func (s *Service) DescribeInstanceHealth(ctx context.Context, in *elb.DescribeInstanceHealthInput) (*elb.DescribeInstanceHealthOutput, error) {
	b, err := s.find(ctx, value(in.LoadBalancerName))
	if err != nil {
		return nil, err
	}
	targets, err := tables.Targets.List(ctx, s.Store, under(ctx, b.row.Key.ID))
	if err != nil {
		return nil, err
	}
	rows, err := tables.TargetsHealth.List(ctx, s.Store, under(ctx, b.row.Key.ID))
	if err != nil {
		return nil, err
	}
	health := make(map[string]*model.TargetHealth, len(rows))
	for _, h := range rows {
		health[h.Key.ID] = h.V
	}
	states := make(map[string]state, len(targets))
	names := instanceIDs(in.Instances)
	for _, t := range targets {
		states[t.V.ID] = stateOf(t.V, health[t.Key.ID])
		if len(in.Instances) == 0 {
			names = append(names, t.V.ID)
		}
	}
	out := &elb.DescribeInstanceHealthOutput{InstanceStates: []elb.InstanceState{}}
	for _, id := range names {
		st, ok := states[id]
		if !ok {
			i, err := s.instance(ctx, id)
			if err != nil {
				return nil, err
			}
			if balance.Gone(i.V) {
				continue // the state of terminated instances is not returned
			}
			st = unregistered
		}
		out.InstanceStates = append(out.InstanceStates, elb.InstanceState{InstanceId: &id, State: &st.state, ReasonCode: &st.reason, Description: &st.description})
	}
	return out, nil
}
