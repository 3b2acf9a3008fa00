package tables

import (
	"context"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// Elastic Load Balancing v2; internal/model/elb.go tells the keys.
var (
	LoadBalancers = store.NewTable[model.LoadBalancer]("elbv2", "LoadBalancer")
	Listeners     = store.NewTable[model.Listener]("elbv2", "Listener")

	// Rules can be listed by the ARNs of the target groups that they forward
	// to, under the index RulesByTargetGroup.
	Rules = store.NewTable[model.Rule]("elbv2", "Rule").
		WithIndex(RulesByTargetGroup, func(r *model.Rule) []string {
			var arns []string
			for _, a := range r.Actions {
				if a.Forward == nil {
					continue
				}
				for _, g := range a.Forward.TargetGroups {
					arns = append(arns, g.TargetGroupARN)
				}
			}
			return arns
		})

	TargetGroups = store.NewTable[model.TargetGroup]("elbv2", "TargetGroup")
	// Targets that are instances can be listed by them, under ByEC2Instance, and
	// those that are load balancers under ByTargetBalancer.
	Targets = store.NewTable[model.Target]("elbv2", "Target").
		WithIndex(ByEC2Instance, func(t *model.Target) []string {
			if !t.IsInstance() {
				return nil
			}
			return []string{t.ID}
		}).
		WithIndex(ByTargetBalancer, func(t *model.Target) []string {
			id := model.LoadBalancerID(t.ID)
			if id == "" {
				return nil
			}
			return []string{id}
		})
	TargetsHealth = store.NewTable[model.TargetHealth]("elbv2", "TargetHealth")
	TrustStores   = store.NewTable[model.TrustStore]("elbv2", "TrustStore")
	ELBNames      = store.NewTable[model.ELBName]("elbv2", "Name")

	// LoadBalancerDNSNames live under model.AmazonAccount.
	LoadBalancerDNSNames = store.NewTable[model.LoadBalancerDNSName]("elbv2", "DNSName")
)

// ByTargetBalancer is the index of Targets by the record id of the load balancer
// that is the target.
const ByTargetBalancer = "loadBalancer"

// RulesByTargetGroup is the index of Rules by target group ARN.
const RulesByTargetGroup = "targetGroup"

// LoadBalancerByDNSName finds the load balancer that a DNS name leads to, with
// or without "dualstack." before it and in any case. It is store.ErrNotFound
// when none does.
func LoadBalancerByDNSName(ctx context.Context, s store.Store, name string) (store.Row[model.LoadBalancer], error) {
	name = strings.TrimPrefix(strings.ToLower(name), "dualstack.")
	n, err := LoadBalancerDNSNames.Get(ctx, s, model.AmazonAccount, "", name)
	if err != nil {
		return store.Row[model.LoadBalancer]{}, err
	}
	row, err := LoadBalancers.Get(ctx, s, n.V.Account, n.V.Region, n.V.ID)
	if err == nil && row.V.DeletedAt != nil {
		return row, store.ErrNotFound
	}
	return row, err
}
