package resourcegroupstaggingapi_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	apiautoscaling "roadstead.dev/internal/api/autoscaling"
	apiec2 "roadstead.dev/internal/api/ec2"
	apiecr "roadstead.dev/internal/api/ecr"
	apiecs "roadstead.dev/internal/api/ecs"
	apielb "roadstead.dev/internal/api/elb"
	apielbv2 "roadstead.dev/internal/api/elbv2"
	apiiam "roadstead.dev/internal/api/iam"
	apilogs "roadstead.dev/internal/api/logs"
	rgta "roadstead.dev/internal/api/resourcegroupstaggingapi"
	apisecretsmanager "roadstead.dev/internal/api/secretsmanager"
	apissm "roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/service/autoscaling"
	"roadstead.dev/internal/service/ec2"
	"roadstead.dev/internal/service/ecr"
	"roadstead.dev/internal/service/ecr/catalog"
	"roadstead.dev/internal/service/ecs"
	"roadstead.dev/internal/service/elb"
	"roadstead.dev/internal/service/elbv2"
	"roadstead.dev/internal/service/iam"
	"roadstead.dev/internal/service/logs"
	"roadstead.dev/internal/service/resourcegroupstaggingapi"
	"roadstead.dev/internal/service/secretsmanager"
	"roadstead.dev/internal/service/ssm"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "123456789012"
	region  = "us-east-1"
)

// principals knows no principals.
type principals struct{ iam.Principals }

// policies denies the actions in it.
type policies map[string]bool

func (p policies) Authorize(_ context.Context, _ *api.Call, action string, resources []string, _ map[string]string) error {
	if p[action] {
		return &model.Denied{Action: action, Resource: resources[0], Reason: "because no identity-based policy allows the " + action + " action"}
	}
	return nil
}

func (p policies) AuthorizeResource(ctx context.Context, c *api.Call, action, resource, _, _ string, conditions map[string]string) error {
	return p.Authorize(ctx, c, action, []string{resource}, conditions)
}

// world is the service among all that it tags for, whose resources it holds
// one of each type of.
type world struct {
	t      *testing.T
	s      *resourcegroupstaggingapi.Service
	st     store.Store
	now    time.Time
	denied policies
	// arns are the resources, untagged.
	arns []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	st := memory.New()
	t.Cleanup(func() { _ = st.Close() })
	w := &world{t: t, st: st, now: time.Unix(1700000000, 0).UTC(), denied: policies{}}
	images := ecr.New(ecr.Config{Store: st, Clock: clock.System{}, Catalog: &catalog.Catalog{Store: st, Clock: clock.System{}}})
	networks := ec2.New(ec2.Config{Store: st, Clock: clock.System{}, Regions: []string{region}})
	tasks := ecs.New(ecs.Config{Store: st})
	balancers := elbv2.New(elbv2.Config{Store: st})
	classic := elb.New(elb.Config{Store: st})
	people := iam.New(iam.Config{Store: st, Principals: principals{}})
	groups := logs.New(st, nil)
	secrets := secretsmanager.New(secretsmanager.Config{Store: st, Clock: clock.System{}})
	parameters := ssm.New(ssm.Config{Store: st})
	fleets := autoscaling.New(autoscaling.Config{Store: st})
	w.s = resourcegroupstaggingapi.New(resourcegroupstaggingapi.Config{Store: st, Operations: gateway.NewInvoker(w.denied,
		gateway.Bind(apiec2.New(networks), networks), gateway.Bind(apiecr.New(images), images), gateway.Bind(apiecs.New(tasks), tasks),
		gateway.Bind(apielb.New(classic), classic), gateway.Bind(apielbv2.New(balancers), balancers), gateway.Bind(apiiam.New(people), people), gateway.Bind(apilogs.New(groups), groups),
		gateway.Bind(apisecretsmanager.New(secrets), secrets), gateway.Bind(apissm.New(parameters), parameters),
		gateway.Bind(apiautoscaling.New(fleets), fleets))})
	w.fill()
	return w
}

