package throttle

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// hands is a clock that its test moves.
type hands struct{ now time.Time }

func (h *hands) Now() time.Time                       { return h.now }
func (h *hands) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

func start() *hands { return &hands{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

const account = "000000000000"

// The example of ECS's own page: 50 at once, then 20 a second, and the two
// reading operations share them.
func TestAsECSDescribesIt(t *testing.T) {
	c := start()
	l := New(AWS, c)
	ask := func(op string, n int) (allowed int) {
		for range n {
			if l.Allow(account, "us-east-1", "ecs", op) {
				allowed++
			}
		}
		return allowed
	}
	if got := ask("DescribeClusters", 60); got != 50 {
		t.Errorf("%d of 60 at once, want 50", got)
	}
	if got := ask("ListClusters", 1); got != 0 {
		t.Error("ListClusters has a bucket of its own")
	}
	c.now = c.now.Add(time.Second)
	if got := ask("ListClusters", 50); got != 20 {
		t.Errorf("%d after a second, want 20", got)
	}
	if got := ask("DescribeServices", 1); got != 1 {
		t.Error("DescribeServices shares a bucket with clusters")
	}
	for _, other := range [][2]string{{account, "eu-west-1"}, {"111122223333", "us-east-1"}} {
		if !l.Allow(other[0], other[1], "ecs", "DescribeClusters") {
			t.Errorf("%v pays for another", other)
		}
	}
}

func TestEC2LimitsEachOperation(t *testing.T) {
	l := New(AWS, start())
	for _, tt := range []struct {
		op    string
		burst int
	}{{"DescribeVpcs", 100}, {"DescribeSubnets", 100}, {"CreateVpc", 50}, {"CreateSubnet", 50}, {"RunInstances", 5}, {"CreateTags", 100}, {"CreateNatGateway", 10}} {
		n := 0
		for l.Allow(account, "us-east-1", "ec2", tt.op) {
			n++
		}
		if n != tt.burst {
			t.Errorf("%s: %d at once, want %d", tt.op, n, tt.burst)
		}
	}
}

// Within any time, no more requests pass than the burst and what was filled;
// and one that is below the rate always passes.
func TestNeverMoreThanTheBucketHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := Rate{Burst: float64(rapid.IntRange(1, 50).Draw(t, "burst")), PerSecond: rapid.Float64Range(0.1, 100).Draw(t, "rate")}
		c := start()
		l := New(Each(rate), c)
		passed, allowed := 0.0, 0.0
		for range rapid.IntRange(1, 300).Draw(t, "requests") {
			// Clocks go back, too: that gives nothing.
			step := time.Duration(rapid.IntRange(-50, 300).Draw(t, "ms")) * time.Millisecond
			c.now = c.now.Add(step)
			passed += max(0, step.Seconds())
			if l.Allow(account, "r", "s", "o") {
				allowed++
			}
			if most := rate.Burst + passed*rate.PerSecond + 1e-6; allowed > most {
				t.Fatalf("%v passed in %v s, at most %v may", allowed, passed, most)
			}
		}
		c.now = c.now.Add(time.Duration(1.01 / rate.PerSecond * float64(time.Second)))
		if !l.Allow(account, "r", "s", "o") {
			t.Fatal("refused although a token has come")
		}
	})
}

// Regions can be made up without end; the table cannot grow so.
func TestMemoryIsBounded(t *testing.T) {
	c := start()
	l := New(Each{Burst: 2, PerSecond: 0.001}, c)
	for i := range maxBuckets + 5000 {
		l.Allow(account, fmt.Sprintf("xx-made-%d", i), "ecs", "ListClusters")
	}
	if n := len(l.buckets); n > maxBuckets+1 {
		t.Errorf("%d buckets", n)
	}
	if l.Allow(account, "xx-another-1", "ecs", "ListClusters") {
		t.Error("a made-up region gives tokens although the table is full")
	}
	if !l.Allow("111122223333", "us-east-1", "ecs", "ListClusters") {
		t.Error("another account pays for it")
	}
	c.now = c.now.Add(time.Hour)
	l.Allow(account, "us-east-1", "ecs", "ListClusters")
	if n := len(l.buckets); n > 1 {
		t.Errorf("%d buckets are left of an hour ago", n)
	}
}

func TestParse(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "limits")
	if err := os.WriteFile(file, []byte("# mine\necs:RunTask 1/2\n\necs:Describe* 5 reads\n*:* 100/100\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]map[string]string{
		"":       {"ecs:RunTask": "RunTask 100000 50000"},
		"off":    {"ecs:RunTask": ""},
		"aws":    {"ecs:RunTask": "cluster resource modify 100 40", "iam:GetRole": "GetRole 100 20", "nothing:X": ""},
		"20":     {"ecs:RunTask": "RunTask 20 20"},
		"0.5":    {"ecs:RunTask": "RunTask 1 0.5"},
		"20/100": {"ecs:RunTask": "RunTask 100 20"},
		file:     {"ecs:RunTask": "RunTask 2 1", "ecs:DescribeTasks": "reads 5 5", "ecs:DescribeServices": "reads 5 5", "sts:X": "X 100 100"},
	} {
		l, err := Parse(setting)
		if err != nil {
			t.Errorf("%q: %v", setting, err)
			continue
		}
		for action, want := range want {
			service, op, _ := strings.Cut(action, ":")
			got := ""
			if l != nil {
				if bucket, r, ok := l.For(service, op); ok {
					got = fmt.Sprintf("%s %v %v", bucket, r.Burst, r.PerSecond)
				}
			}
			if got != want {
				t.Errorf("%q: %s has %q, want %q", setting, action, got, want)
			}
		}
	}
	for _, bad := range []string{"/nowhere", "0", "-1", "5/0", "NaN", "Inf", "1/2/3", "1e99"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestOffAllowsEverything(t *testing.T) {
	var none *Limiter
	for _, l := range []*Limiter{none, New(nil, start())} {
		if !l.Allow(account, "r", "ecs", "RunTask") {
			t.Error("refused")
		}
	}
}

func FuzzReadRules(f *testing.F) {
	for _, s := range []string{"ecs:RunTask 1/2", "a:b 1 c\n#x", "[:] 1", ":x 1", "a:b NaN", "a:[ 1/1", "a:b 1 c d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rules, err := ReadRules(strings.NewReader(s))
		if err != nil {
			return
		}
		for _, r := range rules {
			if !(r.Burst >= 1 && r.PerSecond > 0) {
				t.Errorf("%q gives %+v", s, r)
			}
		}
		l := New(rules, start())
		l.Allow(account, "us-east-1", "ecs", "RunTask")
	})
}

func BenchmarkAllow(b *testing.B) {
	l := New(AWS, start())
	for b.Loop() {
		l.Allow(account, "us-east-1", "ec2", "CreateVpc")
	}
}
