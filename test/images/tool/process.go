package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func exit(ctx context.Context, args []string) error {
	var after time.Duration
	rest, err := flags("exit", args, func(f *flag.FlagSet) { f.DurationVar(&after, "after", 0, "") })
	if err != nil {
		return err
	}
	code := 0
	if len(rest) > 0 {
		if code, err = strconv.Atoi(rest[0]); err != nil {
			return err
		}
	}
	wait(ctx, after)
	return exitCode(code)
}

func crash(ctx context.Context, args []string) error {
	var after time.Duration
	if _, err := flags("crash", args, func(f *flag.FlagSet) { f.DurationVar(&after, "after", 0, "") }); err != nil {
		return err
	}
	wait(ctx, after)
	fmt.Println("crashing")
	// A signal that the first process of a namespace sends to itself is
	// ignored, so the code of one is given instead.
	return exitCode(128 + int(syscall.SIGSEGV))
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// eaten keeps memory in use.
var eaten struct {
	sync.Mutex
	chunks [][]byte
}

// eatMiB touches n MiB and keeps them.
func eatMiB(n int) {
	b := make([]byte, n<<20)
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = byte(i) // a page that is not written takes no memory
	}
	eaten.Lock()
	defer eaten.Unlock()
	eaten.chunks = append(eaten.chunks, b)
}

func eat(ctx context.Context, args []string) error {
	var mb, step int
	var hold time.Duration
	if _, err := flags("eat", args, func(f *flag.FlagSet) {
		f.IntVar(&mb, "mb", 1<<20, "")
		f.IntVar(&step, "step", 16, "")
		f.DurationVar(&hold, "hold", time.Hour, "")
	}); err != nil {
		return err
	}
	for got := 0; got < mb; got += step {
		eatMiB(min(step, mb-got))
		fmt.Printf("holding %d MiB\n", min(got+step, mb))
	}
	wait(ctx, hold)
	runtime.KeepAlive(eaten.chunks)
	return nil
}

func spin(_ context.Context, args []string) error {
	var d time.Duration
	var threads int
	if _, err := flags("spin", args, func(f *flag.FlagSet) {
		f.DurationVar(&d, "for", time.Second, "")
		f.IntVar(&threads, "threads", 1, "")
	}); err != nil {
		return err
	}
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			for x := uint64(1); time.Now().Before(end); x++ {
				_ = x * x
			}
		})
	}
	wg.Wait()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	used := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	fmt.Printf("cpu %s of %s: %.2f\n", used.Round(time.Millisecond), d, float64(used)/float64(d))
	return nil
}

func env(_ context.Context, names []string) error {
	if len(names) == 0 {
		for _, e := range os.Environ() {
			fmt.Println(e)
		}
		return nil
	}
	for _, n := range names {
		v, ok := os.LookupEnv(n)
		if !ok {
			return fmt.Errorf("%s is not set", n)
		}
		fmt.Println(v)
	}
	return nil
}

// identityInfo is what id prints.
type identityInfo struct {
	UID, GID   int
	Groups     []int
	Dir        string
	Args       []string
	Hostname   string
	PID        int
	Status     map[string]string // of /proc/self/status: Cap*, Seccomp, NoNewPrivs
	Cgroup     string
	MemoryMax  string
	CPUMax     string
	OpenFiles  string
	Addresses  []string
	Resolvers  []string
	ReadOnlyFS bool
}

func identity(context.Context, []string) error {
	info := identityInfo{UID: os.Getuid(), GID: os.Getgid(), Args: os.Args, PID: os.Getpid(), Status: map[string]string{}}
	// What cannot be read stays empty: the test sees that.
	info.Groups, _ = os.Getgroups()
	info.Dir, _ = os.Getwd()
	info.Hostname, _ = os.Hostname()
	for line := range strings.SplitSeq(read("/proc/self/status"), "\n") {
		name, value, _ := strings.Cut(line, ":")
		if strings.HasPrefix(name, "Cap") || name == "Seccomp" || name == "NoNewPrivs" {
			info.Status[name] = strings.TrimSpace(value)
		}
	}
	info.Cgroup = read("/proc/self/cgroup")
	info.MemoryMax = first(read("/sys/fs/cgroup/memory.max"), read("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
	info.CPUMax = first(read("/sys/fs/cgroup/cpu.max"), read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil {
		info.OpenFiles = fmt.Sprintf("%d:%d", l.Cur, l.Max)
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		info.Addresses = append(info.Addresses, a.String())
	}
	for line := range strings.SplitSeq(read("/etc/resolv.conf"), "\n") {
		if ns, ok := strings.CutPrefix(line, "nameserver "); ok {
			info.Resolvers = append(info.Resolvers, strings.TrimSpace(ns))
		}
	}
	var st syscall.Statfs_t
	if syscall.Statfs("/", &st) == nil {
		info.ReadOnlyFS = st.Flags&1 != 0 // ST_RDONLY
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(info)
}

func read(path string) string {
	b, _ := os.ReadFile(path)
	return string(bytes.TrimSpace(b))
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func write(_ context.Context, args []string) error {
	path, err := one("write", args)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte("written\n"), 0o600); err != nil {
		return err
	}
	fmt.Println("written", path)
	return nil
}

func stubborn(context.Context, []string) error {
	ch := make(chan os.Signal, 8)
	signal.Notify(ch, syscall.SIGTERM, os.Interrupt)
	fmt.Println("ignoring SIGTERM")
	for s := range ch {
		fmt.Println("ignored", s)
	}
	return nil
}

func graceful(ctx context.Context, args []string) error {
	var delay time.Duration
	var code int
	if _, err := flags("graceful", args, func(f *flag.FlagSet) {
		f.DurationVar(&delay, "delay", 0, "")
		f.IntVar(&code, "code", 0, "")
	}); err != nil {
		return err
	}
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGTERM, os.Interrupt)
	fmt.Println("waiting for SIGTERM")
	fmt.Println("got", <-ch)
	wait(ctx, delay)
	fmt.Println("done")
	return exitCode(code)
}

func sleep(ctx context.Context, args []string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	if len(args) == 0 {
		<-ctx.Done()
		return nil
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	wait(ctx, d)
	return nil
}

func logLines(ctx context.Context, args []string) error {
	var n, size int
	var every time.Duration
	var stderr bool
	if _, err := flags("log", args, func(f *flag.FlagSet) {
		f.IntVar(&n, "n", 0, "")
		f.IntVar(&size, "size", 0, "")
		f.DurationVar(&every, "every", 100*time.Millisecond, "")
		f.BoolVar(&stderr, "stderr", false, "")
	}); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	out := os.Stdout
	if stderr {
		out = os.Stderr
	}
	for i := 1; (n == 0 || i <= n) && ctx.Err() == nil; i++ {
		line := fmt.Sprintf("line %d", i)
		if pad := size - len(line) - 1; pad > 0 {
			line += " " + strings.Repeat("x", pad)
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
		wait(ctx, every)
	}
	return nil
}
