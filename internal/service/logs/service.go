// Package logs serves CloudWatch Logs: groups and streams as records, events
// in the telemetry log store.
package logs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
	"roadstead.dev/internal/telemetry/logstore"
)

// Events is what the service needs of the log store.
type Events interface {
	Append(ctx context.Context, batches []logstore.Batch, cursors map[string]int64) error
	Read(stream logstore.Stream, r logstore.Range, fromEnd bool, limit, maxBytes int) ([]logstore.Event, error)
	Scan(group string, streams []string, r logstore.Range, after logstore.Place, f func(stream string, e logstore.Event) bool) error
	Stats(stream logstore.Stream) (logstore.Stats, error)
	GroupStats(group string) (map[string]logstore.Stats, error)
	DeleteGroup(group string) error
	DeleteStream(stream logstore.Stream) error
}

var _ Events = (*logstore.Store)(nil)

// Service is the handler of CloudWatch Logs.
type Service struct {
	store   store.Store
	events  Events
	queries *queries
}

var (
	_ logs.Handler       = (*Service)(nil)
	_ api.ResourceScoper = (*Service)(nil)
)

// New makes the handler. Run must run beside it, for queries.
func New(s store.Store, events Events) *Service {
	return &Service{store: s, events: events, queries: newQueries()}
}

var (
	errNoGroup  = logs.NewResourceNotFoundException("The specified log group does not exist.")
	errNoStream = logs.NewResourceNotFoundException("The specified log stream does not exist.")
)

func invalid(format string, args ...any) error {
	return logs.NewInvalidParameterException(format, args...)
}

// group reads a log group's record.
func (s *Service) group(ctx context.Context, account, region, name string) (store.Row[model.LogGroup], error) {
	row, err := tables.LogGroups.Get(ctx, s.store, account, region, name)
	if errors.Is(err, store.ErrNotFound) {
		return row, errNoGroup
	}
	return row, err
}

// stream reads a log stream's record.
func (s *Service) stream(ctx context.Context, g store.Row[model.LogGroup], name string) (store.Row[model.LogStream], error) {
	row, err := tables.LogStreams.Get(ctx, s.store, g.Key.Account, g.Key.Region, model.LogStreamID(g.V.UID, name))
	if errors.Is(err, store.ErrNotFound) {
		return row, errNoStream
	}
	return row, err
}

// named reads the group that a request names by name or by identifier, a name
// or an ARN.
func (s *Service) named(ctx context.Context, name, identifier *string) (store.Row[model.LogGroup], error) {
	c := api.CallFrom(ctx)
	switch {
	case name != nil && identifier != nil:
		return store.Row[model.LogGroup]{}, invalid("LogGroupName and LogGroupIdentifier are mutually exclusive parameters.")
	case name != nil:
		return s.group(ctx, c.Account, c.Region, *name)
	case identifier != nil:
		n, err := groupOf(c, *identifier)
		if err != nil {
			return store.Row[model.LogGroup]{}, err
		}
		return s.group(ctx, c.Account, c.Region, n)
	}
	return store.Row[model.LogGroup]{}, invalid("Either LogGroupName or LogGroupIdentifier must be specified.")
}

// groupOf is the group's name in an identifier: a name or an ARN, with or
// without ":*".
func groupOf(c *api.Call, identifier string) (string, error) {
	if !strings.HasPrefix(identifier, "arn:") {
		return identifier, nil
	}
	arn, err := model.ParseARN(identifier)
	name, ok := strings.CutPrefix(arn.Resource, "log-group:")
	name = strings.TrimSuffix(name, ":*")
	if err != nil || !ok || arn.Service != "logs" || name == "" || strings.Contains(name, ":") {
		return "", invalid("Invalid ARN: %s", identifier)
	}
	if arn.Partition != model.Partition(c.Region) || arn.Account != c.Account || arn.Region != c.Region {
		return "", errNoGroup
	}
	return name, nil
}

