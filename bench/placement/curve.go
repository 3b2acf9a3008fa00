package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"roadstead.dev/bench/internal/report"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/placement"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/bolt"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	cluster = "bench"
	// groups are the kinds of tasks that take turns, and the tasks on an
	// instance that are there before.
	groups, before = 16, 10
)

// chain is a way to place.
type chain struct {
	name        string
	strategy    []model.ECSPlacementStrategy
	constraints []model.ECSPlacementConstraint
}

var chains = []chain{
	{name: "spread by zone, then instance", strategy: placement.ServiceDefault},
	{name: "binpack memory", strategy: []model.ECSPlacementStrategy{{Type: "binpack", Field: "memory"}}},
	{name: "memberOf and distinctInstance", constraints: []model.ECSPlacementConstraint{
		{Type: "memberOf", Expression: "attribute:stack == blue and attribute:ecs.instance-type =~ m5.*"}, {Type: "distinctInstance"},
	}},
	{name: "random", strategy: []model.ECSPlacementStrategy{{Type: "random"}}},
}

// ways to measure.
const (
	chosen = iota
	inMemory
	onDisk
	tenOnDisk
	ways
)

// world is a store with a cluster in it, and the book of what runs there.
type world struct {
	store store.Store
	book  *fleet.Book
	n     int
	def   *model.TaskDefinition
	clus  *model.Cluster
	end   func() error
}

// open fills a store with a cluster and follows it with a book. A store on
// disk is opened anew in between, by reopen, so that nothing of the filling is
// left to be done.
func open(ctx context.Context, s store.Store, n int, reopen func() (store.Store, error)) (*world, error) {
	w := &world{
		store: s, n: n, book: fleet.New(s, rand.IntN),
		clus: &model.Cluster{ClusterName: cluster, ClusterARN: model.ECSClusterARN("us-east-1", account, cluster), Status: model.ECSActive},
		def: &model.TaskDefinition{
			TaskDefinitionARN: model.ECSTaskDefinitionARN("us-east-1", account, "job", 1), Family: "job", Revision: 1, Status: model.ECSActive, NetworkMode: "bridge",
			ContainerDefinitions: []model.ContainerDefinition{{Name: "main", Image: "job:1", CPU: 64, Memory: new(128)}},
		},
	}
	if err := w.fill(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if reopen != nil {
		err := s.Close()
		if err == nil {
			s, err = reopen()
		}
		if err != nil {
			return nil, err
		}
		w.store, w.book = s, fleet.New(s, rand.IntN)
	}
	following, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.book.Run(following) }()
	w.end = func() error {
		cancel()
		return errors.Join(<-ended, s.Close())
	}
	return w, w.book.Ready(ctx)
}