// ctx is a call of a user's.
func (w *world) ctx() context.Context {
	return api.WithCall(w.t.Context(), &api.Call{
		Account: account, Region: region, Partition: "aws", Time: w.now, Identity: api.Identity{ARN: "arn:aws:iam::" + account + ":user/u"},
		Authorize: func(context.Context, string, string, map[string]string) error { return nil },
	})
}

func record[T any](w *world, tx *store.Txn, table *store.Table[T], id, arn string, v T) {
	where := region
	if strings.HasPrefix(arn, "arn:aws:iam:") {
		where = ""
	}
	table.Put(tx, account, where, id, &v)
	w.arns = append(w.arns, arn)
}

// fill makes a resource of each type that can be tagged.
func (w *world) fill() {
	w.t.Helper()
	tx := store.NewTxn()
	arn := func(service, resource string) string { return model.MakeARN(service, region, account, resource) }
	record(w, tx, tables.VPCs, "vpc-1", arn("ec2", "vpc/vpc-1"), model.VPC{ID: "vpc-1"})
	record(w, tx, tables.Subnets, "subnet-1", arn("ec2", "subnet/subnet-1"), model.Subnet{ID: "subnet-1", CIDR: netip.MustParsePrefix("10.0.0.0/24")})
	record(w, tx, tables.RouteTables, "rtb-1", arn("ec2", "route-table/rtb-1"), model.RouteTable{ID: "rtb-1"})
	record(w, tx, tables.InternetGateways, "igw-1", arn("ec2", "internet-gateway/igw-1"), model.InternetGateway{ID: "igw-1"})
	record(w, tx, tables.NatGateways, "nat-1", arn("ec2", "natgateway/nat-1"), model.NatGateway{ID: "nat-1"})
	record(w, tx, tables.NetworkACLs, "acl-1", arn("ec2", "network-acl/acl-1"), model.NetworkACL{ID: "acl-1"})
	record(w, tx, tables.NetworkInterfaces, "eni-1", arn("ec2", "network-interface/eni-1"), model.NetworkInterface{ID: "eni-1"})
	record(w, tx, tables.Addresses, "eipalloc-1", arn("ec2", "elastic-ip/eipalloc-1"), model.Address{ID: "eipalloc-1"})
	record(w, tx, tables.DHCPOptions, "dopt-1", arn("ec2", "dhcp-options/dopt-1"), model.DHCPOptions{ID: "dopt-1"})
	record(w, tx, tables.KeyPairs, "key-1", arn("ec2", "key-pair/key-1"), model.KeyPair{ID: "key-1"})
	record(w, tx, tables.PrefixLists, "pl-1", arn("ec2", "prefix-list/pl-1"), model.PrefixList{ID: "pl-1"})
	record(w, tx, tables.SecurityGroups, "sg-1", arn("ec2", "security-group/sg-1"), model.SecurityGroup{ID: "sg-1", Rules: []model.SecurityGroupRule{{ID: "sgr-1"}}})
	w.arns = append(w.arns, arn("ec2", "security-group-rule/sgr-1"))
	record(w, tx, tables.ECRRepositories, "team/app", arn("ecr", "repository/team/app"), model.ECRRepository{Name: "team/app"})
	record(w, tx, tables.ECSClusters, "c", arn("ecs", "cluster/c"), model.Cluster{ClusterARN: arn("ecs", "cluster/c"), ClusterName: "c"})
	record(w, tx, tables.ECSServices, "c/s", arn("ecs", "service/c/s"), model.Service{ServiceARN: arn("ecs", "service/c/s")})
	record(w, tx, tables.ECSTasks, "c/t", arn("ecs", "task/c/t"), model.Task{TaskARN: arn("ecs", "task/c/t")})
	definition, _ := model.TaskDefinitionIDFromARN(arn("ecs", "task-definition/f:1"))
	record(w, tx, tables.ECSTaskDefinitions, definition, arn("ecs", "task-definition/f:1"), model.TaskDefinition{TaskDefinitionARN: arn("ecs", "task-definition/f:1")})
	elb := func(resource string) string { return arn("elasticloadbalancing", resource) }
	record(w, tx, tables.LoadBalancers, "b", elb("loadbalancer/app/n/b"), model.LoadBalancer{ARN: elb("loadbalancer/app/n/b")})
	record(w, tx, tables.LoadBalancers, "c", model.ClassicLoadBalancerARN(region, account, "n"), model.LoadBalancer{
		ID: "c", ARN: model.ClassicLoadBalancerARN(region, account, "n"), Name: "n", Classic: &model.ClassicLoadBalancer{},
	})
	tables.ELBNames.Put(tx, account, region, "classic/n", &model.ELBName{ID: "c"})
	tables.TargetGroups.Put(tx, account, region, "c", &model.TargetGroup{ID: "c", Classic: true})
	record(w, tx, tables.Listeners, "b/l", elb("listener/app/n/b/l"), model.Listener{ARN: elb("listener/app/n/b/l")})
	record(w, tx, tables.Rules, "b/l/r", elb("listener-rule/app/n/b/l/r"), model.Rule{ARN: elb("listener-rule/app/n/b/l/r")})
	record(w, tx, tables.TargetGroups, "g", elb("targetgroup/n/g"), model.TargetGroup{ARN: elb("targetgroup/n/g")})
	record(w, tx, tables.TrustStores, "t", elb("truststore/n/t"), model.TrustStore{ARN: elb("truststore/n/t")})
	record(w, tx, tables.LogGroups, "/ecs/app", arn("logs", "log-group:/ecs/app"), model.LogGroup{Name: "/ecs/app"})
	record(w, tx, tables.Secrets, "db", arn("secretsmanager", "secret:db-AbCdEf"), model.Secret{Name: "db", ARN: arn("secretsmanager", "secret:db-AbCdEf")})
	record(w, tx, tables.Parameters, "/app/url", arn("ssm", "parameter/app/url"), model.Parameter{Name: "/app/url"})
	record(w, tx, tables.Parameters, "plain", arn("ssm", "parameter/plain"), model.Parameter{Name: "plain"})
	global := func(resource string) string { return "arn:aws:iam::" + account + ":" + resource }
	record(w, tx, tables.Policies, "p", global("policy/p"), model.Policy{Name: "p", ARN: global("policy/p")})
	record(w, tx, tables.InstanceProfiles, "i", global("instance-profile/path/i"), model.InstanceProfile{Name: "i", ARN: global("instance-profile/path/i")})
	if _, err := tx.Commit(w.t.Context(), w.st); err != nil {
		w.t.Fatal(err)
	}
}

