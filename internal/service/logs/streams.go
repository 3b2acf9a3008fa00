package logs

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
	"roadstead.dev/internal/telemetry/logstore"
)

// CreateLogStream makes a stream.
func (s *Service) CreateLogStream(ctx context.Context, in *logs.CreateLogStreamInput) (*logs.CreateLogStreamOutput, error) {
	c := api.CallFrom(ctx)
	for {
		g, err := s.group(ctx, c.Account, c.Region, *in.LogGroupName)
		if err != nil {
			return nil, err
		}
		err = s.createStream(ctx, g, *in.LogStreamName, c.Time)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		return &logs.CreateLogStreamOutput{}, err
	}
}

// DeleteLogStream removes a stream and its events.
func (s *Service) DeleteLogStream(ctx context.Context, in *logs.DeleteLogStreamInput) (*logs.DeleteLogStreamOutput, error) {
	c := api.CallFrom(ctx)
	g, err := s.group(ctx, c.Account, c.Region, *in.LogGroupName)
	if err != nil {
		return nil, err
	}
	st, err := s.stream(ctx, g, *in.LogStreamName)
	if err != nil {
		return nil, err
	}
	tx := store.NewTxn()
	tables.LogStreams.Delete(tx, st)
	if _, err := tx.Commit(ctx, s.store); err != nil && !errors.Is(err, store.ErrConflict) {
		return nil, err
	}
	return &logs.DeleteLogStreamOutput{}, s.events.DeleteStream(eventsOf(st))
}

// DescribeLogStreams lists a group's streams by name or by their last event.
func (s *Service) DescribeLogStreams(ctx context.Context, in *logs.DescribeLogStreamsInput) (*logs.DescribeLogStreamsOutput, error) {
	g, err := s.named(ctx, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	byTime := in.OrderBy == logs.OrderByLastEventTime
	if byTime && in.LogStreamNamePrefix != nil {
		return nil, invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	prefix := ""
	if in.LogStreamNamePrefix != nil {
		prefix = *in.LogStreamNamePrefix
	}
	rows, err := s.streams(ctx, g, prefix)
	if err != nil {
		return nil, err
	}
	stats, err := s.events.GroupStats(g.V.UID)
	if err != nil {
		return nil, err
	}
	order := func(a, b streamOrder) int { return cmp.Compare(a.name, b.name) }
	if byTime {
		order = func(a, b streamOrder) int {
			return cmp.Or(cmp.Compare(a.last, b.last), cmp.Compare(a.name, b.name))
		}
	}
	at := func(st store.Row[model.LogStream]) streamOrder { return streamOrder{stats[st.V.UID].Last, st.V.Name} }
	compare := func(a, b streamOrder) int { return order(a, b) }
	if in.Descending != nil && *in.Descending {
		compare = func(a, b streamOrder) int { return order(b, a) }
	}
	slices.SortFunc(rows, func(a, b store.Row[model.LogStream]) int { return compare(at(a), at(b)) })
	tokens := pagesOf(ctx, "DescribeLogStreams", g.V.UID, prefix, byTime, value(in.Descending))
	if in.NextToken != nil {
		position, err := tokens.position(in.NextToken)
		if err != nil {
			return nil, err
		}
		after, err := parseStreamOrder(position)
		if err != nil {
			return nil, err
		}
		rows = slices.DeleteFunc(rows, func(st store.Row[model.LogStream]) bool { return compare(at(st), after) <= 0 })
	}
	limit := pageSize(in.Limit)
	out := &logs.DescribeLogStreamsOutput{LogStreams: []logs.LogStream{}}
	for i, st := range rows {
		if i == limit {
			out.NextToken = new(tokens.token(at(rows[i-1]).String()))
			break
		}
		out.LogStreams = append(out.LogStreams, describeStream(st, stats[st.V.UID]))
	}
	return out, nil
}

// streamOrder is where a stream stands among the others.
type streamOrder struct {
	last int64
	name string
}

func (o streamOrder) String() string { return strconv.FormatInt(o.last, 10) + ":" + o.name }

func parseStreamOrder(position string) (streamOrder, error) {
	last, name, ok := strings.Cut(position, ":")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || err != nil {
		return streamOrder{}, errToken
	}
	return streamOrder{n, name}, nil
}

// streams lists a group's streams by name.
func (s *Service) streams(ctx context.Context, g store.Row[model.LogGroup], prefix string) ([]store.Row[model.LogStream], error) {
	return tables.LogStreams.List(ctx, s.store, store.Query{
		Account: g.Key.Account, Region: g.Key.Region, Prefix: model.LogStreamID(g.V.UID, prefix),
	})
}

func describeStream(st store.Row[model.LogStream], stats logstore.Stats) logs.LogStream {
	d := logs.LogStream{
		Arn:                 new(model.LogStreamARN(st.Key.Region, st.Key.Account, st.V.Group, st.V.Name)),
		CreationTime:        new(st.V.Created.UnixMilli()),
		LogStreamName:       &st.V.Name,
		StoredBytes:         new(int64(0)), // AWS reports none for streams since 2019
		UploadSequenceToken: new(sequenceToken(st.V.UID)),
	}
	if stats.Events > 0 {
		d.FirstEventTimestamp, d.LastEventTimestamp = &stats.First, &stats.Last
	}
	if stats.LastIngestion > 0 {
		d.LastIngestionTime = &stats.LastIngestion
	}
	return d
}
