package logs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/telemetry/insights"
)

// Quotas of Logs Insights:
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
const (
	maxQueryGroups = 50
	// maxQueries is how many may wait or run at once.
	maxQueries = 30
	// maxKept is how many ended queries are remembered.
	maxKept = 1000
	// queryWorkers run queries side by side.
	queryWorkers = 2
	// maxResultPage is how many rows a page of results has.
	maxResultPage = 10_000
)

// query is a query of Logs Insights. What may change is guarded by queries.mu.
type query struct {
	id, account, region string
	text                string
	parsed              *insights.Query
	groups              []store.Row[model.LogGroup]
	from, to            int64 // milliseconds; to is the first that is too late
	limit               int
	created             time.Time

	status logs.QueryStatus
	cancel context.CancelFunc // of a running one
	rows   [][]insights.Field
	// What was read, and what of it passed the filters.
	scanned, matched, bytes int64
}

func (q *query) active() bool {
	return q.status == logs.QueryStatusScheduled || q.status == logs.QueryStatusRunning
}

// queries are those that were started since the server was.
type queries struct {
	work chan *query

	mu   sync.Mutex
	all  map[string]*query
	kept []*query // as they were started
}

func newQueries() *queries {
	return &queries{work: make(chan *query, maxQueries), all: map[string]*query{}}
}

// start lets a query wait for its turn.
func (qs *queries) start(q *query) error {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	active := 0
	for _, other := range qs.kept {
		if other.active() && other.account == q.account && other.region == q.region {
			active++
		}
	}
	full := logs.NewLimitExceededException("Account maximum query concurrency limit of %d reached.", maxQueries)
	if active >= maxQueries {
		return full
	}
	q.status = logs.QueryStatusScheduled
	select {
	case qs.work <- q:
	default:
		return full
	}
	qs.all[q.id] = q
	qs.kept = append(qs.kept, q)
	if len(qs.kept) > maxKept {
		if i := slices.IndexFunc(qs.kept, func(q *query) bool { return !q.active() }); i >= 0 {
			delete(qs.all, qs.kept[i].id)
			qs.kept = slices.Delete(qs.kept, i, i+1)
		}
	}
	return nil
}

