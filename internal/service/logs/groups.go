package logs

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
	"roadstead.dev/internal/telemetry/logstore"
)

// CreateLogGroup makes a log group.
func (s *Service) CreateLogGroup(ctx context.Context, in *logs.CreateLogGroupInput) (*logs.CreateLogGroupOutput, error) {
	c := api.CallFrom(ctx)
	if in.KmsKeyId != nil {
		return nil, invalid("The specified KMS key does not exist or is not allowed to be used with Arn '%s'", model.LogGroupARN(c.Region, c.Account, *in.LogGroupName))
	}
	if strings.HasPrefix(*in.LogGroupName, "aws/") {
		return nil, invalid("Log groups starting with AWS/ are reserved for AWS.")
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	class := in.LogGroupClass
	if class == "" {
		class = logs.LogGroupClassStandard
	}
	g := &model.LogGroup{
		Name: *in.LogGroupName, Created: c.Time, Class: string(class), Tags: model.Tags(in.Tags).Initial(),
		DeletionProtected: in.DeletionProtectionEnabled != nil && *in.DeletionProtectionEnabled,
	}
	return &logs.CreateLogGroupOutput{}, s.createGroup(ctx, c.Account, c.Region, g)
}

// DeleteLogGroup removes a log group with its streams and events.
func (s *Service) DeleteLogGroup(ctx context.Context, in *logs.DeleteLogGroupInput) (*logs.DeleteLogGroupOutput, error) {
	c := api.CallFrom(ctx)
	for {
		g, err := s.group(ctx, c.Account, c.Region, *in.LogGroupName)
		if err != nil {
			return nil, err
		}
		if g.V.DeletionProtected {
			return nil, logs.NewValidationException("The log group %s is protected from deletion. Disable deletion protection before deleting it.", g.V.Name)
		}
		tx := store.NewTxn()
		tables.LogGroups.Delete(tx, g)
		_, err = tx.Commit(ctx, s.store)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// The group is gone. What is left carries its unique id, which nothing
		// finds any more; retention removes what an error here leaves behind.
		return &logs.DeleteLogGroupOutput{}, errors.Join(s.dropStreams(ctx, g), s.events.DeleteGroup(g.V.UID))
	}
}

// dropStreams removes the stream records of a deleted group.
func (s *Service) dropStreams(ctx context.Context, g store.Row[model.LogGroup]) error {
	for {
		rows, err := tables.LogStreams.List(ctx, s.store, store.Query{Account: g.Key.Account, Region: g.Key.Region, Prefix: g.V.UID + "/", Limit: 500})
		if err != nil || len(rows) == 0 {
			return err
		}
		tx := store.NewTxn()
		for _, r := range rows {
			tables.LogStreams.Delete(tx, r)
		}
		if _, err := tx.Commit(ctx, s.store); err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

const defaultPage = 50

// DescribeLogGroups lists log groups by name.
func (s *Service) DescribeLogGroups(ctx context.Context, in *logs.DescribeLogGroupsInput) (*logs.DescribeLogGroupsOutput, error) {
	c := api.CallFrom(ctx)
	if in.LogGroupNamePrefix != nil && in.LogGroupNamePattern != nil {
		return nil, invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	if len(in.LogGroupIdentifiers) > 0 && (in.LogGroupNamePrefix != nil || in.LogGroupNamePattern != nil || in.NextToken != nil || in.Limit != nil) {
		return nil, invalid("LogGroupIdentifiers cannot be combined with other parameters.")
	}
	var wanted []string
	for _, identifier := range in.LogGroupIdentifiers {
		name, err := groupOf(c, identifier)
		if err != nil && !errors.Is(err, errNoGroup) {
			return nil, err
		}
		wanted = append(wanted, name)
	}
	if len(in.AccountIdentifiers) > 0 && !slices.Contains(in.AccountIdentifiers, c.Account) {
		return &logs.DescribeLogGroupsOutput{LogGroups: []logs.LogGroup{}}, nil
	}
	q := store.Query{Account: c.Account, Region: c.Region}
	if in.LogGroupNamePrefix != nil {
		q.Prefix = *in.LogGroupNamePrefix
	}
	tokens := pagesOf(ctx, "DescribeLogGroups", value(in.LogGroupNamePrefix), value(in.LogGroupNamePattern), in.LogGroupClass, in.AccountIdentifiers)
	var err error
	if q.After, err = tokens.position(in.NextToken); err != nil {
		return nil, err
	}
	rows, err := tables.LogGroups.List(ctx, s.store, q)
	if err != nil {
		return nil, err
	}
	limit := pageSize(in.Limit)
	out := &logs.DescribeLogGroupsOutput{LogGroups: []logs.LogGroup{}}
	for _, g := range rows {
		if wanted != nil && !slices.Contains(wanted, g.V.Name) || in.LogGroupClass != "" && string(in.LogGroupClass) != g.V.Class {
			continue
		}
		if in.LogGroupNamePattern != nil && !strings.Contains(strings.ToLower(g.V.Name), strings.ToLower(*in.LogGroupNamePattern)) {
			continue
		}
		if len(out.LogGroups) == limit {
			out.NextToken = new(tokens.token(*out.LogGroups[limit-1].LogGroupName))
			break
		}
		d, err := s.describeGroup(g)
		if err != nil {
			return nil, err
		}
		out.LogGroups = append(out.LogGroups, d)
	}
	return out, nil
}

func (s *Service) describeGroup(g store.Row[model.LogGroup]) (logs.LogGroup, error) {
	stats, err := s.events.GroupStats(g.V.UID)
	if err != nil {
		return logs.LogGroup{}, err
	}
	var bytes int64
	for _, st := range stats {
		bytes += st.Bytes
	}
	arn := model.LogGroupARN(g.Key.Region, g.Key.Account, g.V.Name)
	d := logs.LogGroup{
		Arn: new(arn + ":*"), LogGroupArn: &arn, LogGroupName: &g.V.Name,
		CreationTime: new(g.V.Created.UnixMilli()), LogGroupClass: logs.LogGroupClass(g.V.Class),
		MetricFilterCount: new(int32(0)), StoredBytes: &bytes,
		DeletionProtectionEnabled: new(g.V.DeletionProtected),
	}
	if g.V.RetentionDays != 0 {
		d.RetentionInDays = &g.V.RetentionDays
	}
	return d, nil
}

// change updates a group's record.
func (s *Service) change(ctx context.Context, name string, f func(*model.LogGroup) error) error {
	c := api.CallFrom(ctx)
	_, err := tables.LogGroups.Update(ctx, s.store, c.Account, c.Region, name, f)
	if errors.Is(err, store.ErrNotFound) {
		return errNoGroup
	}
	return err
}

// retentions are the periods that may be set, in days.
var retentions = []int32{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

// PutRetentionPolicy sets how long a group's events are kept.
func (s *Service) PutRetentionPolicy(ctx context.Context, in *logs.PutRetentionPolicyInput) (*logs.PutRetentionPolicyOutput, error) {
	days := *in.RetentionInDays
	if !slices.Contains(retentions, days) {
		return nil, invalid("1 validation error detected: Value '%d' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: %s", days, list(retentions))
	}
	return &logs.PutRetentionPolicyOutput{}, s.change(ctx, *in.LogGroupName, func(g *model.LogGroup) error {
		if g.Class == string(logs.LogGroupClassDelivery) {
			return invalid("Retention cannot be changed for log groups of class DELIVERY.")
		}
		g.RetentionDays = days
		return nil
	})
}

// DeleteRetentionPolicy makes a group keep its events for ever.
func (s *Service) DeleteRetentionPolicy(ctx context.Context, in *logs.DeleteRetentionPolicyInput) (*logs.DeleteRetentionPolicyOutput, error) {
	return &logs.DeleteRetentionPolicyOutput{}, s.change(ctx, *in.LogGroupName, func(g *model.LogGroup) error {
		g.RetentionDays = 0
		return nil
	})
}

// PutLogGroupDeletionProtection turns deletion protection on or off.
func (s *Service) PutLogGroupDeletionProtection(ctx context.Context, in *logs.PutLogGroupDeletionProtectionInput) (*logs.PutLogGroupDeletionProtectionOutput, error) {
	name, err := groupOf(api.CallFrom(ctx), *in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	return &logs.PutLogGroupDeletionProtectionOutput{}, s.change(ctx, name, func(g *model.LogGroup) error {
		g.DeletionProtected = *in.DeletionProtectionEnabled
		return nil
	})
}

// eventsOf is where the events of a stream are.
func eventsOf(st store.Row[model.LogStream]) logstore.Stream {
	return logstore.Stream{Group: st.V.GroupUID, ID: st.V.UID}
}
