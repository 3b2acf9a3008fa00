package delivery

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/objects"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/telemetry/logstore"
)

// bucket takes objects, or fails with err.
type bucket struct {
	got map[string]string
	who []objects.Principal
	err error
}

func (b *bucket) Put(_ context.Context, who objects.Principal, at objects.Location, body io.Reader, _ objects.PutOptions) (objects.Info, error) {
	if b.err != nil {
		return objects.Info{}, b.err
	}
	if strings.HasSuffix(at.Key, ".gz") {
		z, err := gzip.NewReader(body)
		if err != nil {
			return objects.Info{}, err
		}
		body = z
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return objects.Info{}, err
	}
	if b.got == nil {
		b.got = map[string]string{}
	}
	b.got[at.Bucket+"/"+at.Key] = string(text)
	b.who = append(b.who, who)
	return objects.Info{}, nil
}

var (
	lb = balance.LoadBalancer{ID: "50dc6c495c0c9188", ARN: "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/web/50dc6c495c0c9188"}
	to = balance.LogOutput{ID: "a", Type: model.LogTypeALBAccess, Bucket: "b", Prefix: "p"}
	n1 = netip.MustParseAddr("10.0.0.1")
)

func setUp(t *testing.T, b *bucket) *Delivery {
	t.Helper()
	return New(Config{Dir: t.TempDir(), Objects: b, Clock: clock.System{}})
}

func TestObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{}
		d := setUp(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		d.Append(lb, to, n1, []byte("one\n"))
		d.Append(lb, to, n1, []byte("two\nthree\n"))
		d.Append(lb, to, netip.MustParseAddr("10.0.1.1"), []byte("four\n"))
		d.Append(lb, balance.LogOutput{Type: model.LogTypeALBConnection, Bucket: "c"}, n1, []byte("five\n"))
		d.Append(lb, balance.LogOutput{Type: model.LogTypeALBChecks, Bucket: "h", Prefix: "q"}, n1, []byte("six\n"))
		time.Sleep(5 * time.Minute) // of the fake clock
		synctest.Wait()
		// The fake clock begins at midnight, at the end of an interval.
		base := `AWSLogs/123456789012/elasticloadbalancing/us-east-1/2000/01/01/`
		name := `123456789012_elasticloadbalancing_us-east-1_app\.web\.50dc6c495c0c9188_20000101T0005Z_`
		for pattern, want := range map[string]string{
			`^b/p/` + base + name + `10\.0\.0\.1_[0-9a-f]{8}\.log\.gz$`:                 "one\ntwo\nthree\n",
			`^b/p/` + base + name + `10\.0\.1\.1_[0-9a-f]{8}\.log\.gz$`:                 "four\n",
			`^c/` + base + `conn_log\.` + name + `10\.0\.0\.1_\w{8}\.log\.gz$`:          "five\n",
			`^h/q/` + base + `health_check_log_` + name + `10\.0\.0\.1_\w{8}\.log\.gz$`: "six\n",
		} {
			found := false
			for key, text := range b.got {
				found = found || regexp.MustCompile(pattern).MatchString(key) && text == want
			}
			if !found {
				t.Errorf("no object like %s with %q: %q", pattern, want, b.got)
			}
		}
		if len(b.got) != 4 {
			t.Errorf("%q", b.got)
		}
		if w := b.who[0]; w.Service != "logdelivery.elasticloadbalancing.amazonaws.com" || w.SourceARN != lb.ARN || w.SourceAccount != "123456789012" || !slices.Equal(w.Accounts, []string{"127311923021"}) {
			t.Errorf("%+v", w)
		}
		// Nothing is delivered twice, nor when there is nothing.
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if len(b.got) != 4 {
			t.Errorf("%q", b.got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(d.Dir); len(left) != 0 {
			t.Errorf("%v is left", left)
		}
	})
}