// EnsureStream finds or makes a stream for the log driver and returns where
// its events go. A group that is missing is made with createGroup, and is a
// ResourceNotFoundException without.
func (s *Service) EnsureStream(ctx context.Context, account, region, group, stream string, createGroup bool, now time.Time) (logstore.Stream, error) {
	for {
		g, err := s.group(ctx, account, region, group)
		if errors.Is(err, errNoGroup) && createGroup {
			if err := s.createGroup(ctx, account, region, &model.LogGroup{Name: group, Created: now, Class: string(logs.LogGroupClassStandard)}); err != nil && !isExists(err) {
				return logstore.Stream{}, err
			}
			continue
		}
		if err != nil {
			return logstore.Stream{}, err
		}
		st, err := s.stream(ctx, g, stream)
		if err == nil {
			return logstore.Stream{Group: g.V.UID, ID: st.V.UID}, nil
		}
		if !errors.Is(err, errNoStream) {
			return logstore.Stream{}, err
		}
		if err := s.createStream(ctx, g, stream, now); err != nil && !isExists(err) && !errors.Is(err, store.ErrConflict) {
			return logstore.Stream{}, err
		}
	}
}

func isExists(err error) bool { return api.Code(err) == "ResourceAlreadyExistsException" }

func (s *Service) createGroup(ctx context.Context, account, region string, g *model.LogGroup) error {
	g.UID = id.Hex(32)
	tx := store.NewTxn()
	tables.LogGroups.Create(tx, account, region, g.Name, g)
	_, err := tx.Commit(ctx, s.store)
	if errors.Is(err, store.ErrConflict) {
		return logs.NewResourceAlreadyExistsException("The specified log group already exists")
	}
	return err
}

// createStream makes a stream unless the group has changed since it was read,
// which is store.ErrConflict.
func (s *Service) createStream(ctx context.Context, g store.Row[model.LogGroup], name string, now time.Time) error {
	if _, err := s.stream(ctx, g, name); err == nil {
		return logs.NewResourceAlreadyExistsException("The specified log stream already exists")
	} else if !errors.Is(err, errNoStream) {
		return err
	}
	tx := store.NewTxn()
	tables.LogGroups.Check(tx, g)
	tables.LogStreams.Create(tx, g.Key.Account, g.Key.Region, model.LogStreamID(g.V.UID, name), &model.LogStream{
		Name: name, Group: g.V.Name, GroupUID: g.V.UID, UID: id.Hex(32), Created: now,
	})
	_, err := tx.Commit(ctx, s.store)
	return err
}

// oldest is the timestamp before which a group's events are expired, in
// milliseconds since 1970; 0 where it keeps them for ever.
func oldest(g *model.LogGroup, now time.Time) int64 {
	if g.RetentionDays == 0 {
		return 0
	}
	return now.Add(-time.Duration(g.RetentionDays) * 24 * time.Hour).UnixMilli()
}

// scopeOfTags is the group's ARN as the operations on tags have it: without the
// ":*" that may stand behind it.
func scopeOfTags(c *api.Call, arn string) []string {
	if group, err := groupOf(c, arn); err == nil {
		return []string{model.LogGroupARN(c.Region, c.Account, group)}
	}
	return []string{arn}
}

func deliveryARN(c *api.Call, kind string, name *string) string {
	return model.LogDeliveryARN(kind, c.Region, c.Account, *name)
}

