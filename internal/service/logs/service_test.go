package logs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cwl "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"

	"roadstead.dev/internal/api"
	apilogs "roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/service/logs"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/telemetry/logstore"
)

const (
	account = "000000000000"
	region  = "eu-west-1"
)

type fixture struct {
	*cwl.Client
	url     string
	store   store.Store
	events  *logstore.Store
	service *logs.Service
}

// setUp serves the API as a client sees it.
func setUp(t *testing.T) *fixture {
	t.Helper()
	events, err := logstore.Open(filepath.Join(t.TempDir(), "logs.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = events.Close() })
	f := &fixture{store: memory.New(), events: events}
	f.service = logs.New(f.store, events)
	srv := httptest.NewServer(gateway.New(gateway.Config{
		Services: []gateway.Service{gateway.Bind(apilogs.New(f.service), f.service)},
		Account:  account, LoopbackRootKey: true,
	}))
	t.Cleanup(srv.Close)
	f.url = srv.URL
	f.Client = cwl.New(cwl.Options{
		BaseEndpoint: &f.url, Region: region, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	return f
}

func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (f *fixture) make(t *testing.T, group string, streams ...string) {
	t.Helper()
	must(f.CreateLogGroup(t.Context(), &cwl.CreateLogGroupInput{LogGroupName: &group}))(t)
	for _, s := range streams {
		must(f.CreateLogStream(t.Context(), &cwl.CreateLogStreamInput{LogGroupName: &group, LogStreamName: &s}))(t)
	}
}

func (f *fixture) put(t *testing.T, group, stream string, at time.Time, messages ...string) {
	t.Helper()
	var events []types.InputLogEvent
	for i, m := range messages {
		events = append(events, types.InputLogEvent{Message: &m, Timestamp: aws.Int64(at.UnixMilli() + int64(i))})
	}
	must(f.PutLogEvents(t.Context(), &cwl.PutLogEventsInput{LogGroupName: &group, LogStreamName: &stream, LogEvents: events}))(t)
}

func TestGroups(t *testing.T) {
	f := setUp(t)
	for _, n := range []string{"/ecs/b", "/ecs/a", "other"} {
		f.make(t, n)
	}
	_, err := f.CreateLogGroup(t.Context(), &cwl.CreateLogGroupInput{LogGroupName: aws.String("other")})
	if code(err) != "ResourceAlreadyExistsException" {
		t.Errorf("again: %v", err)
	}
	names := func(in *cwl.DescribeLogGroupsInput) (out []string) {
		p := cwl.NewDescribeLogGroupsPaginator(f, in)
		for p.HasMorePages() {
			for _, g := range must(p.NextPage(t.Context()))(t).LogGroups {
				out = append(out, *g.LogGroupName)
			}
		}
		return out
	}
	if got := names(&cwl.DescribeLogGroupsInput{Limit: aws.Int32(1)}); !slices.Equal(got, []string{"/ecs/a", "/ecs/b", "other"}) {
		t.Errorf("groups %v", got)
	}
	if got := names(&cwl.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/ecs"), Limit: aws.Int32(1)}); !slices.Equal(got, []string{"/ecs/a", "/ecs/b"}) {
		t.Errorf("groups with prefix %v", got)
	}
	if got := names(&cwl.DescribeLogGroupsInput{LogGroupNamePattern: aws.String("CS/b")}); !slices.Equal(got, []string{"/ecs/b"}) {
		t.Errorf("groups with pattern %v", got)
	}
	must(f.PutRetentionPolicy(t.Context(), &cwl.PutRetentionPolicyInput{LogGroupName: aws.String("other"), RetentionInDays: aws.Int32(7)}))(t)
	out := must(f.DescribeLogGroups(t.Context(), &cwl.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("other")}))(t)
	g := out.LogGroups[0]
	if aws.ToInt32(g.RetentionInDays) != 7 || *g.Arn != "arn:aws:logs:eu-west-1:000000000000:log-group:other:*" ||
		*g.LogGroupArn != "arn:aws:logs:eu-west-1:000000000000:log-group:other" || g.LogGroupClass != types.LogGroupClassStandard {
		t.Errorf("group %+v", g)
	}
	_, err = f.PutRetentionPolicy(t.Context(), &cwl.PutRetentionPolicyInput{LogGroupName: aws.String("other"), RetentionInDays: aws.Int32(2)})
	if code(err) != "InvalidParameterException" {
		t.Errorf("retention of 2 days: %v", err)
	}
	must(f.DeleteRetentionPolicy(t.Context(), &cwl.DeleteRetentionPolicyInput{LogGroupName: aws.String("other")}))(t)
	must(f.DeleteLogGroup(t.Context(), &cwl.DeleteLogGroupInput{LogGroupName: aws.String("other")}))(t)
	if _, err = f.DeleteLogGroup(t.Context(), &cwl.DeleteLogGroupInput{LogGroupName: aws.String("other")}); code(err) != "ResourceNotFoundException" {
		t.Errorf("deleting twice: %v", err)
	}
}

func TestRemadeGroupIsEmpty(t *testing.T) {
	f := setUp(t)
	f.make(t, "g", "s")
	f.put(t, "g", "s", time.Now(), "old")
	must(f.DeleteLogGroup(t.Context(), &cwl.DeleteLogGroupInput{LogGroupName: aws.String("g")}))(t)
	f.make(t, "g")
	if out := must(f.DescribeLogStreams(t.Context(), &cwl.DescribeLogStreamsInput{LogGroupName: aws.String("g")}))(t); len(out.LogStreams) != 0 {
		t.Errorf("streams %v", out.LogStreams)
	}
	if groups, _ := f.events.Groups(); len(groups) != 0 {
		t.Errorf("events left: %v", groups)
	}
}

func TestStreams(t *testing.T) {
	f := setUp(t)
	f.make(t, "g", "a", "b", "c")
	now := time.Now()
	f.put(t, "g", "b", now, "x")
	f.put(t, "g", "a", now.Add(time.Minute), "x")
	list := func(in *cwl.DescribeLogStreamsInput) (out []string) {
		in.LogGroupName, in.Limit = aws.String("g"), aws.Int32(1)
		p := cwl.NewDescribeLogStreamsPaginator(f, in)
		for p.HasMorePages() {
			for _, s := range must(p.NextPage(t.Context()))(t).LogStreams {
				out = append(out, *s.LogStreamName)
			}
		}
		return out
	}
	for _, tt := range []struct {
		in   cwl.DescribeLogStreamsInput
		want string
	}{
		{cwl.DescribeLogStreamsInput{}, "a b c"},
		{cwl.DescribeLogStreamsInput{Descending: aws.Bool(true)}, "c b a"},
		{cwl.DescribeLogStreamsInput{OrderBy: types.OrderByLastEventTime}, "c b a"},
		{cwl.DescribeLogStreamsInput{OrderBy: types.OrderByLastEventTime, Descending: aws.Bool(true)}, "a b c"},
		{cwl.DescribeLogStreamsInput{LogStreamNamePrefix: aws.String("b")}, "b"},
	} {
		if got := strings.Join(list(&tt.in), " "); got != tt.want {
			t.Errorf("streams %s, want %s", got, tt.want)
		}
	}
	_, err := f.DescribeLogStreams(t.Context(), &cwl.DescribeLogStreamsInput{LogGroupName: aws.String("g"), OrderBy: types.OrderByLastEventTime, LogStreamNamePrefix: aws.String("a")})
	if code(err) != "InvalidParameterException" {
		t.Errorf("order by time with prefix: %v", err)
	}
	if _, err = f.CreateLogStream(t.Context(), &cwl.CreateLogStreamInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("a")}); code(err) != "ResourceAlreadyExistsException" {
		t.Errorf("again: %v", err)
	}
	if _, err = f.CreateLogStream(t.Context(), &cwl.CreateLogStreamInput{LogGroupName: aws.String("no"), LogStreamName: aws.String("a")}); code(err) != "ResourceNotFoundException" {
		t.Errorf("no group: %v", err)
	}
	must(f.DeleteLogStream(t.Context(), &cwl.DeleteLogStreamInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("a")}))(t)
	if got := strings.Join(list(&cwl.DescribeLogStreamsInput{}), " "); got != "b c" {
		t.Errorf("streams %s", got)
	}
}

func TestPutLogEventsLimits(t *testing.T) {
	f := setUp(t)
	f.make(t, "g", "s")
	now := time.Now()
	put := func(stream string, events ...types.InputLogEvent) (*cwl.PutLogEventsOutput, error) {
		return f.PutLogEvents(t.Context(), &cwl.PutLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: &stream, LogEvents: events})
	}
	ev := func(age time.Duration, message string) types.InputLogEvent {
		return types.InputLogEvent{Timestamp: aws.Int64(now.Add(-age).UnixMilli()), Message: &message}
	}
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name   string
		events []types.InputLogEvent
		want   string
	}{
		{"order", []types.InputLogEvent{ev(0, "a"), ev(time.Second, "b")}, "InvalidParameterException"},
		{"span", []types.InputLogEvent{ev(25*time.Hour, "a"), ev(0, "b")}, "InvalidParameterException"},
		{"size", []types.InputLogEvent{ev(1, strings.Repeat("x", 600<<10)), ev(0, strings.Repeat("x", 600<<10))}, "InvalidParameterException"},
		{"empty", []types.InputLogEvent{ev(0, "")}, "InvalidParameterException"},
	} {
		if _, err := put("s", tt.events...); code(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := put("none", ev(0, "x")); code(err) != "ResourceNotFoundException" {
		t.Errorf("no stream: %v", err)
	}
	out := must(put("s", ev(14*day+2*time.Hour, "a"), ev(14*day+time.Hour, "b"), ev(14*day-time.Hour, "c")))(t)
	if r := out.RejectedLogEventsInfo; r == nil || aws.ToInt32(r.TooOldLogEventEndIndex) != 2 || r.TooNewLogEventStartIndex != nil {
		t.Errorf("rejected %+v", r)
	}
	out = must(put("s", ev(0, "d"), ev(-3*time.Hour, "e")))(t)
	if r := out.RejectedLogEventsInfo; r == nil || aws.ToInt32(r.TooNewLogEventStartIndex) != 1 {
		t.Errorf("rejected %+v", r)
	}
	must(f.PutRetentionPolicy(t.Context(), &cwl.PutRetentionPolicyInput{LogGroupName: aws.String("g"), RetentionInDays: aws.Int32(1)}))(t)
	out = must(put("s", ev(2*day, "f"), ev(2*day, "g")))(t)
	if r := out.RejectedLogEventsInfo; r == nil || aws.ToInt32(r.ExpiredLogEventEndIndex) != 2 {
		t.Errorf("rejected %+v", r)
	}
	got := must(f.GetLogEvents(t.Context(), &cwl.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s")}))(t)
	if len(got.Events) != 1 || *got.Events[0].Message != "d" {
		t.Errorf("events beyond retention are shown: %v", got.Events)
	}
}

func messages(events []types.OutputLogEvent) string {
	var out []string
	for _, e := range events {
		out = append(out, *e.Message)
	}
	return strings.Join(out, " ")
}

func TestGetLogEventsPages(t *testing.T) {
	f := setUp(t)
	f.make(t, "g", "s")
	get := func(token *string, fromHead bool, limit int32) *cwl.GetLogEventsOutput {
		return must(f.GetLogEvents(t.Context(), &cwl.GetLogEventsInput{
			LogGroupName: aws.String("g"), LogStreamName: aws.String("s"), NextToken: token, StartFromHead: &fromHead, Limit: &limit,
		}))(t)
	}
	empty := get(nil, true, 5)
	now := time.Now()
	f.put(t, "g", "s", now, "1", "2", "3", "4", "5")
	if got := messages(get(empty.NextForwardToken, true, 5).Events); got != "1 2 3 4 5" {
		t.Errorf("after the empty page: %s", got)
	}
	head := get(nil, true, 2)
	if got := messages(head.Events); got != "1 2" {
		t.Errorf("head: %s", got)
	}
	next := get(head.NextForwardToken, true, 2)
	last := get(next.NextForwardToken, true, 2)
	end := get(last.NextForwardToken, true, 2)
	if got := messages(next.Events) + "|" + messages(last.Events) + "|" + messages(end.Events); got != "3 4|5|" {
		t.Errorf("pages %s", got)
	}
	if *end.NextForwardToken != *last.NextForwardToken {
		t.Errorf("the token does not repeat at the end")
	}
	f.put(t, "g", "s", now.Add(time.Second), "6")
	if got := messages(get(end.NextForwardToken, true, 2).Events); got != "6" {
		t.Errorf("what came later: %s", got)
	}
	tail := get(nil, false, 2)
	before := get(tail.NextBackwardToken, false, 2)
	first := get(before.NextBackwardToken, false, 3)
	start := get(first.NextBackwardToken, false, 3)
	if got := messages(tail.Events) + "|" + messages(before.Events) + "|" + messages(first.Events) + "|" + messages(start.Events); got != "5 6|3 4|1 2|" {
		t.Errorf("pages backward %s", got)
	}
	if *start.NextBackwardToken != *first.NextBackwardToken {
		t.Errorf("the token does not repeat at the start")
	}
	f.make(t, "other", "s")
	other := must(f.GetLogEvents(t.Context(), &cwl.GetLogEventsInput{LogGroupName: aws.String("other"), LogStreamName: aws.String("s")}))(t)
	for _, token := range []string{"x", "f/", "f/AAAA", "g" + (*head.NextForwardToken)[1:], *head.NextForwardToken + "A", *other.NextForwardToken} {
		if _, err := f.GetLogEvents(t.Context(), &cwl.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s"), NextToken: &token}); code(err) != "InvalidParameterException" {
			t.Errorf("token %s: %v", token, err)
		}
	}
	at := func(i int64) *int64 { return aws.Int64(now.UnixMilli() + i) }
	out := must(f.GetLogEvents(t.Context(), &cwl.GetLogEventsInput{
		LogGroupIdentifier: aws.String("arn:aws:logs:eu-west-1:000000000000:log-group:g"),
		LogStreamName:      aws.String("s"), StartTime: at(1), EndTime: at(3),
	}))(t)
	if got := messages(out.Events); got != "2 3" {
		t.Errorf("time range: %s", got)
	}
}

func TestFilterLogEvents(t *testing.T) {
	f := setUp(t)
	f.make(t, "g", "a/1", "a/2", "b/1")
	now := time.Now()
	f.put(t, "g", "a/1", now, "ERROR one", `{"level":"warn","n":1}`)
	f.put(t, "g", "b/1", now, "ERROR two", "fine")
	f.put(t, "g", "a/2", now.Add(time.Second), "ERROR three")
	filter := func(in *cwl.FilterLogEventsInput) string {
		in.LogGroupName, in.Limit = aws.String("g"), aws.Int32(1)
		var out []string
		ids := map[string]bool{}
		p := cwl.NewFilterLogEventsPaginator(f, in)
		for p.HasMorePages() {
			for _, e := range must(p.NextPage(t.Context()))(t).Events {
				out = append(out, *e.LogStreamName+"="+*e.Message)
				ids[*e.EventId] = true
			}
		}
		if len(ids) != len(out) {
			t.Errorf("%d ids of %d events", len(ids), len(out))
		}
		return strings.Join(out, " ")
	}
	all := filter(&cwl.FilterLogEventsInput{})
	if strings.Count(all, "=") != 5 || !strings.HasSuffix(all, "a/2=ERROR three") {
		t.Errorf("all: %s", all)
	}
	for _, tt := range []struct {
		name string
		in   cwl.FilterLogEventsInput
		want string
	}{
		{"json", cwl.FilterLogEventsInput{FilterPattern: aws.String(`{ $.level = "warn" && $.n < 2 }`)}, `a/1={"level":"warn","n":1}`},
		{"prefix", cwl.FilterLogEventsInput{FilterPattern: aws.String("ERROR"), LogStreamNamePrefix: aws.String("a/")}, "a/1=ERROR one a/2=ERROR three"},
		{"names", cwl.FilterLogEventsInput{LogStreamNames: []string{"b/1"}}, "b/1=ERROR two b/1=fine"},
		{"exclusion", cwl.FilterLogEventsInput{FilterPattern: aws.String("ERROR -two -three")}, "a/1=ERROR one"},
		{"start", cwl.FilterLogEventsInput{StartTime: aws.Int64(now.UnixMilli() + 2)}, "a/2=ERROR three"},
		{"end", cwl.FilterLogEventsInput{EndTime: aws.Int64(now.UnixMilli()), LogStreamNames: []string{"a/1"}}, "a/1=ERROR one"},
	} {
		if got := filter(&tt.in); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	for name, in := range map[string]*cwl.FilterLogEventsInput{
		"pattern":   {LogGroupName: aws.String("g"), FilterPattern: aws.String("{ $.a")},
		"exclusive": {LogGroupName: aws.String("g"), LogStreamNames: []string{"a/1"}, LogStreamNamePrefix: aws.String("a")},
		"no group":  {},
		"token":     {LogGroupName: aws.String("g"), NextToken: aws.String("x")},
	} {
		if _, err := f.FilterLogEvents(t.Context(), in); code(err) != "InvalidParameterException" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTags(t *testing.T) {
	f := setUp(t)
	f.make(t, "g")
	arn := aws.String("arn:aws:logs:eu-west-1:000000000000:log-group:g")
	must(f.TagResource(t.Context(), &cwl.TagResourceInput{ResourceArn: arn, Tags: map[string]string{"a": "1", "b": "2"}}))(t)
	must(f.UntagResource(t.Context(), &cwl.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"a"}}))(t)
	must(f.TagLogGroup(t.Context(), &cwl.TagLogGroupInput{LogGroupName: aws.String("g"), Tags: map[string]string{"c": ""}}))(t) //nolint:staticcheck // it is served
	out := must(f.ListTagsForResource(t.Context(), &cwl.ListTagsForResourceInput{ResourceArn: arn}))(t)
	if fmt.Sprint(out.Tags) != "map[b:2 c:]" {
		t.Errorf("tags %v", out.Tags)
	}
	must(f.UntagLogGroup(t.Context(), &cwl.UntagLogGroupInput{LogGroupName: aws.String("g"), Tags: []string{"c"}}))(t) //nolint:staticcheck // it is served
	old := must(f.ListTagsLogGroup(t.Context(), &cwl.ListTagsLogGroupInput{LogGroupName: aws.String("g")}))(t)         //nolint:staticcheck // it is served
	if fmt.Sprint(old.Tags) != "map[b:2]" {
		t.Errorf("tags by name %v", old.Tags)
	}
	if _, err := f.TagResource(t.Context(), &cwl.TagResourceInput{ResourceArn: arn, Tags: map[string]string{"aws:x": "1"}}); code(err) != "InvalidParameterException" {
		t.Errorf("reserved key: %v", err)
	}
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprint("k", i)] = ""
	}
	if _, err := f.TagResource(t.Context(), &cwl.TagResourceInput{ResourceArn: arn, Tags: many}); code(err) != "TooManyTagsException" {
		t.Errorf("too many: %v", err)
	}
	if _, err := f.TagLogGroup(t.Context(), &cwl.TagLogGroupInput{LogGroupName: aws.String("g"), Tags: many}); code(err) != "InvalidParameterException" { //nolint:staticcheck // it is served
		t.Errorf("too many, by name: %v", err)
	}
	if _, err := f.CreateLogGroup(t.Context(), &cwl.CreateLogGroupInput{LogGroupName: aws.String("h"), Tags: map[string]string{"aws:x": "1"}}); code(err) != "InvalidParameterException" {
		t.Errorf("reserved key of a new group: %v", err)
	}
}

// A token is its own list's alone.
func TestTokensAreTheirLists(t *testing.T) {
	f := setUp(t)
	for _, g := range []string{"a", "b", "c"} {
		f.make(t, g, "1", "2", "3")
		f.put(t, g, "1", time.Now(), "x", "y", "z")
	}
	one := aws.Int32(1)
	groups := must(f.DescribeLogGroups(t.Context(), &cwl.DescribeLogGroupsInput{Limit: one}))(t).NextToken
	streams := must(f.DescribeLogStreams(t.Context(), &cwl.DescribeLogStreamsInput{LogGroupName: aws.String("a"), Limit: one}))(t).NextToken
	events := must(f.FilterLogEvents(t.Context(), &cwl.FilterLogEventsInput{LogGroupName: aws.String("a"), Limit: one}))(t).NextToken
	for name, call := range map[string]func() error{
		"groups of another prefix": func() error {
			_, err := f.DescribeLogGroups(t.Context(), &cwl.DescribeLogGroupsInput{NextToken: groups, LogGroupNamePrefix: aws.String("b")})
			return err
		},
		"groups by another list's": func() error {
			_, err := f.DescribeLogGroups(t.Context(), &cwl.DescribeLogGroupsInput{NextToken: streams})
			return err
		},
		"streams of another group": func() error {
			_, err := f.DescribeLogStreams(t.Context(), &cwl.DescribeLogStreamsInput{LogGroupName: aws.String("b"), NextToken: streams})
			return err
		},
		"streams in another order": func() error {
			_, err := f.DescribeLogStreams(t.Context(), &cwl.DescribeLogStreamsInput{LogGroupName: aws.String("a"), Descending: aws.Bool(true), NextToken: streams})
			return err
		},
		"events of another pattern": func() error {
			_, err := f.FilterLogEvents(t.Context(), &cwl.FilterLogEventsInput{LogGroupName: aws.String("a"), FilterPattern: aws.String("x"), NextToken: events})
			return err
		},
	} {
		if err := call(); code(err) != "InvalidParameterException" || !strings.Contains(err.Error(), "The specified nextToken is invalid.") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The limit is no part of the list.
	if out := must(f.DescribeLogGroups(t.Context(), &cwl.DescribeLogGroupsInput{NextToken: groups, Limit: aws.Int32(50)}))(t); len(out.LogGroups) != 2 {
		t.Errorf("the rest is %d groups", len(out.LogGroups))
	}
}

func TestDeletionProtection(t *testing.T) {
	f := setUp(t)
	must(f.CreateLogGroup(t.Context(), &cwl.CreateLogGroupInput{LogGroupName: aws.String("g"), DeletionProtectionEnabled: aws.Bool(true)}))(t)
	if _, err := f.DeleteLogGroup(t.Context(), &cwl.DeleteLogGroupInput{LogGroupName: aws.String("g")}); code(err) != "ValidationException" {
		t.Errorf("protected group: %v", err)
	}
	must(f.PutLogGroupDeletionProtection(t.Context(), &cwl.PutLogGroupDeletionProtectionInput{LogGroupIdentifier: aws.String("g"), DeletionProtectionEnabled: aws.Bool(false)}))(t)
	must(f.DeleteLogGroup(t.Context(), &cwl.DeleteLogGroupInput{LogGroupName: aws.String("g")}))(t)
}

func TestEnsureStream(t *testing.T) {
	f := setUp(t)
	ctx := context.Background()
	if _, err := f.service.EnsureStream(ctx, account, region, "g", "s", false, time.Now()); api.Code(err) != "ResourceNotFoundException" {
		t.Errorf("no group: %v", err)
	}
	first := must(f.service.EnsureStream(ctx, account, region, "g", "s", true, time.Now()))(t)
	again := must(f.service.EnsureStream(ctx, account, region, "g", "s", false, time.Now()))(t)
	if first != again || first.ID == "" {
		t.Errorf("streams %v and %v", first, again)
	}
}

func TestCLI(t *testing.T) {
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("the AWS CLI is not installed")
	}
	f := setUp(t)
	f.make(t, "g", "s")
	f.put(t, "g", "s", time.Now(), "hello <&> ü")
	cmd := exec.CommandContext(t.Context(), "aws", "--endpoint-url", f.url, "--output", "text", "logs", "filter-log-events",
		"--log-group-name", "g", "--filter-pattern", "hello", "--query", "events[].message")
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION="+region, "AWS_DEFAULT_REGION="+region, "PYTHONIOENCODING=utf-8")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "hello <&> ü" {
		t.Errorf("aws: %s %v", out, err)
	}
}