// eachTwenty calls f with the ARNs, as many at once as a request may have.
func (w *world) eachTwenty(f func(arns []string)) {
	for chunk := range slices.Chunk(w.arns, 20) {
		f(chunk)
	}
}

func (w *world) tag(tags map[string]string, arns ...string) map[string]rgta.FailureInfo {
	w.t.Helper()
	out, err := w.s.TagResources(w.ctx(), &rgta.TagResourcesInput{ResourceARNList: arns, Tags: tags})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.FailedResourcesMap
}

func (w *world) untag(keys []string, arns ...string) map[string]rgta.FailureInfo {
	w.t.Helper()
	out, err := w.s.UntagResources(w.ctx(), &rgta.UntagResourcesInput{ResourceARNList: arns, TagKeys: keys})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.FailedResourcesMap
}

// get lists all pages, the tags of each resource by its ARN.
func (w *world) get(in rgta.GetResourcesInput) map[string]model.Tags {
	w.t.Helper()
	found := map[string]model.Tags{}
	for {
		out, err := w.s.GetResources(w.ctx(), &in)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, m := range out.ResourceTagMappingList {
			tags := model.Tags{}
			for _, t := range m.Tags {
				tags[*t.Key] = *t.Value
			}
			if _, twice := found[*m.ResourceARN]; twice {
				w.t.Errorf("%s is listed twice", *m.ResourceARN)
			}
			found[*m.ResourceARN] = tags
		}
		if in.PaginationToken = out.PaginationToken; *in.PaginationToken == "" {
			return found
		}
	}
}

