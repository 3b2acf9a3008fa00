package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/jsonfile"
	"roadstead.dev/internal/logger"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/node"
	"roadstead.dev/internal/telemetry/logstore"
	"roadstead.dev/internal/telemetry/spool"
)

// Logs takes containers' output to CloudWatch Logs. Loggers beside the
// containers write it to a spool, from which the agent sends it: an agent that
// ends, or an API that is away, loses no line.
type Logs struct {
	API *API
	// Executable is the absolute path of the program that the container runtime
	// starts as the logger.
	Executable string
	// Dir holds the spool, and how far it was sent.
	Dir   string
	Clock clock.Clock

	mu sync.Mutex
	// roles are the execution roles' credentials by the tasks' ids; those of
	// tasks that are gone stay until they expire: there may be output left.
	roles map[string]*acs.IAMRoleCredentials
	// streams are those that are there.
	streams map[logstore.Stream]destination
}

var (
	_ node.Logs     = (*Logs)(nil)
	_ spool.Streams = (*Logs)(nil)
	_ spool.Events  = (*Logs)(nil)
)

// destination is a log stream.
type destination struct{ region, group, stream string }

// task is the id of the task whose output the stream holds: its name ends with
// it, or begins the name of the container, which is the stream's then.
func (d destination) task() string {
	id, _, _ := strings.Cut(d.stream[strings.LastIndexByte(d.stream, '/')+1:], "-")
	return id
}

func (l *Logs) spoolDir() string    { return filepath.Join(l.Dir, "spool") }
func (l *Logs) cursorsFile() string { return filepath.Join(l.Dir, "sent.json") }

// Open makes the stream with the execution role, or with the machine's own
// where the task has none, and returns the URI that makes the runtime log to
// it.
func (l *Logs) Open(ctx context.Context, t node.LogTarget) (string, error) {
	cfg, err := execution.LogConfig(t, l.spoolDir())
	if cfg == nil || err != nil {
		return "", err
	}
	l.Refresh(t.TaskArn, t.Execution)
	if err := l.make(ctx, destination{cfg.Region, cfg.Group, cfg.Stream}, cfg.CreateGroup); err != nil {
		return "", fmt.Errorf("failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: %w", worded(err))
	}
	return logger.URI(l.Executable, *cfg), nil
}

// Refresh takes the execution role's credentials of a task.
func (l *Logs) Refresh(task string, c *acs.IAMRoleCredentials) {
	if c == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.roles == nil {
		l.roles = map[string]*acs.IAMRoleCredentials{}
	}
	now := l.Clock.Now()
	for id, old := range l.roles {
		if at, err := time.Parse(time.RFC3339, old.Expiration); err == nil && at.Before(now) {
			delete(l.roles, id)
		}
	}
	l.roles[execution.TaskID(task)] = c
}

// as are the credentials for a stream, nil for the machine's own.
func (l *Logs) as(d destination) aws.CredentialsProvider {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.roles[d.task()]; c != nil {
		return roleCredentials(c)
	}
	return nil
}

// make makes a stream, and its group if that is asked for, unless they are
// there.
func (l *Logs) make(ctx context.Context, d destination, group bool) error {
	creds := l.as(d)
	err := l.API.do(ctx, call{serviceLogs, "CreateLogStream", d.region, creds}, map[string]string{"logGroupName": d.group, "logStreamName": d.stream}, nil)
	if is(err, "ResourceNotFoundException") && group {
		err = l.API.do(ctx, call{serviceLogs, "CreateLogGroup", d.region, creds}, map[string]string{"logGroupName": d.group}, nil)
		if err == nil || is(err, "ResourceAlreadyExistsException") {
			return l.make(ctx, d, false)
		}
	}
	if is(err, "ResourceAlreadyExistsException") {
		return nil
	}
	return err
}

func is(err error, code string) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == code
}

// pause is how long the spool is left alone when there is nothing in it.
const pause = 500 * time.Millisecond

// Run sends what is spooled until ctx ends. Use one Run per Logs.
func (l *Logs) Run(ctx context.Context, log *slog.Logger) error {
	if err := os.MkdirAll(l.spoolDir(), 0o700); err != nil {
		return err
	}
	return spool.New(spool.Config{Dir: l.spoolDir(), Streams: l, Events: l, Clock: l.Clock, Log: log, Interval: pause}).Run(ctx)
}