// ScopeOf names the group, the stream or the part of a delivery that an operation acts on.
func (s *Service) ScopeOf(ctx context.Context, op *api.Operation, in any) ([]string, map[string]string) {
	c := api.CallFrom(ctx)
	group, stream := "", ""
	byIdentifier := func(name, identifier *string) {
		if name != nil {
			group = *name
		} else if identifier != nil {
			group, _ = groupOf(c, *identifier)
		}
	}
	switch in := in.(type) {
	case *logs.CreateLogGroupInput:
		group = *in.LogGroupName
	case *logs.DeleteLogGroupInput:
		group = *in.LogGroupName
	case *logs.PutRetentionPolicyInput:
		group = *in.LogGroupName
	case *logs.DeleteRetentionPolicyInput:
		group = *in.LogGroupName
	case *logs.TagLogGroupInput:
		group = *in.LogGroupName
	case *logs.UntagLogGroupInput:
		group = *in.LogGroupName
	case *logs.ListTagsLogGroupInput:
		group = *in.LogGroupName
	case *logs.PutLogGroupDeletionProtectionInput:
		byIdentifier(nil, in.LogGroupIdentifier)
	case *logs.DescribeLogStreamsInput:
		byIdentifier(in.LogGroupName, in.LogGroupIdentifier)
	case *logs.FilterLogEventsInput:
		byIdentifier(in.LogGroupName, in.LogGroupIdentifier)
	case *logs.TagResourceInput:
		return scopeOfTags(c, *in.ResourceArn), nil
	case *logs.UntagResourceInput:
		return scopeOfTags(c, *in.ResourceArn), nil
	case *logs.ListTagsForResourceInput:
		return scopeOfTags(c, *in.ResourceArn), nil
	case *logs.CreateLogStreamInput:
		group = *in.LogGroupName
	case *logs.DeleteLogStreamInput:
		group, stream = *in.LogGroupName, *in.LogStreamName
	case *logs.PutLogEventsInput:
		group, stream = *in.LogGroupName, *in.LogStreamName
	case *logs.GetLogEventsInput:
		byIdentifier(in.LogGroupName, in.LogGroupIdentifier)
		stream = *in.LogStreamName
	case *logs.StartQueryInput:
		names, err := queriedGroups(c, in)
		if err != nil {
			return nil, nil // refused by the operation
		}
		var arns []string
		for _, n := range names {
			arns = append(arns, model.LogGroupARN(c.Region, c.Account, n)+":*")
		}
		return arns, nil
	case *logs.CreateDeliveryInput:
		return []string{deliveryARN(c, model.DeliverySourceKind, in.DeliverySourceName), *in.DeliveryDestinationArn}, nil
	case *logs.PutDeliverySourceInput:
		return []string{deliveryARN(c, model.DeliverySourceKind, in.Name)}, nil
	case *logs.GetDeliverySourceInput:
		return []string{deliveryARN(c, model.DeliverySourceKind, in.Name)}, nil
	case *logs.DeleteDeliverySourceInput:
		return []string{deliveryARN(c, model.DeliverySourceKind, in.Name)}, nil
	case *logs.PutDeliveryDestinationInput:
		return []string{deliveryARN(c, model.DeliveryDestinationKind, in.Name)}, nil
	case *logs.GetDeliveryDestinationInput:
		return []string{deliveryARN(c, model.DeliveryDestinationKind, in.Name)}, nil
	case *logs.DeleteDeliveryDestinationInput:
		return []string{deliveryARN(c, model.DeliveryDestinationKind, in.Name)}, nil
	case *logs.PutDeliveryDestinationPolicyInput:
		return []string{deliveryARN(c, model.DeliveryDestinationKind, in.DeliveryDestinationName)}, nil
	case *logs.GetDeliveryDestinationPolicyInput:
		return []string{deliveryARN(c, model.DeliveryDestinationKind, in.DeliveryDestinationName)}, nil
	case *logs.DeleteDeliveryDestinationPolicyInput:
		return []string{deliveryARN(c, model.DeliveryDestinationKind, in.DeliveryDestinationName)}, nil
	case *logs.GetDeliveryInput:
		return []string{deliveryARN(c, model.DeliveryKind, in.Id)}, nil
	case *logs.DeleteDeliveryInput:
		return []string{deliveryARN(c, model.DeliveryKind, in.Id)}, nil
	case *logs.UpdateDeliveryConfigurationInput:
		return []string{deliveryARN(c, model.DeliveryKind, in.Id)}, nil
	case *logs.DescribeLogGroupsInput:
		return []string{model.LogStreamARN(c.Region, c.Account, "", "")}, nil
	default:
		return nil, nil
	}
	if group == "" {
		return nil, nil
	}
	if stream != "" {
		return []string{model.LogStreamARN(c.Region, c.Account, group, stream)}, nil
	}
	return []string{fmt.Sprintf("%s:*", model.LogGroupARN(c.Region, c.Account, group))}, nil
}