func (w *world) arnsOf(in rgta.GetResourcesInput) []string {
	w.t.Helper()
	return slices.Sorted(maps.Keys(w.get(in)))
}

func refused(t *testing.T, err error, code, text string) {
	t.Helper()
	e, ok := errors.AsType[api.Error](err)
	if !ok || e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), text) {
		t.Errorf("got %v, want %s: %s", err, code, text)
	}
}

// A resource of each type is found once it is tagged, by this API or its own,
// and goes on being found, without tags, once they are gone.
func TestEveryTypeOfResource(t *testing.T) {
	w := newWorld(t)
	if found := w.get(rgta.GetResourcesInput{}); len(found) != 0 {
		t.Errorf("before anything is tagged: %v", found)
	}
	want := slices.Sorted(slices.Values(w.arns))
	w.eachTwenty(func(arns []string) {
		for arn, f := range w.tag(map[string]string{"team": "blue", "empty": ""}, arns...) {
			t.Errorf("%s: %s %s", arn, f.ErrorCode, *f.ErrorMessage)
		}
	})
	found := w.get(rgta.GetResourcesInput{ResourcesPerPage: new(int32(3))})
	if got := slices.Sorted(maps.Keys(found)); !cmp.Equal(got, want) {
		t.Errorf("tagged and found differ:\n%s", cmp.Diff(want, got))
	}
	for arn, tags := range found {
		if !maps.Equal(tags, model.Tags{"team": "blue", "empty": ""}) {
			t.Errorf("%s has %v", arn, tags)
		}
	}
	w.eachTwenty(func(arns []string) {
		for range 2 { // what is gone may be removed again
			for arn, f := range w.untag([]string{"team", "empty"}, arns...) {
				t.Errorf("%s: %s %s", arn, f.ErrorCode, *f.ErrorMessage)
			}
		}
	})
	found = w.get(rgta.GetResourcesInput{})
	if got := slices.Sorted(maps.Keys(found)); !cmp.Equal(got, want) {
		t.Errorf("what was tagged is no longer found:\n%s", cmp.Diff(want, got))
	}
	for arn, tags := range found {
		if len(tags) != 0 {
			t.Errorf("%s still has %v", arn, tags)
		}
	}
	if got := w.arnsOf(rgta.GetResourcesInput{TagFilters: []rgta.TagFilter{{Key: new("team")}}}); len(got) != 0 {
		t.Errorf("the filter finds %v", got)
	}
}

