package logs

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/telemetry/filterpattern"
	"roadstead.dev/internal/telemetry/logstore"
)

// maxScanned is how many events one FilterLogEvents looks at. A page that ends
// early carries a token, as AWS's do.
const maxScanned = 200_000

// FilterLogEvents searches the streams of a group, in order of time.
func (s *Service) FilterLogEvents(ctx context.Context, in *logs.FilterLogEventsInput) (*logs.FilterLogEventsOutput, error) {
	c := api.CallFrom(ctx)
	if in.LogStreamNamePrefix != nil && len(in.LogStreamNames) > 0 {
		return nil, invalid("logStreamNamePrefix and logStreamNames are mutually exclusive parameters.")
	}
	if in.StartTime != nil && in.EndTime != nil && *in.StartTime > *in.EndTime {
		return nil, invalid("The start time must be less than or equal to the end time.")
	}
	pattern, err := parsePattern(in.FilterPattern)
	if err != nil {
		return nil, err
	}
	g, err := s.named(ctx, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	prefix := ""
	if in.LogStreamNamePrefix != nil {
		prefix = *in.LogStreamNamePrefix
	}
	names := make(map[string]string) // by the stream's unique id
	if len(in.LogStreamNames) > 0 {
		for _, name := range in.LogStreamNames {
			st, err := s.stream(ctx, g, name)
			if err != nil {
				return nil, err
			}
			names[st.V.UID] = name
		}
	} else {
		rows, err := s.streams(ctx, g, prefix)
		if err != nil {
			return nil, err
		}
		for _, st := range rows {
			names[st.V.UID] = st.V.Name
		}
	}
	r := timeRange(g, c.Time, in.StartTime, nil)
	if in.EndTime != nil {
		r.To = *in.EndTime + 1 // the end is part of the range here
	}
	tokens := pagesOf(ctx, "FilterLogEvents", g.V.UID, prefix, in.LogStreamNames, value(in.FilterPattern), value(in.StartTime), value(in.EndTime))
	var after logstore.Place
	if in.NextToken != nil {
		position, err := tokens.position(in.NextToken)
		if err != nil {
			return nil, err
		}
		if after, err = parsePlace(position); err != nil {
			return nil, err
		}
	}
	ids, err := s.candidates(g.V.UID, names, r)
	if err != nil {
		return nil, err
	}
	limit := maxPageEvents
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	out := &logs.FilterLogEventsOutput{Events: []logs.FilteredLogEvent{}, SearchedLogStreams: []logs.SearchedLogStream{}}
	size, scanned := 0, 0
	var last logstore.Place
	more := false
	err = s.events.Scan(g.V.UID, ids, r, after, func(stream string, e logstore.Event) bool {
		if len(out.Events) == limit || scanned == maxScanned || size > maxPageBytes || scanned%1000 == 999 && ctx.Err() != nil {
			more = true
			return false
		}
		scanned++
		last = logstore.Place{Timestamp: e.Timestamp, Stream: stream, Seq: e.Seq}
		if pattern.Match(e.Message) {
			size += len(e.Message) + eventOverhead
			out.Events = append(out.Events, logs.FilteredLogEvent{
				EventId: new(eventID(stream, e.Position)), IngestionTime: new(e.Ingestion),
				LogStreamName: new(names[stream]), Message: new(e.Message), Timestamp: new(e.Timestamp),
			})
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if more {
		out.NextToken = new(tokens.token(placeText(last)))
	}
	return out, nil
}

// candidates leaves out the streams that have nothing in the range.
func (s *Service) candidates(group string, names map[string]string, r logstore.Range) ([]string, error) {
	stats, err := s.events.GroupStats(group)
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(names))
	for id := range names {
		st := stats[id]
		if st.Events > 0 && st.Last >= r.From && (r.To == 0 || st.First < r.To) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func parsePattern(p *string) (*filterpattern.Pattern, error) {
	text := ""
	if p != nil {
		text = *p
	}
	pattern, err := filterpattern.Parse(text)
	if errors.Is(err, filterpattern.ErrSyntax) {
		return nil, invalid("Invalid filter pattern: %s", strings.TrimPrefix(err.Error(), filterpattern.ErrSyntax.Error()+": "))
	}
	return pattern, err
}

// eventID is unique to an event, and the same whenever it is read.
func eventID(stream string, p logstore.Position) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(stream)) // a hash never fails
	return fmt.Sprintf("3%015d%020d%020d", p.Timestamp, h.Sum64(), p.Seq)
}

func placeText(p logstore.Place) string {
	return fmt.Sprintf("%d:%d:%s", p.Timestamp, p.Seq, p.Stream)
}

func parsePlace(text string) (logstore.Place, error) {
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 {
		return logstore.Place{}, errToken
	}
	ts, err1 := strconv.ParseInt(parts[0], 10, 64)
	seq, err2 := strconv.ParseUint(parts[1], 10, 64)
	if err1 != nil || err2 != nil || ts < 0 {
		return logstore.Place{}, errToken
	}
	return logstore.Place{Timestamp: ts, Seq: seq, Stream: parts[2]}, nil
}

// TestMetricFilter tells which messages a pattern matches.
func (s *Service) TestMetricFilter(_ context.Context, in *logs.TestMetricFilterInput) (*logs.TestMetricFilterOutput, error) {
	pattern, err := parsePattern(in.FilterPattern)
	if err != nil {
		return nil, err
	}
	out := &logs.TestMetricFilterOutput{Matches: []logs.MetricFilterMatchRecord{}}
	for i, m := range in.LogEventMessages {
		if !pattern.Match(m) {
			continue
		}
		values := filterpattern.Fields(*in.FilterPattern, m)
		if values == nil {
			values = map[string]string{}
		}
		out.Matches = append(out.Matches, logs.MetricFilterMatchRecord{EventMessage: new(m), EventNumber: new(int64(i + 1)), ExtractedValues: values})
	}
	return out, nil
}
