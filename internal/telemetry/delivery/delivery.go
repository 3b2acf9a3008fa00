// Package delivery takes what load balancers log to where it is wanted: as
// compressed objects into buckets of S3, and as events into log groups.
//
// Entries for buckets wait in spool files, so that no more than the last
// moments are lost when the server is killed.
package delivery

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/objects"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/telemetry/logstore"
)

// Objects are the buckets.
type Objects interface {
	Put(ctx context.Context, who objects.Principal, at objects.Location, body io.Reader, o objects.PutOptions) (objects.Info, error)
}

// Streams finds and makes log streams. An error with a wire code means that
// there is no such group.
type Streams interface {
	EnsureStream(ctx context.Context, account, region, group, stream string, createGroup bool, now time.Time) (logstore.Stream, error)
}

// Events is the log store.
type Events interface {
	Append(ctx context.Context, batches []logstore.Batch, cursors map[string]int64) error
}

// Config of a Delivery. Log may be nil.
type Config struct {
	// Dir holds the spool files.
	Dir     string
	Objects Objects
	Streams Streams
	Events  Events
	Clock   clock.Clock
	Log     *slog.Logger
	// Period is how often objects are made; 0 means five minutes.
	Period time.Duration
	// MaxSpool is how large a spool file grows; 0 means 64 MiB.
	MaxSpool int64
}

// Delivery delivers. Safe for concurrent use.
type Delivery struct {
	Config

	mu    sync.Mutex
	files map[string]*spoolFile
	// delivering holds who delivers, so that nothing is delivered twice.
	delivering sync.Mutex
	// create makes a spool file.
	create func(path string) (file, error)
}

// appendTime bounds how long events may take to be stored.
const appendTime = 10 * time.Second

// New makes a delivery.
func New(cfg Config) *Delivery {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Period == 0 {
		cfg.Period = 5 * time.Minute
	}
	if cfg.MaxSpool == 0 {
		cfg.MaxSpool = maxSpool
	}
	return &Delivery{Config: cfg, files: map[string]*spoolFile{}, create: create}
}

// Append takes entries of the node with an address: whole lines.
func (d *Delivery) Append(lb balance.LoadBalancer, to balance.LogOutput, node netip.Addr, lines []byte) {
	arn, err := model.ParseARN(lb.ARN)
	if err != nil {
		return
	}
	if to.LogGroup != "" {
		err = d.events(arn, lb, to, node, lines)
	} else {
		err = d.spool(header{
			Account: arn.Account, Region: arn.Region, Balancer: lb.ARN, Type: to.Type, Bucket: to.Bucket, Prefix: to.Prefix, Node: node, Minutes: to.Minutes,
		}, lines)
	}
	if err != nil {
		d.Log.Warn("entries of a load balancer's log are lost", "loadBalancer", lb.ID, "log", to.Type, "error", err)
	}
}

// events stores lines as events of the log group. A node has a stream of its
// own.
func (d *Delivery) events(arn model.ARN, lb balance.LoadBalancer, to balance.LogOutput, node netip.Addr, lines []byte) error {
	group, err := model.ParseARN(to.LogGroup)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(strings.TrimPrefix(group.Resource, "log-group:"), ":*")
	ctx, cancel := context.WithTimeout(context.Background(), appendTime)
	defer cancel()
	now := d.Clock.Now()
	stream, err := d.Streams.EnsureStream(ctx, group.Account, group.Region, name, strings.ReplaceAll(balance.ResourceID(lb.ARN), "/", ".")+"_"+to.Type+"_"+node.String(), false, now)
	if api.Code(err) != "" {
		return nil // the group was deleted
	}
	if err != nil {
		return err
	}
	b := logstore.Batch{Stream: stream, Ingestion: now.UnixMilli()}
	for line := range strings.Lines(string(lines)) {
		e := logstore.Event{Message: strings.TrimSuffix(line, "\n")}
		e.Timestamp = now.UnixMilli()
		b.Events = append(b.Events, e)
	}
	return d.Events.Append(ctx, []logstore.Batch{b}, nil)
}

// Run makes objects at the end of each period until ctx ends. What an earlier
// process left is delivered first.
func (d *Delivery) Run(ctx context.Context) error {
	d.Deliver(ctx)
	for {
		now := d.Clock.Now()
		end := now.Add(d.Period).Truncate(d.Period)
		timer := d.Clock.NewTimer(end.Sub(now))
		select {
		case <-timer.C:
			// Periods are counted from midnight, so that hours are the clock's.
			d.deliverDue(ctx, int64(end.Sub(end.Truncate(24*time.Hour))/d.Period))
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}