// Run runs queries until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range queryWorkers {
		wg.Go(func() {
			for {
				select {
				case q := <-s.queries.work:
					s.execute(ctx, q)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// execute runs a query that has not been stopped.
func (s *Service) execute(ctx context.Context, q *query) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.queries.mu.Lock()
	if q.status != logs.QueryStatusScheduled {
		s.queries.mu.Unlock()
		return
	}
	q.status, q.cancel = logs.QueryStatusRunning, cancel
	s.queries.mu.Unlock()
	x, bytes, err := s.scanFor(ctx, q)
	var rows [][]insights.Field
	if err == nil {
		rows = x.Results()
	}
	s.queries.mu.Lock()
	defer s.queries.mu.Unlock()
	q.cancel = nil
	switch {
	case q.status == logs.QueryStatusCancelled:
	case ctx.Err() != nil:
		q.status = logs.QueryStatusCancelled
	case err != nil:
		q.status = logs.QueryStatusFailed
	default:
		q.status, q.rows = logs.QueryStatusComplete, rows
		q.scanned, q.matched, q.bytes = x.Scanned, x.Matched, bytes
	}
}

// StartQuery begins a query.
func (s *Service) StartQuery(ctx context.Context, in *logs.StartQueryInput) (*logs.StartQueryOutput, error) {
	c := api.CallFrom(ctx)
	if in.QueryLanguage != "" && in.QueryLanguage != logs.QueryLanguageCwli {
		return nil, invalid("The query language %s is not supported.", in.QueryLanguage)
	}
	from, to := epochMillis(*in.StartTime), epochMillis(*in.EndTime)
	if from > to {
		return nil, invalid("Query's start time must be before its end time.")
	}
	parsed, err := insights.Parse(*in.QueryString)
	if e, ok := err.(*insights.SyntaxError); ok { //nolint:errorlint // Parse returns it bare
		return nil, malformed(e)
	}
	if err != nil {
		return nil, err
	}
	names, err := queriedGroups(c, in)
	if err != nil {
		return nil, err
	}
	q := &query{
		id: id.UUID(), account: c.Account, region: c.Region, text: *in.QueryString, parsed: parsed,
		from: from, to: to + 1000, limit: insights.DefaultLimit, created: c.Time,
	}
	if in.Limit != nil {
		q.limit = int(*in.Limit)
	}
	for _, name := range names {
		g, err := s.group(ctx, c.Account, c.Region, name)
		if err != nil {
			return nil, err
		}
		q.groups = append(q.groups, g)
	}
	if err := s.queries.start(q); err != nil {
		return nil, err
	}
	return &logs.StartQueryOutput{QueryId: &q.id}, nil
}

func malformed(e *insights.SyntaxError) error {
	err := logs.NewMalformedQueryException("%s", e.Message)
	err.QueryCompileError = &logs.QueryCompileError{
		Message:  &e.Message,
		Location: &logs.QueryCompileErrorLocation{StartCharOffset: new(int32(e.Start)), EndCharOffset: new(int32(e.End))},
	}
	return err
}

// epochMillis takes a time in seconds or, as it is then far away, in
// milliseconds.
func epochMillis(t int64) int64 {
	if t < 100_000_000_000 {
		return t * 1000
	}
	return t
}

// queriedGroups are the names of the groups that a query reads.
func queriedGroups(c *api.Call, in *logs.StartQueryInput) ([]string, error) {
	names := slices.Clone(in.LogGroupNames)
	given := boolInt(len(names) > 0) + boolInt(in.LogGroupName != nil) + boolInt(len(in.LogGroupIdentifiers) > 0)
	if given != 1 {
		return nil, invalid("Exactly one of logGroupName, logGroupNames and logGroupIdentifiers must be specified.")
	}
	if in.LogGroupName != nil {
		names = []string{*in.LogGroupName}
	}
	for _, identifier := range in.LogGroupIdentifiers {
		name, err := groupOf(c, identifier)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxQueryGroups {
		return nil, invalid("A query can read up to %d log groups.", maxQueryGroups)
	}
	return names, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// queryOf finds a query of the caller's.
func (s *Service) queryOf(c *api.Call, queryID string) (*query, error) {
	q := s.queries.all[queryID]
	if q == nil || q.account != c.Account || q.region != c.Region {
		return nil, logs.NewResourceNotFoundException("Query with id [%s] does not exist.", queryID)
	}
	return q, nil
}

// GetQueryResults tells how a query is, and what it found once it is complete.
func (s *Service) GetQueryResults(ctx context.Context, in *logs.GetQueryResultsInput) (*logs.GetQueryResultsOutput, error) {
	c := api.CallFrom(ctx)
	s.queries.mu.Lock()
	defer s.queries.mu.Unlock()
	q, err := s.queryOf(c, *in.QueryId)
	if err != nil {
		return nil, err
	}
	out := &logs.GetQueryResultsOutput{
		QueryLanguage: logs.QueryLanguageCwli, Status: q.status, Results: [][]logs.ResultField{},
		Statistics: &logs.QueryStatistics{
			BytesScanned: new(float64(q.bytes)), RecordsScanned: new(float64(q.scanned)), RecordsMatched: new(float64(q.matched)),
			LogGroupsScanned: new(float64(len(q.groups))), EstimatedBytesSkipped: new(0.0), EstimatedRecordsSkipped: new(0.0),
		},
	}
	tokens := pagesOf(ctx, "GetQueryResults", q.id)
	begin := 0
	if in.NextToken != nil {
		position, err := tokens.position(in.NextToken)
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Sscan(position, &begin); err != nil || begin > len(q.rows) {
			return nil, errToken
		}
	}
	size := maxResultPage
	if value(in.MaxItems) > 0 {
		size = int(*in.MaxItems)
	}
	end := min(begin+size, len(q.rows))
	for _, r := range q.rows[begin:end] {
		row := make([]logs.ResultField, 0, len(r))
		for _, f := range r {
			row = append(row, logs.ResultField{Field: new(f.Name), Value: new(f.Value)})
		}
		out.Results = append(out.Results, row)
	}
	if end < len(q.rows) {
		out.NextToken = new(tokens.token(fmt.Sprint(end)))
	}
	return out, nil
}

// StopQuery ends a query that waits or runs.
func (s *Service) StopQuery(ctx context.Context, in *logs.StopQueryInput) (*logs.StopQueryOutput, error) {
	s.queries.mu.Lock()
	defer s.queries.mu.Unlock()
	q, err := s.queryOf(api.CallFrom(ctx), *in.QueryId)
	if err != nil {
		return nil, err
	}
	if !q.active() {
		return nil, invalid("Query with id [%s] is not running: its status is %s.", q.id, q.status)
	}
	q.status = logs.QueryStatusCancelled
	if q.cancel != nil {
		q.cancel()
	}
	return &logs.StopQueryOutput{Success: new(true)}, nil
}

// DescribeQueries lists queries, the latest first.
func (s *Service) DescribeQueries(ctx context.Context, in *logs.DescribeQueriesInput) (*logs.DescribeQueriesOutput, error) {
	c := api.CallFrom(ctx)
	tokens := pagesOf(ctx, "DescribeQueries", value(in.LogGroupName), in.Status, in.QueryLanguage)
	before, err := tokens.position(in.NextToken)
	if err != nil {
		return nil, err
	}
	limit := int(value(in.MaxResults))
	if limit == 0 {
		limit = maxKept
	}
	s.queries.mu.Lock()
	defer s.queries.mu.Unlock()
	position := func(q *query) string { return fmt.Sprintf("%020d/%s", q.created.UnixMilli(), q.id) }
	found := slices.DeleteFunc(slices.Clone(s.queries.kept), func(q *query) bool {
		return q.account != c.Account || q.region != c.Region || before != "" && position(q) >= before ||
			in.Status != "" && in.Status != q.status || in.QueryLanguage != "" && in.QueryLanguage != logs.QueryLanguageCwli ||
			in.LogGroupName != nil && !slices.ContainsFunc(q.groups, func(g store.Row[model.LogGroup]) bool { return g.V.Name == *in.LogGroupName })
	})
	slices.SortFunc(found, func(a, b *query) int { return strings.Compare(position(b), position(a)) })
	out := &logs.DescribeQueriesOutput{Queries: []logs.QueryInfo{}}
	for i, q := range found {
		if i == limit {
			out.NextToken = new(tokens.token(position(found[i-1])))
			break
		}
		out.Queries = append(out.Queries, logs.QueryInfo{
			QueryId: &q.id, QueryString: &q.text, Status: q.status, QueryLanguage: logs.QueryLanguageCwli,
			CreateTime: new(q.created.UnixMilli()), LogGroupName: &q.groups[0].V.Name, BytesScanned: new(float64(q.bytes)),
		})
	}
	return out, nil
}
