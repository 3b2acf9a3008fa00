package elbv2

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// everyList reads the lists of the API in pages of a size.
var everyList = map[string]func(w *world, parent string, marker *string, size int32) (names []string, next *string, err error){
	"load balancers": func(w *world, _ string, marker *string, size int32) (names []string, next *string, err error) {
		out, err := w.s.DescribeLoadBalancers(w.ctx, &elbv2.DescribeLoadBalancersInput{Marker: marker, PageSize: new(size)})
		if err != nil {
			return nil, nil, err
		}
		for _, v := range out.LoadBalancers {
			names = append(names, *v.LoadBalancerArn)
		}
		return names, out.NextMarker, nil
	},
	"target groups": func(w *world, _ string, marker *string, size int32) (names []string, next *string, err error) {
		out, err := w.s.DescribeTargetGroups(w.ctx, &elbv2.DescribeTargetGroupsInput{Marker: marker, PageSize: new(size)})
		if err != nil {
			return nil, nil, err
		}
		for _, v := range out.TargetGroups {
			names = append(names, *v.TargetGroupArn)
		}
		return names, out.NextMarker, nil
	},
	"listeners": func(w *world, lb string, marker *string, size int32) (names []string, next *string, err error) {
		out, err := w.s.DescribeListeners(w.ctx, &elbv2.DescribeListenersInput{LoadBalancerArn: new(lb), Marker: marker, PageSize: new(size)})
		if err != nil {
			return nil, nil, err
		}
		for _, v := range out.Listeners {
			names = append(names, *v.ListenerArn)
		}
		return names, out.NextMarker, nil
	},
	"limits": func(w *world, _ string, marker *string, size int32) (names []string, next *string, err error) {
		out, err := w.s.DescribeAccountLimits(w.ctx, &elbv2.DescribeAccountLimitsInput{Marker: marker, PageSize: new(size)})
		if err != nil {
			return nil, nil, err
		}
		for _, v := range out.Limits {
			names = append(names, *v.Name)
		}
		return names, out.NextMarker, nil
	},
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	first := w.loadBalancer("lb-0")
	for i := range 7 {
		w.group(fmt.Sprint("g", i))
		w.listener(first, int32(80+i), []elbv2.Action{{Type: "fixed-response", FixedResponseConfig: &elbv2.FixedResponseActionConfig{StatusCode: new("404")}}})
		if i > 0 {
			w.loadBalancer(fmt.Sprint("lb-", i))
		}
	}
	for name, list := range everyList {
		t.Run(name, func(t *testing.T) {
			want, none, err := list(w, first, nil, 400)
			if err != nil || none != nil || len(want) < 7 {
				t.Fatalf("in one page: %d, %v, %v", len(want), none, err)
			}
			var got []string
			var marker *string
			for {
				page, next, err := list(w, first, marker, 3)
				if err != nil || len(page) > 3 {
					t.Fatalf("a page of %d: %v", len(page), err)
				}
				got = append(got, page...)
				if marker = next; marker == nil {
					break
				}
			}
			if !cmp.Equal(got, want) {
				t.Errorf("in pages: %v, want %v", got, want)
			}
			for _, bad := range []string{"x", "AAAA", strings.Repeat("A", 40)} {
				_, _, err := list(w, first, new(bad), 3)
				refused(t, err, "ValidationError", "The marker '"+bad+"' is not valid")
			}
			// A marker is its own list's.
			for other, read := range everyList {
				_, next, err := read(w, first, nil, 1)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := list(w, first, next, 1); (err == nil) != (other == name) {
					t.Errorf("the marker of %s: %v", other, err)
				}
			}
		})
	}
}

// Rules come by priority, and pages go on there whatever was deleted meanwhile.
func TestPagesOfRules(t *testing.T) {
	w := newWorld(t)
	g := w.group("g")
	l := w.listener(w.loadBalancer("lb"), 80, forward(g))
	arns := map[int32]string{}
	for _, p := range []int32{50000, 7, 300, 20} {
		arns[p] = w.rule(l, p, forward(g))
	}
	read := func(marker *string) (string, *string) {
		out := must(w.s.DescribeRules(w.ctx, &elbv2.DescribeRulesInput{ListenerArn: new(l), Marker: marker, PageSize: new(int32(2))}))(w)
		var got []string
		for _, r := range out.Rules {
			got = append(got, *r.Priority)
		}
		return strings.Join(got, " "), out.NextMarker
	}
	one, marker := read(nil)
	must(w.s.DeleteRule(w.ctx, &elbv2.DeleteRuleInput{RuleArn: new(arns[20])}))(w)
	w.rule(l, 8, forward(g))
	two, marker := read(marker)
	three, last := read(marker)
	if one != "7 20" || two != "300 50000" || three != "default" || last != nil {
		t.Errorf("pages %q, %q, %q, then %v", one, two, three, last)
	}
}

