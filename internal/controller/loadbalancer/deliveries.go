package loadbalancer

import (
	"context"
	"strings"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// deliveries are where CloudWatch Logs delivers a load balancer's logs to.
func (c *LoadBalancers) deliveries(ctx context.Context, account, region, arn string) ([]balance.LogOutput, error) {
	q := store.Query{Account: account, Region: region}
	sources, err := tables.LogDeliverySources.List(ctx, c.Store, q)
	if err != nil {
		return nil, err
	}
	types := map[string]string{}
	for _, s := range sources {
		if s.V.ResourceARN == arn {
			types[s.V.Name] = s.V.Type
		}
	}
	if len(types) == 0 {
		return nil, nil
	}
	all, err := tables.LogDeliveries.List(ctx, c.Store, q)
	if err != nil {
		return nil, err
	}
	rows, err := tables.LogDeliveryDestinations.List(ctx, c.Store, q)
	if err != nil {
		return nil, err
	}
	destinations := map[string]*model.LogDeliveryDestination{}
	for _, r := range rows {
		destinations[model.LogDeliveryARN(model.DeliveryDestinationKind, region, account, r.V.Name)] = r.V
	}
	var out []balance.LogOutput
	for _, d := range all {
		to := destinations[d.V.DestinationARN]
		if types[d.V.Source] == "" || to == nil {
			continue
		}
		out = append(out, balance.LogOutput{
			ID: "delivery " + d.V.ID, Type: types[d.V.Source], LogGroup: to.ResourceARN, JSON: to.Format == "json",
			Fields: d.V.Fields, Delimiter: d.V.Delimiter,
		})
	}
	return out, nil
}

// ofDelivery names the load balancers that are sources: what is delivered of
// them may have changed.
func (c *LoadBalancers) ofDelivery(ctx context.Context, r store.Record) ([]controller.Key, error) {
	sources, err := tables.LogDeliverySources.List(ctx, c.Store, store.Query{Account: r.Key.Account, Region: r.Key.Region})
	if err != nil {
		return nil, err
	}
	var keys []controller.Key
	for _, s := range sources {
		keys = append(keys, controller.Key{Account: r.Key.Account, Region: r.Key.Region, ID: lbKey + s.V.ResourceARN[strings.LastIndexByte(s.V.ResourceARN, '/')+1:]})
	}
	return keys, nil
}
