package logs

import (
	"context"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/telemetry/insights"
	"roadstead.dev/internal/telemetry/logstore"
)

// scanStep is how many events a query reads in one go, so that it does not
// hold the log store's snapshot for long.
const scanStep = 20_000

// scanFor reads the events of a query's groups.
func (s *Service) scanFor(ctx context.Context, q *query) (*insights.Execution, int64, error) {
	x := q.parsed.Run(q.limit)
	var bytes int64
	for _, g := range q.groups {
		n, err := s.scanGroup(ctx, q, g, x)
		bytes += n
		if err != nil {
			return nil, 0, err
		}
	}
	return x, bytes, nil
}

func (s *Service) scanGroup(ctx context.Context, q *query, g store.Row[model.LogGroup], x *insights.Execution) (bytes int64, err error) {
	rows, err := s.streams(ctx, g, "")
	if err != nil {
		return 0, err
	}
	names := make(map[string]string, len(rows))
	for _, st := range rows {
		names[st.V.UID] = st.V.Name
	}
	r := logstore.Range{From: max(q.from, oldest(g.V, q.created)), To: q.to}
	ids, err := s.candidates(g.V.UID, names, r)
	if err != nil {
		return 0, err
	}
	log := g.Key.Account + ":" + g.V.Name
	var after logstore.Place
	for more := true; more; {
		more = false
		n := 0
		err := s.events.Scan(g.V.UID, ids, r, after, func(stream string, e logstore.Event) bool {
			if n == scanStep {
				more = true
				return false
			}
			n++
			after = logstore.Place{Timestamp: e.Timestamp, Stream: stream, Seq: e.Seq}
			bytes += int64(len(e.Message)) + eventOverhead
			x.Add(insights.Record{
				Timestamp: e.Timestamp, Ingestion: e.Ingestion, Message: e.Message,
				Stream: names[stream], Log: log, Ptr: eventID(stream, e.Position),
			})
			return true
		})
		if err != nil {
			return bytes, err
		}
		if err := ctx.Err(); err != nil {
			return bytes, err
		}
	}
	return bytes, nil
}