func TestTooManyARNs(t *testing.T) {
	w := newWorld(t)
	arns := make([]string, 21)
	for i := range arns {
		arns[i] = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/x/" + fmt.Sprintf("%016x", i)
	}
	for name, call := range map[string]func() error{
		"loadBalancerArns": func() error {
			_, err := w.s.DescribeLoadBalancers(w.ctx, &elbv2.DescribeLoadBalancersInput{LoadBalancerArns: arns})
			return err
		},
		"resourceArns": func() error {
			_, err := w.s.DescribeTags(w.ctx, &elbv2.DescribeTagsInput{ResourceArns: arns})
			return err
		},
	} {
		refused(t, call(), "ValidationError", "at '"+name+"' failed to satisfy constraint: Member must have length less than or equal to 20")
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t)
	lb := w.loadBalancer("lb")
	fixed := []elbv2.Action{{Type: "fixed-response", FixedResponseConfig: &elbv2.FixedResponseActionConfig{StatusCode: new("404")}}}
	l := w.listener(lb, 80, fixed)
	for i := range maxListeners - 1 {
		w.listener(lb, int32(1000+i), fixed)
	}
	_, err := w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: new(lb), Port: new(int32(81)), Protocol: "HTTP", DefaultActions: fixed})
	refused(t, err, "TooManyListeners", "50")

	var rule, groups []string
	for i := range maxGroupsPerBalancer {
		g := w.group(fmt.Sprint("g", i))
		groups = append(groups, g)
		rule = append(rule, w.rule(l, int32(i+1), forward(g)))
	}
	_, err = w.s.CreateRule(w.ctx, &elbv2.CreateRuleInput{ListenerArn: new(l), Priority: new(int32(900)), Conditions: path("/y"), Actions: fixed})
	refused(t, err, "TooManyRules", "100")
	more := w.group("more")
	_, err = w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: new(l), DefaultActions: forward(more)})
	refused(t, err, "TooManyUniqueTargetGroupsPerLoadBalancer", "100")
	// A rule that gives up one group may take another.
	must(w.s.ModifyRule(w.ctx, &elbv2.ModifyRuleInput{RuleArn: new(rule[0]), Actions: forward(more)}))(w)

	register := func(g string, from, to int) error {
		in := &elbv2.RegisterTargetsInput{TargetGroupArn: new(g)}
		for i := from; i < to; i++ {
			in.Targets = append(in.Targets, elbv2.TargetDescription{Id: new("172.31." + strconv.Itoa(i/250) + "." + strconv.Itoa(i%250+1))})
		}
		_, err := w.s.RegisterTargets(w.ctx, in)
		return err
	}
	if err := register(groups[1], 0, 999); err != nil {
		t.Fatal(err)
	}
	refused(t, register(groups[1], 999, 1001), "TooManyTargets", "target group is 1000")
	if err := register(groups[2], 0, 1); err != nil {
		t.Fatal(err)
	}
	refused(t, register(groups[3], 0, 1), "TooManyTargets", "load balancer is 1000")
	// Taking a registered one again adds none.
	if err := register(groups[2], 0, 1); err != nil {
		t.Error(err)
	}
	// A group of no load balancer has its own limit alone.
	if err := register(groups[0], 0, 2); err != nil {
		t.Error(err)
	}
	_, err = w.s.ModifyRule(w.ctx, &elbv2.ModifyRuleInput{RuleArn: new(rule[3]), Actions: forward(groups[0])})
	refused(t, err, "TooManyTargets", "load balancer is 1000")
}