// TestIntervals holds that the objects of a classic load balancer are plain
// text, and of an hour where it says so.
func TestIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{}
		d := setUp(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		classic := balance.LoadBalancer{ID: "x", ARN: "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/web"}
		at := func(minutes int) balance.LogOutput {
			return balance.LogOutput{Type: model.LogTypeClassicAccess, Bucket: "b", Prefix: fmt.Sprint(minutes), Minutes: minutes}
		}
		var ends []string
		for _, wait := range []time.Duration{5 * time.Minute, 50 * time.Minute, 5 * time.Minute} {
			d.Append(classic, at(5), n1, []byte("short\n"))
			d.Append(classic, at(60), n1, []byte("long\n"))
			time.Sleep(wait) // of the fake clock
			synctest.Wait()
			for key, text := range b.got {
				ends = append(ends, regexp.MustCompile(`_\w{8}\.log$`).ReplaceAllString(key, "")+" "+text)
			}
			b.got = nil
		}
		slices.Sort(ends)
		const rest = "/AWSLogs/123456789012/elasticloadbalancing/us-east-1/2000/01/01/123456789012_elasticloadbalancing_us-east-1_web_20000101T0"
		if want := []string{
			"b/5" + rest + "005Z_10.0.0.1 short\n", "b/5" + rest + "010Z_10.0.0.1 short\n", "b/5" + rest + "100Z_10.0.0.1 short\n",
			"b/60" + rest + "100Z_10.0.0.1 long\nlong\nlong\n",
		}; !slices.Equal(ends, want) {
			t.Errorf("%q", ends)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestNetworkObject(t *testing.T) {
	b := &bucket{}
	d := setUp(t, b)
	d.Append(balance.LoadBalancer{ARN: "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/tls/50dc6c495c0c9188"},
		balance.LogOutput{Type: model.LogTypeNLBAccess, Bucket: "b"}, n1, []byte("one\n"))
	d.Deliver(t.Context())
	for key, text := range b.got {
		if !regexp.MustCompile(`/123456789012_elasticloadbalancing_us-east-1_net\.tls\.50dc6c495c0c9188_\d{8}T\d{4}Z_\w{8}\.log\.gz$`).MatchString(key) || text != "one\n" {
			t.Errorf("%s: %q", key, text)
		}
	}
	if len(b.who) != 1 || b.who[0].Service != "delivery.logs.amazonaws.com" || b.who[0].SourceARN != "arn:aws:logs:us-east-1:123456789012:*" {
		t.Errorf("%+v", b.who)
	}
}

// TestKilled holds that what a process left that was killed is delivered, but
// for the line that it was writing.
func TestKilled(t *testing.T) {
	b := &bucket{}
	d := setUp(t, b)
	d.Append(lb, to, n1, []byte("whole\n"))
	files, _ := filepath.Glob(filepath.Join(d.Dir, "*"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	f, err := os.OpenFile(files[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString("torn")
	_ = f.Close()
	if err := os.WriteFile(filepath.Join(d.Dir, "x.log"), []byte("{\"Acc"), 0o600); err != nil {
		t.Fatal(err)
	}
	next := New(Config{Dir: d.Dir, Objects: b, Clock: clock.System{}})
	next.Append(lb, to, n1, []byte("later\n"))
	next.Deliver(t.Context())
	var texts []string
	for _, text := range b.got {
		texts = append(texts, text)
	}
	slices.Sort(texts)
	if !slices.Equal(texts, []string{"later\n", "whole\n"}) {
		t.Errorf("%q", texts)
	}
}

// TestDeliveredTwice holds that an object which is made again, since a kill came
// before its file was removed, takes the place of the first.
func TestDeliveredTwice(t *testing.T) {
	b := &bucket{}
	d := setUp(t, b)
	d.Append(lb, to, n1, []byte("one\n"))
	b.err = errors.New("killed")
	d.Deliver(t.Context())
	waiting, _ := filepath.Glob(filepath.Join(d.Dir, "*"+ready))
	if len(waiting) != 1 {
		t.Fatal(waiting)
	}
	content, err := os.ReadFile(waiting[0])
	if err != nil {
		t.Fatal(err)
	}
	b.err = nil
	d.Deliver(t.Context())
	if err := os.WriteFile(waiting[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	New(Config{Dir: d.Dir, Objects: b, Clock: clock.System{}}).Deliver(t.Context())
	if len(b.got) != 1 || len(b.who) != 2 {
		t.Errorf("%d objects of %d: %q", len(b.got), len(b.who), b.got)
	}
}

// TestBusyPeriod holds that a period of many entries becomes several objects.
func TestBusyPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{}
		d := New(Config{Dir: t.TempDir(), Objects: b, Clock: clock.System{}, MaxSpool: 1000})
		time.Sleep(time.Minute) // of the fake clock
		line := strings.Repeat("x", 99) + "\n"
		for range 30 {
			d.Append(lb, to, n1, []byte(line))
		}
		d.Deliver(t.Context())
		total := 0
		for key, text := range b.got {
			total += len(text)
			if len(text) > 1000 {
				t.Errorf("%s has %d bytes", key, len(text))
			}
			if len(text) > 900 && !strings.Contains(key, "T0005Z_") {
				t.Errorf("%s is not of the period's end", key)
			}
		}
		if len(b.got) < 3 || total != 3000 {
			t.Errorf("%d objects with %d bytes", len(b.got), total)
		}
	})
}

// full is a file on a disk that takes no more than room.
type full struct {
	file
	room *int
}

func (f full) Write(b []byte) (int, error) {
	n := min(len(b), *f.room)
	*f.room -= n
	written, err := f.file.Write(b[:n])
	if err == nil && n < len(b) {
		err = errors.New("no space left on device")
	}
	return written, err
}

// TestFullDisk holds that what was written stays readable, and that what comes
// once there is room again is delivered, wherever the disk got full.
func TestFullDisk(t *testing.T) {
	for start := 0; start < 600; start += 5 {
		room := start
		b := &bucket{}
		d := setUp(t, b)
		d.create = func(path string) (file, error) {
			f, err := create(path)
			return full{f, &room}, err
		}
		d.Append(lb, to, n1, []byte("first\n"))
		d.Append(lb, to, n1, []byte("second\n"))
		room = 1 << 20
		d.Append(lb, to, n1, []byte("third\n"))
		d.Deliver(t.Context())
		if len(b.got) != 1 {
			t.Fatalf("%q", b.got)
		}
		for _, got := range b.got {
			if !slices.Contains([]string{"first\nsecond\nthird\n", "first\nthird\n", "third\n"}, got) {
				t.Errorf("%q", got)
			}
		}
	}
}

func TestBucketThatRefuses(t *testing.T) {
	b := &bucket{err: errors.New("disk full")}
	d := setUp(t, b)
	d.Append(lb, to, n1, []byte("one\n"))
	d.Deliver(t.Context())
	b.err = nil
	d.Deliver(t.Context())
	if len(b.got) != 1 {
		t.Errorf("a failure that passes loses entries: %q", b.got)
	}
	for _, err := range []error{objects.ErrDenied, objects.ErrNoBucket} {
		b.err = err
		d.Append(lb, to, n1, []byte("two\n"))
		d.Deliver(t.Context())
		b.err = nil
		d.Deliver(t.Context())
	}
	if len(b.got) != 1 {
		t.Errorf("what the bucket refused is kept: %q", b.got)
	}
}

type streams struct{ group, stream string }

func (s *streams) EnsureStream(_ context.Context, account, region, group, stream string, _ bool, _ time.Time) (logstore.Stream, error) {
	s.group, s.stream = account+" "+region+" "+group, stream
	return logstore.Stream{Group: "g", ID: "s"}, nil
}

func TestLogGroup(t *testing.T) {
	events, err := logstore.Open(filepath.Join(t.TempDir(), "e.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	st := &streams{}
	d := New(Config{Dir: t.TempDir(), Streams: st, Events: events, Clock: clock.System{}})
	d.Append(lb, balance.LogOutput{Type: model.LogTypeALBAccess, LogGroup: "arn:aws:logs:us-east-1:123456789012:log-group:/elb/web:*"}, n1, []byte("one\ntwo\n"))
	got, err := events.Read(logstore.Stream{Group: "g", ID: "s"}, logstore.Range{}, false, 10, 1<<20)
	if err != nil || len(got) != 2 || got[0].Message != "one" || got[1].Message != "two" {
		t.Errorf("%+v %v", got, err)
	}
	if st.group != "123456789012 us-east-1 /elb/web" || st.stream != "app.web.50dc6c495c0c9188_ALB_ACCESS_LOGS_10.0.0.1" {
		t.Errorf("%+v", st)
	}
}

func FuzzDeliver(f *testing.F) {
	f.Add([]byte("{}\nx\n"))
	f.Add([]byte("{\"Node\":\"1.2.3.4\"}\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, content []byte) {
		b := &bucket{}
		d := setUp(t, b)
		if err := os.WriteFile(filepath.Join(d.Dir, "x"+open), content, 0o600); err != nil {
			t.Fatal(err)
		}
		d.Deliver(t.Context())
		for _, text := range b.got {
			if !bytes.HasSuffix([]byte(text), []byte("\n")) {
				t.Errorf("%q", text)
			}
		}
		if left, _ := os.ReadDir(d.Dir); len(left) != 0 {
			t.Errorf("%v is left", left)
		}
	})
}
