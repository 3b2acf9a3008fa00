package logs

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func noDelivery(what string) error {
	return logs.NewResourceNotFoundException("The specified %s does not exist.", what)
}

func refusedDelivery(format string, args ...any) error {
	return logs.NewValidationException(format, args...)
}

// found is a record, or the error for one that there is not.
func found[T any](ctx context.Context, s store.Store, t *store.Table[T], name, what string) (store.Row[T], error) {
	c := api.CallFrom(ctx)
	row, err := t.Get(ctx, s, c.Account, c.Region, name)
	if errors.Is(err, store.ErrNotFound) {
		return row, noDelivery(what)
	}
	return row, err
}

// pageOf is a page of a list of records, by their ids.
func pageOf[T any](ctx context.Context, s store.Store, t *store.Table[T], operation string, token *string, limit *int32) (rows []store.Row[T], next *string, err error) {
	c := api.CallFrom(ctx)
	tokens := pagesOf(ctx, operation)
	q := store.Query{Account: c.Account, Region: c.Region}
	if q.After, err = tokens.position(token); err != nil {
		return nil, nil, err
	}
	if rows, err = t.List(ctx, s, q); err != nil {
		return nil, nil, err
	}
	if size := pageSize(limit); len(rows) > size {
		rows = rows[:size]
		next = new(tokens.token(rows[size-1].Key.ID))
	}
	return rows, next, nil
}

func renderSource(c *api.Call, v *model.LogDeliverySource) *logs.DeliverySource {
	return &logs.DeliverySource{
		Arn: new(model.LogDeliveryARN(model.DeliverySourceKind, c.Region, c.Account, v.Name)), Name: &v.Name, LogType: &v.Type,
		ResourceArns: []string{v.ResourceARN}, Service: new("elasticloadbalancing"), Tags: v.Tags,
	}
}

// sends are the log types that are delivered, and the beginning of the names of
// the load balancers that have them.
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutDeliverySource.html
var sends = map[string]string{
	model.LogTypeALBAccess: "loadbalancer/app/", model.LogTypeALBConnection: "loadbalancer/app/", model.LogTypeALBChecks: "loadbalancer/app/",
	model.LogTypeNLBAccess: "loadbalancer/net/",
}