func TestFilters(t *testing.T) {
	w := newWorld(t)
	ec2 := func(r string) string { return model.MakeARN("ec2", region, account, r) }
	lb := model.MakeARN("elasticloadbalancing", region, account, "loadbalancer/app/n/b")
	group := model.MakeARN("logs", region, account, "log-group:/ecs/app")
	w.tag(map[string]string{"env": "prod", "team": "blue"}, ec2("vpc/vpc-1"), lb)
	w.tag(map[string]string{"env": "prod", "team": "red"}, ec2("subnet/subnet-1"))
	w.tag(map[string]string{"env": "test"}, group)
	w.tag(map[string]string{"team": ""}, ec2("security-group/sg-1"))
	key := func(k string, values ...string) rgta.TagFilter { return rgta.TagFilter{Key: new(k), Values: values} }
	for _, c := range []struct {
		name string
		in   rgta.GetResourcesInput
		want []string
	}{
		{"a key", rgta.GetResourcesInput{TagFilters: []rgta.TagFilter{key("env")}}, []string{ec2("vpc/vpc-1"), lb, ec2("subnet/subnet-1"), group}},
		{"a key of any value, even none", rgta.GetResourcesInput{TagFilters: []rgta.TagFilter{key("team")}}, []string{ec2("vpc/vpc-1"), lb, ec2("subnet/subnet-1"), ec2("security-group/sg-1")}},
		{"no value", rgta.GetResourcesInput{TagFilters: []rgta.TagFilter{key("team", "")}}, []string{ec2("security-group/sg-1")}},
		{"one of two values", rgta.GetResourcesInput{TagFilters: []rgta.TagFilter{key("env", "test", "prod")}}, []string{ec2("vpc/vpc-1"), lb, ec2("subnet/subnet-1"), group}},
		{"two keys", rgta.GetResourcesInput{TagFilters: []rgta.TagFilter{key("env", "prod"), key("team", "red", "green")}}, []string{ec2("subnet/subnet-1")}},
		{"a service", rgta.GetResourcesInput{ResourceTypeFilters: []string{"logs", "ecs"}}, []string{group}},
		{"a type", rgta.GetResourcesInput{ResourceTypeFilters: []string{"ec2:vpc", "logs:log-group"}}, []string{ec2("vpc/vpc-1"), group}},
		{"not what begins alike", rgta.GetResourcesInput{ResourceTypeFilters: []string{"ec2:sub", "ec2:security-group-rule"}}, nil},
		{"a kind of load balancer", rgta.GetResourcesInput{ResourceTypeFilters: []string{"elasticloadbalancing:loadbalancer/app"}}, []string{lb}},
		{"load balancers", rgta.GetResourcesInput{ResourceTypeFilters: []string{"elasticloadbalancing:loadbalancer"}}, []string{lb}},
		{"another kind", rgta.GetResourcesInput{ResourceTypeFilters: []string{"elasticloadbalancing:loadbalancer/net"}}, nil},
		{"a service that there is not", rgta.GetResourcesInput{ResourceTypeFilters: []string{"s3:bucket"}}, nil},
		{"a type and a key", rgta.GetResourcesInput{ResourceTypeFilters: []string{"ec2"}, TagFilters: []rgta.TagFilter{key("env", "prod")}}, []string{ec2("vpc/vpc-1"), ec2("subnet/subnet-1")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.ResourcesPerPage = new(int32(1))
			if got := w.arnsOf(c.in); !cmp.Equal(got, slices.Sorted(slices.Values(c.want))) {
				t.Errorf("found %v, want %v", got, c.want)
			}
		})
	}
	// Resources by their ARNs come all at once; those that are not there do not.
	if got := w.arnsOf(rgta.GetResourcesInput{ResourceARNList: []string{group, ec2("vpc/vpc-9"), lb}}); !cmp.Equal(got, slices.Sorted(slices.Values([]string{group, lb}))) {
		t.Errorf("by ARN: %v", got)
	}
	keys, err := w.s.GetTagKeys(w.ctx(), &rgta.GetTagKeysInput{})
	if err != nil || !cmp.Equal(keys.TagKeys, []string{"env", "team"}) {
		t.Errorf("keys %v %v", keys, err)
	}
	values, err := w.s.GetTagValues(w.ctx(), &rgta.GetTagValuesInput{Key: new("team")})
	if err != nil || !cmp.Equal(values.TagValues, []string{"", "blue", "red"}) {
		t.Errorf("values %v %v", values, err)
	}
	out, err := w.s.GetResources(w.ctx(), &rgta.GetResourcesInput{ResourceARNList: []string{lb}, IncludeComplianceDetails: new(true)})
	if err != nil || !*out.ResourceTagMappingList[0].ComplianceDetails.ComplianceStatus {
		t.Errorf("compliance %+v %v", out, err)
	}
	if got := w.arnsOf(rgta.GetResourcesInput{IncludeComplianceDetails: new(true), ExcludeCompliantResources: new(true)}); len(got) != 0 {
		t.Errorf("noncompliant: %v", got)
	}
}