// EnsureStream implements spool.Streams: where a segment's lines go, which is
// made unless it is known.
func (l *Logs) EnsureStream(ctx context.Context, _, region, group, stream string, createGroup bool, _ time.Time) (logstore.Stream, error) {
	d := destination{region, group, stream}
	s := logstore.Stream{Group: region + " " + group, ID: stream}
	l.mu.Lock()
	_, known := l.streams[s]
	l.mu.Unlock()
	if known {
		return s, nil
	}
	if err := l.make(ctx, d, createGroup); err != nil {
		return s, final(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams == nil {
		l.streams = map[logstore.Stream]destination{}
	}
	l.streams[s] = d
	return s, nil
}

// final gives an error a wire code unless another try may succeed: lines that
// nobody takes are dropped.
func final(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status >= 500 || slices.Contains(passing, e.Code) {
		return err
	}
	return api.NewFault(e.Code, "%s", e.Message)
}

// passing are refusals that pass.
var passing = []string{"ThrottlingException", "ServiceUnavailableException", "OperationAbortedException", "ExpiredTokenException", "RequestExpired"}

// Bounds of a PutLogEvents.
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
const (
	maxPutEvents = 10000
	maxPutBytes  = 1048576
	eventBytes   = 26 // that each event counts beside its message
	maxPutSpan   = 24 * time.Hour
)

type inputLogEvent struct {
	Timestamp int64  `json:"timestamp"`
	Message   string `json:"message"`
}

// Append implements spool.Events: it sends the batches, then keeps the cursors.
func (l *Logs) Append(ctx context.Context, batches []logstore.Batch, cursors map[string]int64) error {
	for _, b := range batches {
		slices.SortStableFunc(b.Events, func(x, y logstore.Event) int { return int(x.Timestamp - y.Timestamp) })
		for events := b.Events; len(events) > 0; {
			n := fitting(events)
			if err := l.put(ctx, b.Stream, events[:n]); err != nil {
				return err
			}
			events = events[n:]
		}
	}
	return l.keep(cursors)
}

// fitting is how many of the events one request takes.
func fitting(events []logstore.Event) int {
	size := 0
	for i, e := range events {
		size += len(e.Message) + eventBytes
		if i > 0 && (size > maxPutBytes || i == maxPutEvents || e.Timestamp-events[0].Timestamp > maxPutSpan.Milliseconds()) {
			return i
		}
	}
	return len(events)
}

// put sends events of a stream, again and again while that may succeed: what
// was sent before in the same pass must not be sent twice.
func (l *Logs) put(ctx context.Context, s logstore.Stream, events []logstore.Event) error {
	l.mu.Lock()
	d := l.streams[s]
	l.mu.Unlock()
	in := map[string]any{"logGroupName": d.group, "logStreamName": d.stream}
	var list []inputLogEvent
	for _, e := range events {
		list = append(list, inputLogEvent{e.Timestamp, e.Message})
	}
	in["logEvents"] = list
	for delay := firstDelay; ; delay = min(2*delay, longestDelay) {
		err := l.API.do(ctx, call{serviceLogs, "PutLogEvents", d.region, l.as(d)}, in, nil)
		if err == nil {
			return nil
		}
		if api.Code(final(err)) != "" {
			// The stream is gone, or the permission: EnsureStream tells next
			// time, and that the lines are dropped.
			l.mu.Lock()
			delete(l.streams, s)
			l.mu.Unlock()
			return nil
		}
		if !clock.Sleep(ctx, l.Clock, delay) {
			return ctx.Err()
		}
	}
}

// Cursors implements spool.Events.
func (l *Logs) Cursors() (map[string]int64, error) {
	cursors := map[string]int64{}
	b, err := os.ReadFile(l.cursorsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return cursors, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &cursors)
	}
	if err != nil {
		return nil, fmt.Errorf("read how far output was sent: %w", err)
	}
	return cursors, nil
}

// keep writes down cursors; a negative one is forgotten.
func (l *Logs) keep(changed map[string]int64) error {
	cursors, err := l.Cursors()
	if err != nil {
		return err
	}
	for id, at := range changed {
		if cursors[id] = at; at < 0 {
			delete(cursors, id)
		}
	}
	return jsonfile.Write(l.cursorsFile(), cursors)
}
