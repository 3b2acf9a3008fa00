package tables

import (
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

	TargetGroups  = store.NewTable[model.TargetGroup]("elbv2", "TargetGroup")
	Targets       = store.NewTable[model.Target]("elbv2", "Target")
	TargetsHealth = store.NewTable[model.TargetHealth]("elbv2", "TargetHealth")
	ELBNames      = store.NewTable[model.ELBName]("elbv2", "Name")
)

// RulesByTargetGroup is the index of Rules by target group ARN.
const RulesByTargetGroup = "targetGroup"