func (w *world) fill(ctx context.Context) error {
	for from := 0; from < w.n; from += 250 {
		tx := store.NewTxn()
		for i := from; i < min(from+250, w.n); i++ {
			v := &model.ContainerInstance{
				ID: fmt.Sprintf("%032x", i), ClusterName: cluster, Status: model.ContainerInstanceActive, CPU: 16384, Memory: 65536 - i%97*64, ENIs: 7,
				Connection: model.AgentConnection{Connected: true}, RegisteredAt: time.Now(), ReservedPorts: []int{22, 51678},
				Attributes: map[string]string{
					model.AttributeZone: "us-east-1" + string(rune('a'+i%3)), "ecs.instance-type": "m5.4xlarge", "stack": []string{"blue", "green"}[i%2],
				},
			}
			v.ARN = model.ECSContainerInstanceARN("us-east-1", account, cluster, v.ID)
			tables.ECSContainerInstances.Create(tx, account, "us-east-1", cluster+"/"+v.ID, v)
			for b := range before {
				t := w.task(fmt.Sprintf("family:before-%d", b))
				t.PlaceOn(v, nil, id.UUID)
				tables.ECSTasks.Create(tx, account, "us-east-1", cluster+"/"+t.TaskID, t)
			}
		}
		if _, err := tx.Commit(ctx, w.store); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) task(group string) *model.Task {
	return model.NewTask(model.NewTaskParams{
		Account: account, Region: "us-east-1", Cluster: w.clus, Definition: w.def, TaskID: id.Hex(32), NewID: id.UUID, Now: time.Now(),
		LaunchType: model.LaunchTypeEC2, Group: group,
	})
}

// line places one kind of task again and again, and takes the oldest away once
// so many are there as there are to be.
type line struct {
	w       *world
	request *placement.Request
	group   string
	most    int
	batch   int
	there   []*fleet.Choice
	rows    []store.Row[model.Task]
	// revision is that of the line's last commit.
	revision uint64
}

func (w *world) line(c chain, i, batch int) (*line, error) {
	l := &line{w: w, group: fmt.Sprintf("family:job-%d", i), most: max(batch, w.n/4), batch: batch}
	t := w.task(l.group)
	t.Spec.PlacementConstraints, t.Spec.PlacementStrategy = c.constraints, c.strategy
	var err error
	l.request, err = fleet.Compile(t, w.def, nil, fleet.Subnets{})
	return l, err
}

func (l *line) tasks() []*model.Task {
	out := make([]*model.Task, l.batch)
	for i := range out {
		out[i] = l.w.task(l.group)
	}
	return out
}

// choose places without a commit.
func (l *line) choose(context.Context) (int, error) {
	if len(l.there) >= l.most {
		l.there[0].Drop()
		l.there = l.there[1:]
	}
	ch := l.w.book.Choose(account, "us-east-1", cluster, l.request, l.tasks())
	l.there = append(l.there, ch)
	if len(ch.Placed) != l.batch {
		return 0, fmt.Errorf("%s: %v", l.group, ch.Refused[:min(len(ch.Refused), 3)])
	}
	return l.batch, nil
}

// commit places tasks, and in the same transaction takes as many away.
func (l *line) commit(ctx context.Context) (int, error) {
	for waited := false; ; {
		ch := l.w.book.Choose(account, "us-east-1", cluster, l.request, l.tasks())
		if len(ch.Placed) != l.batch {
			ch.Drop()
			if waited {
				return 0, fmt.Errorf("%s: %v", l.group, ch.Refused[:min(len(ch.Refused), 3)])
			}
			// The book has not heard of all that left.
			if err := l.w.book.Reach(ctx, l.revision); err != nil {
				return 0, err
			}
			waited = true
			continue
		}
		ch.Settle(fleet.Subnets{}, id.UUID)
		tx := store.NewTxn()
		for _, p := range ch.Placed {
			tables.ECSTasks.Create(tx, account, "us-east-1", cluster+"/"+p.Task.TaskID, p.Task)
		}
		old := min(max(len(l.rows)+l.batch-l.most, 0), len(l.rows))
		for _, r := range l.rows[:old] {
			tables.ECSTasks.Erase(tx, account, "us-east-1", r.Key.ID)
		}
		revision, err := ch.Commit(ctx, tx)
		if errors.Is(err, fleet.ErrStale) {
			continue
		}
		if err != nil {
			return 0, err
		}
		l.rows, l.revision = l.rows[old:], revision
		for _, p := range ch.Placed {
			l.rows = append(l.rows, store.Row[model.Task]{Key: tables.ECSTasks.Key(account, "us-east-1", cluster+"/"+p.Task.TaskID)})
		}
		return l.batch, nil
	}
}

// measure tells how many tasks a second are placed one way. On disk, where one
// who waits lets others work, all lines do so at once, and the time is the
// clock's; else they take turns, and it is the processor's.
func (w *world) measure(ctx context.Context, c chain, way int, span time.Duration) (rate float64, err error) {
	batch := 1
	if way == tenOnDisk {
		batch = 10
	}
	var lines []*line
	for i := range groups {
		l, err := w.line(c, i, batch)
		if err != nil {
			return 0, err
		}
		lines = append(lines, l)
		defer func() { err = errors.Join(err, l.clear(ctx)) }()
	}
	if way == onDisk || way == tenOnDisk {
		for range 2 { // the second task of a kind makes the book order the instances
			for _, l := range lines {
				if _, err := l.commit(ctx); err != nil {
					return 0, err
				}
			}
		}
		return atOnce(ctx, lines, span)
	}
	step := (*line).choose
	if way == inMemory {
		step = (*line).commit
	}
	round := func() (int, error) {
		sum := 0
		for _, l := range lines {
			k, err := step(l, ctx)
			if err != nil {
				return 0, err
			}
			sum += k
		}
		return sum, nil
	}
	// Fill the lines first.
	for range w.n/4 + 2 {
		if _, err := round(); err != nil {
			return 0, err
		}
	}
	runtime.GC()
	total := 0
	began, used := time.Now(), processor()
	for time.Since(began) < span || total < 2000 {
		k, err := round()
		if err != nil {
			return 0, err
		}
		total += k
	}
	// What the book has still to hear of is a part of the cost.
	for _, l := range lines {
		if err := w.book.Reach(ctx, l.revision); err != nil {
			return 0, err
		}
	}
	return float64(total) / (processor() - used).Seconds(), nil
}

func atOnce(ctx context.Context, lines []*line, span time.Duration) (float64, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	total := 0
	var failed error
	begin := time.Now()
	for _, l := range lines {
		wg.Go(func() {
			sum := 0
			var err error
			for err == nil && time.Since(begin) < span {
				var k int
				k, err = l.commit(ctx)
				sum += k
			}
			mu.Lock()
			defer mu.Unlock()
			total += sum
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	return float64(total) / time.Since(begin).Seconds(), failed
}

// clear takes away what the line has placed.
func (l *line) clear(ctx context.Context) error {
	for _, ch := range l.there {
		ch.Drop()
	}
	for some := range slices.Chunk(l.rows, 200) {
		tx := store.NewTxn()
		for _, r := range some {
			tables.ECSTasks.Erase(tx, account, "us-east-1", r.Key.ID)
		}
		revision, err := tx.Commit(ctx, l.w.store)
		if err == nil {
			err = l.w.book.Reach(ctx, revision)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// processor is the processor time that this process has used.
func processor() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// curves measures all chains in all ways on clusters of all sizes, on one core.
func curves(ctx context.Context, dir string, span time.Duration) (string, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	names := []string{"the choice", "committed, in memory", "committed, on disk, 16 at once", "ten a commit, on disk, 16 at once"}
	results := make([][ways][]float64, len(chains)) // placements a second
	for _, n := range sizes {
		for _, disk := range []bool{false, true} {
			if err := onSize(ctx, filepath.Join(dir, "store"), n, disk, span, results); err != nil {
				return "", fmt.Errorf("%d instances: %w", n, err)
			}
		}
		for i, c := range chains {
			fmt.Printf("%5d instances, %-30s", n, c.name)
			for way := range ways {
				fmt.Printf(" %9s", perSecond(results[i][way][len(results[i][way])-1]))
			}
			fmt.Println()
		}
	}
	header := []string{"placements a second"}
	for _, n := range sizes {
		header = append(header, fmt.Sprint(n))
	}
	var text strings.Builder
	var growth [][]string
	for i, c := range chains {
		var rows [][]string
		grown := []string{c.name}
		for way := range ways {
			row := []string{names[way]}
			costs := make([]float64, len(sizes))
			for k, rate := range results[i][way] {
				row = append(row, perSecond(rate))
				if rate > 0 {
					costs[k] = 1 / rate
				}
			}
			rows = append(rows, row)
			grown = append(grown, fmt.Sprintf("%.2f×, n^%.2f", costs[len(costs)-1]/first(costs), exponent(sizes, costs)))
		}
		growth = append(growth, grown)
		fmt.Fprintf(&text, "### %s\n\n%s\n", capital(c.name), report.Table(header, rows...))
	}
	small, large := float64(sizes[0]), float64(sizes[len(sizes)-1])
	return fmt.Sprintf("Tasks placed on clusters of 10 to 5,000 container instances in three zones, with %d tasks on each before, by one core (GOMAXPROCS=1). Sixteen kinds of tasks take turns, so that the book keeps sixteen orders of the instances; once a kind has a task for every fourth instance, its oldest leaves for each new one, in the same commit. The choice counts the room in and out; a commit writes the task's record (1.2 KB, ten index entries) and the instance's claim. In memory, the rate is by the processor's time; on disk, where each commit is synced, by the clock.\n\n", before) +
		text.String() +
		fmt.Sprintf("### Growth\n\nWhat a placement costs with 5,000 instances, as a multiple of what it costs with 10 (the logarithm grows %.1f×), and the power of the number of instances that fits the curve best.\n\n", math.Log(large)/math.Log(small)) +
		report.Table(append([]string{""}, names...), growth...) + "\n", nil
}

// onSize measures all chains on one size of cluster, and adds to the results.
func onSize(ctx context.Context, dir string, n int, disk bool, span time.Duration, results [][ways][]float64) (err error) {
	s, how := memory.New(), []int{chosen, inMemory}
	var reopen func() (store.Store, error)
	if disk {
		how = []int{onDisk, tenOnDisk}
		reopen = func() (store.Store, error) { return bolt.Open(filepath.Join(dir, "db"), bolt.Options{}) }
		if s, err = reopen(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	w, err := open(ctx, s, n, reopen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.end()) }()
	for i, c := range chains {
		for _, way := range how {
			rate := 0.0
			// Ten on instances of their own need as many.
			if way != tenOnDisk || len(c.constraints) == 0 || n >= 100 {
				if rate, err = w.measure(ctx, c, way, span); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
			results[i][way] = append(results[i][way], rate)
		}
	}
	return nil
}

func first(costs []float64) float64 {
	for _, c := range costs {
		if c > 0 {
			return c
		}
	}
	return 0
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// startUp measures how long a book takes to read 5,000 instances and 100,000
// tasks from a store on disk that was just opened.
func startUp(ctx context.Context, dir string) (_ string, err error) {
	path := filepath.Join(dir, "db")
	s, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return "", err
	}
	w, err := open(ctx, s, 5000, nil)
	if err != nil {
		return "", err
	}
	for range before { // as many again
		tx := store.NewTxn()
		flush := func() error {
			_, err := tx.Commit(ctx, s)
			tx = store.NewTxn()
			return err
		}
		for i := range w.n {
			t := w.task("family:more")
			t.Status.Node, t.Status.LastStatus = fmt.Sprintf("%032x", i), model.TaskRunning
			tables.ECSTasks.Create(tx, account, "us-east-1", cluster+"/"+t.TaskID, t)
			if i%1000 == 999 {
				if err := flush(); err != nil {
					return "", err
				}
			}
		}
	}
	if err := w.end(); err != nil {
		return "", err
	}
	if s, err = bolt.Open(path, bolt.Options{}); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	began, used := time.Now(), processor()
	book := fleet.New(s, rand.IntN)
	following, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- book.Run(following) }()
	err = book.Ready(ctx)
	took, cpu := time.Since(began), processor()-used
	cancel()
	return fmt.Sprintf("A book that begins with 5,000 instances and 100,000 tasks in a store on disk that was just opened is ready after %s (%s of the processor's time).\n\n", report.Milliseconds(took), report.Milliseconds(cpu)), errors.Join(err, <-ended)
}