// PutDeliverySource makes or changes a source: a load balancer.
func (s *Service) PutDeliverySource(ctx context.Context, in *logs.PutDeliverySourceInput) (*logs.PutDeliverySourceOutput, error) {
	c := api.CallFrom(ctx)
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	of := sends[*in.LogType]
	if of == "" || len(in.DeliverySourceConfiguration) > 0 {
		return nil, refusedDelivery("The log type %s, or its configuration, is not supported for this resource.", *in.LogType)
	}
	arn, err := model.ParseARN(*in.ResourceArn)
	lb, ok := strings.CutPrefix(arn.Resource, of)
	if err != nil || !ok || arn.Account != c.Account || arn.Region != c.Region {
		return nil, refusedDelivery("The resource %s does not send logs of the type %s.", *in.ResourceArn, *in.LogType)
	}
	row, err := tables.LoadBalancers.Get(ctx, s.store, c.Account, c.Region, lb[strings.LastIndexByte(lb, '/')+1:])
	if errors.Is(err, store.ErrNotFound) || err == nil && (row.V.ARN != *in.ResourceArn || row.V.DeletedAt != nil) {
		return nil, noDelivery("resource")
	}
	if err != nil {
		return nil, err
	}
	v := &model.LogDeliverySource{Name: *in.Name, ResourceARN: *in.ResourceArn, Type: *in.LogType, Tags: in.Tags}
	err = store.Transact(ctx, s.store, func(tx *store.Txn) error {
		old, err := tables.LogDeliverySources.Get(ctx, s.store, c.Account, c.Region, v.Name)
		switch {
		case errors.Is(err, store.ErrNotFound):
			tables.LogDeliverySources.Create(tx, c.Account, c.Region, v.Name, v)
			return nil
		case err != nil:
			return err
		case old.V.ResourceARN != v.ResourceARN || old.V.Type != v.Type:
			return logs.NewConflictException("A delivery source with the name %s exists for another resource or log type.", v.Name)
		}
		if len(in.Tags) == 0 {
			v.Tags = old.V.Tags
		}
		tables.LogDeliverySources.Replace(tx, old, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &logs.PutDeliverySourceOutput{DeliverySource: renderSource(c, v)}, nil
}

// GetDeliverySource reads a source.
func (s *Service) GetDeliverySource(ctx context.Context, in *logs.GetDeliverySourceInput) (*logs.GetDeliverySourceOutput, error) {
	row, err := found(ctx, s.store, tables.LogDeliverySources, *in.Name, "delivery source")
	if err != nil {
		return nil, err
	}
	return &logs.GetDeliverySourceOutput{DeliverySource: renderSource(api.CallFrom(ctx), row.V)}, nil
}

// DescribeDeliverySources lists sources by name.
func (s *Service) DescribeDeliverySources(ctx context.Context, in *logs.DescribeDeliverySourcesInput) (*logs.DescribeDeliverySourcesOutput, error) {
	rows, next, err := pageOf(ctx, s.store, tables.LogDeliverySources, "DescribeDeliverySources", in.NextToken, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &logs.DescribeDeliverySourcesOutput{NextToken: next}
	for _, r := range rows {
		out.DeliverySources = append(out.DeliverySources, *renderSource(api.CallFrom(ctx), r.V))
	}
	return out, nil
}

// DeleteDeliverySource removes a source that nothing is delivered from.
func (s *Service) DeleteDeliverySource(ctx context.Context, in *logs.DeleteDeliverySourceInput) (*logs.DeleteDeliverySourceOutput, error) {
	err := s.dropUnused(ctx, func(d *model.LogDelivery) bool { return d.Source == *in.Name }, func(tx *store.Txn) error {
		row, err := found(ctx, s.store, tables.LogDeliverySources, *in.Name, "delivery source")
		if err == nil {
			tables.LogDeliverySources.Delete(tx, row)
		}
		return err
	})
	return &logs.DeleteDeliverySourceOutput{}, err
}

// dropUnused removes what no delivery uses.
func (s *Service) dropUnused(ctx context.Context, uses func(*model.LogDelivery) bool, drop func(*store.Txn) error) error {
	c := api.CallFrom(ctx)
	return store.Transact(ctx, s.store, func(tx *store.Txn) error {
		all, err := tables.LogDeliveries.List(ctx, s.store, store.Query{Account: c.Account, Region: c.Region})
		if err != nil {
			return err
		}
		for _, d := range all {
			if uses(d.V) {
				return logs.NewConflictException("It is used by the delivery %s.", d.V.ID)
			}
		}
		return drop(tx)
	})
}

func renderDestination(c *api.Call, v *model.LogDeliveryDestination) *logs.DeliveryDestination {
	return &logs.DeliveryDestination{
		Arn: new(model.LogDeliveryARN(model.DeliveryDestinationKind, c.Region, c.Account, v.Name)), Name: &v.Name, OutputFormat: logs.OutputFormat(v.Format),
		DeliveryDestinationConfiguration: &logs.DeliveryDestinationConfiguration{DestinationResourceArn: &v.ResourceARN},
		DeliveryDestinationType:          logs.DeliveryDestinationTypeCwl, Tags: v.Tags,
	}
}

// PutDeliveryDestination makes or changes a destination: a log group.
func (s *Service) PutDeliveryDestination(ctx context.Context, in *logs.PutDeliveryDestinationInput) (*logs.PutDeliveryDestinationOutput, error) {
	c := api.CallFrom(ctx)
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	format := in.OutputFormat
	if format == "" {
		format = logs.OutputFormatJson
	}
	if format != logs.OutputFormatJson && format != logs.OutputFormatPlain {
		return nil, refusedDelivery("The output format %s is not supported for this destination.", format)
	}
	if in.DeliveryDestinationConfiguration == nil || in.DeliveryDestinationType != "" && in.DeliveryDestinationType != logs.DeliveryDestinationTypeCwl {
		return nil, refusedDelivery("Only log groups are supported as delivery destinations.")
	}
	arn := *in.DeliveryDestinationConfiguration.DestinationResourceArn
	if !strings.HasPrefix(arn, "arn:") {
		return nil, refusedDelivery("Only log groups are supported as delivery destinations.")
	}
	name, err := groupOf(c, arn)
	if err != nil {
		return nil, refusedDelivery("Only log groups are supported as delivery destinations.")
	}
	if _, err := s.group(ctx, c.Account, c.Region, name); err != nil {
		return nil, err
	}
	v := &model.LogDeliveryDestination{Name: *in.Name, ResourceARN: arn, Format: string(format), Tags: in.Tags}
	err = store.Transact(ctx, s.store, func(tx *store.Txn) error {
		old, err := tables.LogDeliveryDestinations.Get(ctx, s.store, c.Account, c.Region, v.Name)
		if errors.Is(err, store.ErrNotFound) {
			tables.LogDeliveryDestinations.Create(tx, c.Account, c.Region, v.Name, v)
			return nil
		}
		if err != nil {
			return err
		}
		v.Policy = old.V.Policy
		if len(in.Tags) == 0 {
			v.Tags = old.V.Tags
		}
		tables.LogDeliveryDestinations.Replace(tx, old, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &logs.PutDeliveryDestinationOutput{DeliveryDestination: renderDestination(c, v)}, nil
}

// GetDeliveryDestination reads a destination.
func (s *Service) GetDeliveryDestination(ctx context.Context, in *logs.GetDeliveryDestinationInput) (*logs.GetDeliveryDestinationOutput, error) {
	row, err := found(ctx, s.store, tables.LogDeliveryDestinations, *in.Name, "delivery destination")
	if err != nil {
		return nil, err
	}
	return &logs.GetDeliveryDestinationOutput{DeliveryDestination: renderDestination(api.CallFrom(ctx), row.V)}, nil
}

// DescribeDeliveryDestinations lists destinations by name.
func (s *Service) DescribeDeliveryDestinations(ctx context.Context, in *logs.DescribeDeliveryDestinationsInput) (*logs.DescribeDeliveryDestinationsOutput, error) {
	rows, next, err := pageOf(ctx, s.store, tables.LogDeliveryDestinations, "DescribeDeliveryDestinations", in.NextToken, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &logs.DescribeDeliveryDestinationsOutput{NextToken: next}
	for _, r := range rows {
		out.DeliveryDestinations = append(out.DeliveryDestinations, *renderDestination(api.CallFrom(ctx), r.V))
	}
	return out, nil
}

// DeleteDeliveryDestination removes a destination that nothing is delivered to.
func (s *Service) DeleteDeliveryDestination(ctx context.Context, in *logs.DeleteDeliveryDestinationInput) (*logs.DeleteDeliveryDestinationOutput, error) {
	c := api.CallFrom(ctx)
	arn := model.LogDeliveryARN(model.DeliveryDestinationKind, c.Region, c.Account, *in.Name)
	err := s.dropUnused(ctx, func(d *model.LogDelivery) bool { return d.DestinationARN == arn }, func(tx *store.Txn) error {
		row, err := found(ctx, s.store, tables.LogDeliveryDestinations, *in.Name, "delivery destination")
		if err == nil {
			tables.LogDeliveryDestinations.Delete(tx, row)
		}
		return err
	})
	return &logs.DeleteDeliveryDestinationOutput{}, err
}

func renderDelivery(c *api.Call, v *model.LogDelivery) *logs.Delivery {
	d := &logs.Delivery{
		Arn: new(model.LogDeliveryARN(model.DeliveryKind, c.Region, c.Account, v.ID)), Id: &v.ID, DeliverySourceName: &v.Source,
		DeliveryDestinationArn: &v.DestinationARN, DeliveryDestinationType: logs.DeliveryDestinationTypeCwl, RecordFields: v.Fields,
		Tags: v.Tags,
	}
	if v.Delimiter != "" {
		d.FieldDelimiter = &v.Delimiter
	}
	return d
}

// checkFields refuses fields that entries of a type do not have.
func checkFields(kind string, fields []string) error {
	for _, f := range fields {
		if !slices.Contains(model.LogFields[kind], f) {
			return refusedDelivery("The record field %s is not supported for the log type %s.", f, kind)
		}
	}
	return nil
}

// CreateDelivery begins to deliver.
func (s *Service) CreateDelivery(ctx context.Context, in *logs.CreateDeliveryInput) (*logs.CreateDeliveryOutput, error) {
	c := api.CallFrom(ctx)
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if in.S3DeliveryConfiguration != nil {
		return nil, refusedDelivery("S3DeliveryConfiguration is not supported for this destination.")
	}
	v := &model.LogDelivery{
		ID: id.Hex(16), Source: *in.DeliverySourceName, DestinationARN: *in.DeliveryDestinationArn, Fields: in.RecordFields,
		Delimiter: value(in.FieldDelimiter), Tags: in.Tags,
	}
	err := store.Transact(ctx, s.store, func(tx *store.Txn) error {
		source, err := found(ctx, s.store, tables.LogDeliverySources, v.Source, "delivery source")
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(v.DestinationARN, model.LogDeliveryARN(model.DeliveryDestinationKind, c.Region, c.Account, ""))
		to, err := found(ctx, s.store, tables.LogDeliveryDestinations, name, "delivery destination")
		if err != nil {
			return err
		}
		if err := checkFields(source.V.Type, v.Fields); err != nil {
			return err
		}
		others, err := tables.LogDeliveries.List(ctx, s.store, store.Query{Account: c.Account, Region: c.Region})
		if err != nil {
			return err
		}
		for _, o := range others {
			if o.V.Source == v.Source && o.V.DestinationARN == v.DestinationARN {
				return logs.NewConflictException("Delivery already exists with the id %s.", o.V.ID)
			}
		}
		tables.LogDeliverySources.Check(tx, source)
		tables.LogDeliveryDestinations.Check(tx, to)
		tables.LogDeliveries.Create(tx, c.Account, c.Region, v.ID, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &logs.CreateDeliveryOutput{Delivery: renderDelivery(c, v)}, nil
}

// GetDelivery reads a delivery.
func (s *Service) GetDelivery(ctx context.Context, in *logs.GetDeliveryInput) (*logs.GetDeliveryOutput, error) {
	row, err := found(ctx, s.store, tables.LogDeliveries, *in.Id, "delivery")
	if err != nil {
		return nil, err
	}
	return &logs.GetDeliveryOutput{Delivery: renderDelivery(api.CallFrom(ctx), row.V)}, nil
}

// DescribeDeliveries lists deliveries.
func (s *Service) DescribeDeliveries(ctx context.Context, in *logs.DescribeDeliveriesInput) (*logs.DescribeDeliveriesOutput, error) {
	rows, next, err := pageOf(ctx, s.store, tables.LogDeliveries, "DescribeDeliveries", in.NextToken, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &logs.DescribeDeliveriesOutput{NextToken: next}
	for _, r := range rows {
		out.Deliveries = append(out.Deliveries, *renderDelivery(api.CallFrom(ctx), r.V))
	}
	return out, nil
}

// UpdateDeliveryConfiguration changes what entries look like.
func (s *Service) UpdateDeliveryConfiguration(ctx context.Context, in *logs.UpdateDeliveryConfigurationInput) (*logs.UpdateDeliveryConfigurationOutput, error) {
	c := api.CallFrom(ctx)
	if in.S3DeliveryConfiguration != nil {
		return nil, refusedDelivery("S3DeliveryConfiguration is not supported for this destination.")
	}
	row, err := found(ctx, s.store, tables.LogDeliveries, *in.Id, "delivery")
	if err != nil {
		return nil, err
	}
	source, err := found(ctx, s.store, tables.LogDeliverySources, row.V.Source, "delivery source")
	if err != nil {
		return nil, err
	}
	if err := checkFields(source.V.Type, in.RecordFields); err != nil {
		return nil, err
	}
	_, err = tables.LogDeliveries.Update(ctx, s.store, c.Account, c.Region, *in.Id, func(v *model.LogDelivery) error {
		if in.RecordFields != nil {
			v.Fields = in.RecordFields
		}
		if in.FieldDelimiter != nil {
			v.Delimiter = *in.FieldDelimiter
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		err = noDelivery("delivery")
	}
	return &logs.UpdateDeliveryConfigurationOutput{}, err
}

// DeleteDelivery ends a delivery.
func (s *Service) DeleteDelivery(ctx context.Context, in *logs.DeleteDeliveryInput) (*logs.DeleteDeliveryOutput, error) {
	err := store.Transact(ctx, s.store, func(tx *store.Txn) error {
		row, err := found(ctx, s.store, tables.LogDeliveries, *in.Id, "delivery")
		if err == nil {
			tables.LogDeliveries.Delete(tx, row)
		}
		return err
	})
	return &logs.DeleteDeliveryOutput{}, err
}