// A load balancer needs room in its subnets, and one that faces the internet a
// way there.
func TestPlaces(t *testing.T) {
	w := newWorld(t)
	tx := store.NewTxn()
	cidr := netip.MustParsePrefix("10.0.0.0/16")
	tables.VPCs.Put(tx, account, region, "vpc-3", &model.VPC{ID: "vpc-3", CIDR: cidr, DefaultGroupID: "sg-3"})
	tables.SecurityGroups.Put(tx, account, region, "sg-3", &model.SecurityGroup{ID: "sg-3", VPCID: "vpc-3"})
	for i, zone := range []string{"a", "b"} {
		id := "subnet-3" + zone
		tables.Subnets.Put(tx, account, region, id, &model.Subnet{ID: id, VPCID: "vpc-3", Zone: region + zone, CIDR: netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/28", i))})
	}
	for i := range 4 {
		tables.PrivateAddressClaims.Put(tx, account, region, fmt.Sprintf("subnet-3b/10.0.1.%d", 4+i), &model.PrivateAddressClaim{})
	}
	if _, err := tx.Commit(t.Context(), w.st); err != nil {
		t.Fatal(err)
	}
	create := func(scheme elbv2.LoadBalancerSchemeEnum) error {
		_, err := w.s.CreateLoadBalancer(w.ctx, &elbv2.CreateLoadBalancerInput{Name: new("lb"), Scheme: scheme, Subnets: []string{"subnet-3a", "subnet-3b"}})
		return err
	}
	refused(t, create("internal"), "InvalidSubnet", "Not enough IP space available in subnet-3b. ELB requires at least 8 free IP addresses in each subnet.")
	free := func(i int) {
		tx := store.NewTxn()
		tables.PrivateAddressClaims.Erase(tx, account, region, fmt.Sprintf("subnet-3b/10.0.1.%d", 4+i))
		if _, err := tx.Commit(t.Context(), w.st); err != nil {
			t.Fatal(err)
		}
	}
	free(0)
	refused(t, create("internet-facing"), "InvalidSubnet", "VPC vpc-3 has no internet gateway")
	if err := create("internal"); err != nil {
		t.Error(err)
	}
	// It stands there now: asking for it again needs no more room.
	tx = store.NewTxn()
	tables.PrivateAddressClaims.Put(tx, account, region, "subnet-3b/10.0.1.9", &model.PrivateAddressClaim{})
	if _, err := tx.Commit(t.Context(), w.st); err != nil {
		t.Fatal(err)
	}
	if err := create("internal"); err != nil {
		t.Error(err)
	}
	groups := []string{"sg-1", "sg-2", "sg-3", "sg-4", "sg-5", "sg-6"}
	_, err := w.s.CreateLoadBalancer(w.ctx, &elbv2.CreateLoadBalancerInput{Name: new("many"), Subnets: []string{"subnet-a", "subnet-b"}, SecurityGroups: groups})
	refused(t, err, "ValidationError", "at most 5 security groups")
}

func TestReservedTags(t *testing.T) {
	w := newWorld(t)
	g := w.group("g")
	tags := []elbv2.Tag{{Key: new("AWS:x"), Value: new("y")}}
	_, err := w.s.AddTags(w.ctx, &elbv2.AddTagsInput{ResourceArns: []string{g}, Tags: tags})
	refused(t, err, "ValidationError", "aws: prefixed tag key names are not allowed for external use.")
	_, err = w.s.RemoveTags(w.ctx, &elbv2.RemoveTagsInput{ResourceArns: []string{g}, TagKeys: []string{"aws:x"}})
	refused(t, err, "ValidationError", "aws: prefixed")
	var many []elbv2.Tag
	for i := range 30 {
		many = append(many, elbv2.Tag{Key: new(fmt.Sprint("k", i))})
	}
	must(w.s.AddTags(w.ctx, &elbv2.AddTagsInput{ResourceArns: []string{g}, Tags: many}))(w)
	for i := range many {
		many[i].Key = new(fmt.Sprint("l", i))
	}
	_, err = w.s.AddTags(w.ctx, &elbv2.AddTagsInput{ResourceArns: []string{g}, Tags: many})
	refused(t, err, "TooManyTags", "50")
}

func TestListenerAndGroupAttributes(t *testing.T) {
	w := newWorld(t)
	g := w.group("g")
	l := w.listener(w.loadBalancer("lb"), 80, forward(g))
	for _, c := range []struct {
		key, value, code string
	}{
		{"routing.http.response.x_frame_options.header_value", "DENY", ""},
		{"routing.http.response.x_frame_options.header_value", "ALLOW", "ValidationError"},
		{"routing.http.response.access_control_max_age.header_value", "86401", "ValidationError"},
		{"routing.http.response.access_control_allow_credentials.header_value", "false", "ValidationError"},
		{"routing.http.response.content_security_policy.header_value", "default-src 'self'", ""},
		{"routing.http.response.content_security_policy.header_value", "a\r\nb: c", "ValidationError"},
		{"routing.http.response.content_security_policy.header_value", "", ""},
		{"routing.http.request.x_amzn_tls_version.header_name", "X", "ValidationError"},
	} {
		_, err := w.s.ModifyListenerAttributes(w.ctx, &elbv2.ModifyListenerAttributesInput{ListenerArn: new(l), Attributes: []elbv2.ListenerAttribute{{Key: new(c.key), Value: new(c.value)}}})
		if c.code == "" && err != nil {
			t.Errorf("%s=%q: %v", c.key, c.value, err)
		} else if c.code != "" {
			refused(t, err, c.code, c.key)
		}
	}
	set := func(pairs ...string) error {
		in := &elbv2.ModifyTargetGroupAttributesInput{TargetGroupArn: new(g)}
		for i := 0; i < len(pairs); i += 2 {
			in.Attributes = append(in.Attributes, elbv2.TargetGroupAttribute{Key: new(pairs[i]), Value: new(pairs[i+1])})
		}
		_, err := w.s.ModifyTargetGroupAttributes(w.ctx, in)
		return err
	}
	refused(t, set(slowStartSeconds, "29"), "ValidationError", slowStartSeconds)
	refused(t, set(slowStartSeconds, "30", algorithmType, "weighted_random"), "InvalidConfigurationRequest", "Slow start")
	if err := set(slowStartSeconds, "30"); err != nil {
		t.Error(err)
	}
	refused(t, set(algorithmType, "least_outstanding_requests"), "InvalidConfigurationRequest", "Slow start")
	if err := set(algorithmType, "least_outstanding_requests", slowStartSeconds, "0"); err != nil {
		t.Error(err)
	}
}
