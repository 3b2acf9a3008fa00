package logs

import (
	"context"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/telemetry/logstore"
)

// Limits of PutLogEvents:
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
const (
	maxBatchBytes = 1 << 20
	maxEventBytes = 1 << 20
	eventOverhead = 26
	maxSpan       = 24 * time.Hour
	maxFuture     = 2 * time.Hour
	maxPast       = 14 * 24 * time.Hour
)

// Limits of a page of events.
const (
	maxPageEvents = 10000
	maxPageBytes  = 1 << 20
)

// PutLogEvents appends events to a stream.
func (s *Service) PutLogEvents(ctx context.Context, in *logs.PutLogEventsInput) (*logs.PutLogEventsOutput, error) {
	c := api.CallFrom(ctx)
	if err := checkBatch(in.LogEvents); err != nil {
		return nil, err
	}
	g, err := s.group(ctx, c.Account, c.Region, *in.LogGroupName)
	if err != nil {
		return nil, err
	}
	st, err := s.stream(ctx, g, *in.LogStreamName)
	if err != nil {
		return nil, err
	}
	events, rejected := acceptable(in.LogEvents, c.Time, oldest(g.V, c.Time))
	batch := logstore.Batch{Stream: eventsOf(st), Ingestion: c.Time.UnixMilli()}
	for _, e := range events {
		batch.Events = append(batch.Events, logstore.Event{Position: logstore.Position{Timestamp: *e.Timestamp}, Message: *e.Message})
	}
	if len(batch.Events) > 0 {
		if err := s.events.Append(ctx, []logstore.Batch{batch}, nil); err != nil {
			return nil, err
		}
	}
	out := &logs.PutLogEventsOutput{NextSequenceToken: new(sequenceToken(st.V.UID)), RejectedLogEventsInfo: rejected}
	if in.Entity != nil {
		// The events are taken without it: there are no entities to relate them to.
		out.RejectedEntityInfo = &logs.RejectedEntityInfo{ErrorType: logs.EntityRejectionErrorTypeUnsupportedLogGroupType}
	}
	return out, nil
}

// sequenceToken is what AWS still answers and no longer reads.
func sequenceToken(uid string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(uid)) // a hash never fails
	return fmt.Sprintf("4%055d", h.Sum64())
}

// checkBatch checks the limits that refuse a whole batch.
func checkBatch(events []logs.InputLogEvent) error {
	size := 0
	for i, e := range events {
		n := len(*e.Message) + eventOverhead
		if n > maxEventBytes {
			return invalid("Log event too large: %d bytes exceeds limit of %d", n, maxEventBytes)
		}
		size += n
		if i > 0 && *e.Timestamp < *events[i-1].Timestamp {
			return invalid("Log events in a single PutLogEvents request must be in chronological order.")
		}
	}
	if size > maxBatchBytes {
		return invalid("Upload too large: %d bytes exceeds limit of %d", size, maxBatchBytes)
	}
	if *events[len(events)-1].Timestamp-*events[0].Timestamp > maxSpan.Milliseconds() {
		return invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
	}
	return nil
}

// acceptable leaves out the events that are too old or too new, and says which
// they were. Events are in order of time.
func acceptable(events []logs.InputLogEvent, now time.Time, expired int64) ([]logs.InputLogEvent, *logs.RejectedLogEventsInfo) {
	old, future := now.Add(-maxPast).UnixMilli(), now.Add(maxFuture).UnixMilli()
	first, end := 0, len(events)
	var info logs.RejectedLogEventsInfo
	reject := false
	for first < end && *events[first].Timestamp < old {
		first++
		info.TooOldLogEventEndIndex = new(int32(first))
		reject = true
	}
	for first < end && *events[first].Timestamp < expired {
		first++
		info.ExpiredLogEventEndIndex = new(int32(first))
		reject = true
	}
	for end > first && *events[end-1].Timestamp > future {
		end--
		info.TooNewLogEventStartIndex = new(int32(end))
		reject = true
	}
	if !reject {
		return events, nil
	}
	return events[first:end], &info
}

// GetLogEvents reads a stream forward or backward.
func (s *Service) GetLogEvents(ctx context.Context, in *logs.GetLogEventsInput) (*logs.GetLogEventsOutput, error) {
	c := api.CallFrom(ctx)
	g, err := s.named(ctx, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	st, err := s.stream(ctx, g, *in.LogStreamName)
	if err != nil {
		return nil, err
	}
	r := timeRange(g, c.Time, in.StartTime, in.EndTime)
	fromEnd := in.StartFromHead == nil || !*in.StartFromHead
	// The ends of an empty page: where the next events would appear.
	forward, backward := logstore.Position{Timestamp: r.From}, logstore.Position{Timestamp: r.From}
	tokens := pagesOf(ctx, "GetLogEvents", st.V.GroupUID, st.V.UID)
	if in.NextToken != nil {
		back, at, err := tokens.parseEventToken(*in.NextToken)
		if err != nil {
			return nil, err
		}
		fromEnd = back
		forward, backward = at, at
		if back {
			r.Before = at
		} else {
			r.After = at
		}
	}
	limit := maxPageEvents
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	var events []logstore.Event
	// Nothing lies before the very first position.
	if in.NextToken == nil || !fromEnd || r.Before != (logstore.Position{}) {
		if events, err = s.events.Read(eventsOf(st), r, fromEnd, limit, maxPageBytes); err != nil {
			return nil, err
		}
	}
	out := &logs.GetLogEventsOutput{Events: make([]logs.OutputLogEvent, 0, len(events))}
	for _, e := range events {
		out.Events = append(out.Events, logs.OutputLogEvent{IngestionTime: new(e.Ingestion), Message: new(e.Message), Timestamp: new(e.Timestamp)})
	}
	if len(events) > 0 {
		backward, forward = events[0].Position, events[len(events)-1].Position
	}
	out.NextForwardToken, out.NextBackwardToken = new(tokens.eventToken("f/", forward)), new(tokens.eventToken("b/", backward))
	return out, nil
}

// timeRange bounds a read; what retention has expired is never shown.
func timeRange(g store.Row[model.LogGroup], now time.Time, start, end *int64) logstore.Range {
	var r logstore.Range
	if start != nil {
		r.From = *start
	}
	r.From = max(r.From, oldest(g.V, now))
	if end != nil {
		r.To = *end
		if r.To == 0 {
			r.To = 1 // nothing but the epoch itself is before it
		}
	}
	return r
}

// eventToken is a place in a stream, to go forward ("f/") or backward ("b/")
// from.
func (p pages) eventToken(direction string, at logstore.Position) string {
	return direction + p.token(fmt.Sprintf("%d:%d", at.Timestamp, at.Seq))
}

func (p pages) parseEventToken(token string) (back bool, at logstore.Position, err error) {
	rest, forward := strings.CutPrefix(token, "f/")
	if !forward {
		if rest, back = strings.CutPrefix(token, "b/"); !back {
			return false, at, errToken
		}
	}
	position, err := p.position(&rest)
	if err != nil {
		return false, at, err
	}
	ts, seq, _ := strings.Cut(position, ":")
	var err1, err2 error
	at.Timestamp, err1 = strconv.ParseInt(ts, 10, 64)
	at.Seq, err2 = strconv.ParseUint(seq, 10, 64)
	if err1 != nil || err2 != nil {
		return false, at, errToken
	}
	return back, at, nil
}
