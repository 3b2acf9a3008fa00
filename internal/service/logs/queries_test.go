package logs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cwl "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

// runQueries lets queries run until the test ends.
func (f *fixture) runQueries(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.service.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (f *fixture) start(t *testing.T, text string, groups ...string) string {
	t.Helper()
	now := time.Now().Unix()
	return *must(f.StartQuery(t.Context(), &cwl.StartQueryInput{
		LogGroupNames: groups, QueryString: &text, StartTime: aws.Int64(now - 3600), EndTime: aws.Int64(now + 60),
	}))(t).QueryId
}

// results waits for a query and gives its rows as lines.
func (f *fixture) results(t *testing.T, id string) (string, *cwl.GetQueryResultsOutput) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		out := must(f.GetQueryResults(t.Context(), &cwl.GetQueryResultsInput{QueryId: &id}))(t)
		if out.Status != types.QueryStatusScheduled && out.Status != types.QueryStatusRunning {
			return rowsOf(out), out
		}
		if time.Now().After(deadline) {
			t.Fatalf("the query is still %s", out.Status)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func rowsOf(out *cwl.GetQueryResultsOutput) string {
	var lines []string
	for _, r := range out.Results {
		var fields []string
		for _, f := range r {
			if *f.Field != "@ptr" {
				fields = append(fields, *f.Field+"="+*f.Value)
			}
		}
		lines = append(lines, strings.Join(fields, " "))
	}
	return strings.Join(lines, "\n")
}

func TestQueries(t *testing.T) {
	f := setUp(t)
	f.runQueries(t)
	f.make(t, "one", "a", "b")
	f.make(t, "two", "a")
	now := time.Now()
	f.put(t, "one", "a", now.Add(-time.Minute), `{"level":"ERROR","ms":5}`, `{"level":"INFO","ms":7}`)
	f.put(t, "one", "b", now, `{"level":"ERROR","ms":9}`)
	f.put(t, "two", "a", now.Add(-time.Second), `plain`)
	f.put(t, "two", "a", now.Add(-2*time.Hour), `{"level":"ERROR","ms":1000}`) // before the query's time
	id := f.start(t, "fields @log, @logStream, ms | filter level = 'ERROR' | sort ms desc", "one", "two")
	got, out := f.results(t, id)
	want := "@log=" + account + ":one @logStream=b ms=9\n@log=" + account + ":one @logStream=a ms=5"
	if got != want || out.Status != types.QueryStatusComplete || out.Statistics.RecordsScanned != 4 || out.Statistics.RecordsMatched != 2 || out.Statistics.BytesScanned == 0 {
		t.Errorf("%s %+v\n%s", out.Status, out.Statistics, got)
	}
	if got, _ := f.results(t, f.start(t, "stats count(*) as n, avg(ms) as mean by level | sort level", "two", "one")); got != "n=1\nlevel=ERROR n=2 mean=7\nlevel=INFO n=1 mean=7" {
		t.Errorf("statistics: %s", got)
	}
	// Results come in pages.
	first := must(f.GetQueryResults(t.Context(), &cwl.GetQueryResultsInput{QueryId: &id, MaxItems: aws.Int32(1)}))(t)
	second := must(f.GetQueryResults(t.Context(), &cwl.GetQueryResultsInput{QueryId: &id, MaxItems: aws.Int32(1), NextToken: first.NextToken}))(t)
	if rowsOf(first)+"\n"+rowsOf(second) != want || second.NextToken != nil {
		t.Errorf("pages %s, %s", rowsOf(first), rowsOf(second))
	}
	var listed []string
	in := &cwl.DescribeQueriesInput{MaxResults: aws.Int32(1), LogGroupName: aws.String("two"), Status: types.QueryStatusComplete}
	for {
		page := must(f.DescribeQueries(t.Context(), in))(t)
		for _, q := range page.Queries {
			listed = append(listed, *q.QueryId)
		}
		if in.NextToken = page.NextToken; in.NextToken == nil {
			break
		}
	}
	if len(listed) != 2 || !slices.Contains(listed, id) {
		t.Errorf("queries %v", listed)
	}
	if _, err := f.StopQuery(t.Context(), &cwl.StopQueryInput{QueryId: &id}); code(err) != "InvalidParameterException" {
		t.Errorf("stopping what has ended: %v", err)
	}
}

func TestQueryRefusals(t *testing.T) {
	f := setUp(t)
	f.make(t, "g")
	_, err := f.StartQuery(t.Context(), &cwl.StartQueryInput{LogGroupName: aws.String("g"), QueryString: aws.String("fields x | nope"), StartTime: aws.Int64(0), EndTime: aws.Int64(1)})
	if e, ok := errors.AsType[*types.MalformedQueryException](err); !ok || e.QueryCompileError == nil || *e.QueryCompileError.Location.StartCharOffset != 11 {
		t.Errorf("malformed: %v", err)
	}
	for name, c := range map[string]struct {
		want string
		in   cwl.StartQueryInput
	}{
		"no group":     {"InvalidParameterException", cwl.StartQueryInput{}},
		"two ways":     {"InvalidParameterException", cwl.StartQueryInput{LogGroupName: aws.String("g"), LogGroupNames: []string{"g"}}},
		"absent group": {"ResourceNotFoundException", cwl.StartQueryInput{LogGroupName: aws.String("none")}},
		"language":     {"InvalidParameterException", cwl.StartQueryInput{LogGroupName: aws.String("g"), QueryLanguage: types.QueryLanguageSql}},
		"time":         {"InvalidParameterException", cwl.StartQueryInput{LogGroupName: aws.String("g"), StartTime: aws.Int64(5), EndTime: aws.Int64(4)}},
	} {
		c.in.QueryString = aws.String("fields @message")
		if c.in.StartTime == nil {
			c.in.StartTime, c.in.EndTime = aws.Int64(0), aws.Int64(1)
		}
		if _, err := f.StartQuery(t.Context(), &c.in); code(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.GetQueryResults(t.Context(), &cwl.GetQueryResultsInput{QueryId: aws.String("none")}); code(err) != "ResourceNotFoundException" {
		t.Errorf("absent query: %v", err)
	}
	// Nothing runs yet: queries wait, can be stopped, and are limited.
	stopped := f.start(t, "fields @message", "g")
	for range 29 {
		f.start(t, "fields @message", "g")
	}
	_, err = f.StartQuery(t.Context(), &cwl.StartQueryInput{LogGroupName: aws.String("g"), QueryString: aws.String("fields @message"), StartTime: aws.Int64(0), EndTime: aws.Int64(1)})
	if code(err) != "LimitExceededException" {
		t.Errorf("31 queries: %v", err)
	}
	must(f.StopQuery(t.Context(), &cwl.StopQueryInput{QueryId: &stopped}))(t)
	f.runQueries(t)
	if _, out := f.results(t, stopped); out.Status != types.QueryStatusCancelled {
		t.Errorf("a stopped query is %s", out.Status)
	}
}

func TestQueryDefinitions(t *testing.T) {
	f := setUp(t)
	text := aws.String("fields @message | limit 5")
	put := func(in *cwl.PutQueryDefinitionInput) string {
		t.Helper()
		in.QueryString = text
		return *must(f.PutQueryDefinition(t.Context(), in))(t).QueryDefinitionId
	}
	token := aws.String("0123456789012345678901234567890123456789")
	id := put(&cwl.PutQueryDefinitionInput{Name: aws.String("web/errors"), LogGroupNames: []string{"g"}, ClientToken: token})
	if again := put(&cwl.PutQueryDefinitionInput{Name: aws.String("web/errors"), ClientToken: token}); again != id {
		t.Error("the same token made a second definition")
	}
	for i := range 3 {
		put(&cwl.PutQueryDefinitionInput{Name: aws.String(fmt.Sprint("web/", i))})
	}
	put(&cwl.PutQueryDefinitionInput{Name: aws.String("web/all"), QueryDefinitionId: &id})
	var names []string
	in := &cwl.DescribeQueryDefinitionsInput{QueryDefinitionNamePrefix: aws.String("web/"), MaxResults: aws.Int32(3)}
	for {
		out := must(f.DescribeQueryDefinitions(t.Context(), in))(t)
		for _, d := range out.QueryDefinitions {
			names = append(names, *d.Name)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if strings.Join(names, " ") != "web/0 web/1 web/2 web/all" {
		t.Errorf("definitions %v", names)
	}
	must(f.DeleteQueryDefinition(t.Context(), &cwl.DeleteQueryDefinitionInput{QueryDefinitionId: &id}))(t)
	if _, err := f.DeleteQueryDefinition(t.Context(), &cwl.DeleteQueryDefinitionInput{QueryDefinitionId: &id}); code(err) != "ResourceNotFoundException" {
		t.Errorf("deleting twice: %v", err)
	}
	if _, err := f.PutQueryDefinition(t.Context(), &cwl.PutQueryDefinitionInput{Name: aws.String("x"), QueryString: text, QueryDefinitionId: &id}); code(err) != "ResourceNotFoundException" {
		t.Errorf("changing what is gone: %v", err)
	}
	if _, err := f.PutQueryDefinition(t.Context(), &cwl.PutQueryDefinitionInput{Name: aws.String("x"), QueryString: aws.String("fields |")}); code(err) != "InvalidParameterException" {
		t.Errorf("a malformed query: %v", err)
	}
}