// Pages are bounded by resources or by tags, and go on where the last one
// ended whatever happens in between.
func TestPages(t *testing.T) {
	w := newWorld(t)
	tx := store.NewTxn()
	for i := range 30 {
		tags := model.Tags{}
		for j := range 10 {
			tags[fmt.Sprintf("k%d", j)] = "v"
		}
		name := fmt.Sprintf("g%02d", i)
		tables.LogGroups.Put(tx, account, region, name, &model.LogGroup{Name: name, Tags: tags})
	}
	tables.LogGroups.Put(tx, account, region, "none", &model.LogGroup{Name: "none", Tags: model.Tags{}})
	if _, err := tx.Commit(t.Context(), w.st); err != nil {
		t.Fatal(err)
	}
	sizes := func(in rgta.GetResourcesInput) (sizes []int) {
		for {
			out, err := w.s.GetResources(w.ctx(), &in)
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, len(out.ResourceTagMappingList))
			if in.PaginationToken = out.PaginationToken; *in.PaginationToken == "" {
				return sizes
			}
		}
	}
	if got := sizes(rgta.GetResourcesInput{TagsPerPage: new(int32(100))}); !cmp.Equal(got, []int{10, 10, 10, 1}) {
		t.Errorf("pages of 100 tags: %v", got)
	}
	if got := sizes(rgta.GetResourcesInput{TagsPerPage: new(int32(100)), ResourcesPerPage: new(int32(8))}); !cmp.Equal(got, []int{8, 8, 8, 7}) {
		t.Errorf("pages of 8 resources: %v", got)
	}
	if got := sizes(rgta.GetResourcesInput{}); !cmp.Equal(got, []int{31}) {
		t.Errorf("pages: %v", got)
	}

	first, err := w.s.GetResources(w.ctx(), &rgta.GetResourcesInput{ResourcesPerPage: new(int32(2))})
	if err != nil {
		t.Fatal(err)
	}
	other := rgta.GetResourcesInput{PaginationToken: first.PaginationToken, ResourceTypeFilters: []string{"logs"}}
	_, err = w.s.GetResources(w.ctx(), &other)
	refused(t, err, "InvalidParameterException", "PaginationToken")
	_, err = w.s.GetTagKeys(w.ctx(), &rgta.GetTagKeysInput{PaginationToken: first.PaginationToken})
	refused(t, err, "InvalidParameterException", "PaginationToken")
	_, err = w.s.GetResources(w.ctx(), &rgta.GetResourcesInput{PaginationToken: new("x")})
	refused(t, err, "InvalidParameterException", "PaginationToken")
	// The resource that the token names may be gone.
	gone, _ := tables.LogGroups.Get(t.Context(), w.st, account, region, "g01")
	tx = store.NewTxn()
	tables.LogGroups.Delete(tx, gone)
	if _, err := tx.Commit(t.Context(), w.st); err != nil {
		t.Fatal(err)
	}
	second, err := w.s.GetResources(w.ctx(), &rgta.GetResourcesInput{ResourcesPerPage: new(int32(1)), PaginationToken: first.PaginationToken})
	if err != nil || !strings.HasSuffix(*second.ResourceTagMappingList[0].ResourceARN, ":g02") {
		t.Errorf("second page %+v %v", second, err)
	}
	w.now = w.now.Add(15*time.Minute + time.Second)
	_, err = w.s.GetResources(w.ctx(), &rgta.GetResourcesInput{PaginationToken: first.PaginationToken})
	refused(t, err, "PaginationTokenExpiredException", "15 minutes")
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	arn := w.arns[:1]
	for _, c := range []struct {
		name, text string
		in         rgta.GetResourcesInput
	}{
		{"ARNs and types", "ResourceTypeFilters", rgta.GetResourcesInput{ResourceARNList: arn, ResourceTypeFilters: []string{"ec2"}}},
		{"ARNs and tags", "TagFilters", rgta.GetResourcesInput{ResourceARNList: arn, TagFilters: []rgta.TagFilter{{Key: new("k")}}}},
		{"ARNs and pages", "pagination", rgta.GetResourcesInput{ResourceARNList: arn, ResourcesPerPage: new(int32(5))}},
		{"no ARN", "not a valid ARN", rgta.GetResourcesInput{ResourceARNList: []string{"vpc-1"}}},
		{"no resources", "between 1 and 100", rgta.GetResourcesInput{ResourcesPerPage: new(int32(0))}},
		{"many resources", "between 1 and 100", rgta.GetResourcesInput{ResourcesPerPage: new(int32(101))}},
		{"few tags", "between 100 and 500", rgta.GetResourcesInput{TagsPerPage: new(int32(99))}},
		{"many types", "up to 100", rgta.GetResourcesInput{ResourceTypeFilters: slices.Repeat([]string{"ec2"}, 101)}},
		{"half a type", "service[:resourceType]", rgta.GetResourcesInput{ResourceTypeFilters: []string{"ec2:"}}},
		{"no key", "must contain a key", rgta.GetResourcesInput{TagFilters: []rgta.TagFilter{{Values: []string{"v"}}}}},
		{"compliance", "IncludeComplianceDetails", rgta.GetResourcesInput{ExcludeCompliantResources: new(true)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.s.GetResources(w.ctx(), &c.in)
			refused(t, err, "InvalidParameterException", c.text)
		})
	}
	for name, call := range map[string]func() error{
		"summary":  func() error { _, err := w.s.GetComplianceSummary(w.ctx(), nil); return err },
		"report":   func() error { _, err := w.s.StartReportCreation(w.ctx(), nil); return err },
		"describe": func() error { _, err := w.s.DescribeReportCreation(w.ctx(), nil); return err },
	} {
		t.Run(name, func(t *testing.T) { refused(t, call(), "ConstraintViolationException", "organization") })
	}
}

// Auto Scaling groups are tagged and not listed, as on AWS.
func TestAutoScalingGroups(t *testing.T) {
	w := newWorld(t)
	arn := model.MakeARN("autoscaling", region, account, "autoScalingGroup:1:autoScalingGroupName/web")
	tx := store.NewTxn()
	tables.AutoScalingGroups.Create(tx, account, region, "web", &model.AutoScalingGroup{Name: "web", ARN: arn, Tags: []model.ASGTag{{Key: "old", Value: "1"}}})
	if _, err := tx.Commit(t.Context(), w.st); err != nil {
		t.Fatal(err)
	}
	if failed := w.tag(map[string]string{"k": "v", "old": "2"}, arn); len(failed) != 0 {
		t.Errorf("failed: %v", failed)
	}
	if failed := w.untag([]string{"k"}, arn); len(failed) != 0 {
		t.Errorf("failed: %v", failed)
	}
	row, err := tables.AutoScalingGroups.Get(t.Context(), w.st, account, region, "web")
	if want := []model.ASGTag{{Key: "old", Value: "2"}}; err != nil || !cmp.Equal(row.V.Tags, want) {
		t.Errorf("tags %v, %v", row.V.Tags, err)
	}
	if failed := w.tag(map[string]string{"k": "v"}, strings.Replace(arn, "web", "none", 1)); len(failed) != 1 {
		t.Errorf("failed: %v", failed)
	}
	if found := w.get(rgta.GetResourcesInput{}); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

// What one resource's service refuses does not hold up the others.
func TestFailures(t *testing.T) {
	w := newWorld(t)
	vpc := model.MakeARN("ec2", region, account, "vpc/vpc-1")
	absent := model.MakeARN("ec2", region, account, "vpc/vpc-9")
	elsewhere := model.MakeARN("ec2", "eu-west-1", account, "vpc/vpc-1")
	foreign := model.MakeARN("ec2", region, "999999999999", "vpc/vpc-1")
	fleet := model.MakeARN("ec2", region, account, "fleet/fleet-1")
	bucket := "arn:aws:s3:us-east-1:" + account + ":bucket"
	cluster, repository := model.MakeARN("ecs", region, account, "cluster/c"), model.MakeARN("ecr", region, account, "repository/none")
	w.denied["ecs:TagResource"] = true
	failed := w.tag(map[string]string{"k": "v"}, vpc, absent, elsewhere, foreign, fleet, bucket, cluster, repository)
	got := map[string]string{}
	for arn, f := range failed {
		got[arn] = fmt.Sprintf("%d %s", *f.StatusCode, f.ErrorCode)
	}
	want := map[string]string{
		absent: "400 InvalidVpcID.NotFound", elsewhere: "400 InvalidParameterException", foreign: "400 InvalidParameterException",
		fleet: "500 InternalServiceException", bucket: "500 InternalServiceException",
		cluster: "400 AccessDeniedException", repository: "400 RepositoryNotFoundException",
	}
	if !cmp.Equal(got, want) {
		t.Errorf("failed:\n%s", cmp.Diff(want, got))
	}
	if m := *failed[cluster].ErrorMessage; !strings.Contains(m, "user/u is not authorized to perform: ecs:TagResource on resource: "+cluster) {
		t.Errorf("denied with %q", m)
	}
	if tags := w.get(rgta.GetResourcesInput{}); !cmp.Equal(tags, map[string]model.Tags{vpc: {"k": "v"}}) {
		t.Errorf("tagged: %v", tags)
	}
	// Each service's own checks hold.
	failed = w.tag(map[string]string{"aws:k": "v"}, vpc, model.MakeARN("logs", region, account, "log-group:/ecs/app"))
	if len(failed) != 2 {
		t.Errorf("reserved keys: %v", failed)
	}
	_, err := w.s.TagResources(w.ctx(), &rgta.TagResourcesInput{ResourceARNList: []string{vpc, "arn:aws-cn:ec2:" + region + ":" + account + ":vpc/vpc-1"}, Tags: map[string]string{"k": "w"}})
	refused(t, err, "InvalidParameterException", "partition")
	_, err = w.s.UntagResources(w.ctx(), &rgta.UntagResourcesInput{ResourceARNList: []string{"vpc-1"}, TagKeys: []string{"k"}})
	refused(t, err, "InvalidParameterException", "not a valid ARN")
}

// Whoever gives a record tags is told here that this API does not find it yet.
func TestEveryTaggedRecordIsListed(t *testing.T) {
	// Sessions, and what is to become a task or a repository, are no resources.
	// Users and roles are not listed by AWS.
	exempt := []string{"Session", "NewTaskParams", "ECRCreationTemplate", "User", "Role", "S3Head"}
	var sources strings.Builder
	files, err := filepath.Glob("source*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sources.Write(text)
	}
	files, err = filepath.Glob("../../model/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	found := 0
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			st, ok := spec.Type.(*ast.StructType)
			if !ok || !hasTags(st) {
				return true
			}
			found++
			name := spec.Name.Name
			switch name { // parts of others' records
			case "SecurityGroupRule":
				name = "SecurityGroup"
			case "InstanceRoot":
				name = "Instance"
			}
			if !slices.Contains(exempt, name) && !strings.Contains(sources.String(), "*model."+name+")") {
				t.Errorf("model.%s has tags and no source lists it", name)
			}
			return true
		})
	}
	if found < 20 {
		t.Errorf("only %d records with tags were found", found)
	}
}

func hasTags(st *ast.StructType) bool {
	for _, f := range st.Fields.List {
		if id, ok := f.Type.(*ast.Ident); ok && id.Name == "Tags" {
			return true
		}
	}
	return false
}
