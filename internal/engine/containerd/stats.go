package containerd

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"roadstead.dev/internal/engine"
)

// Stats reads the container's cgroup and its network namespace's counters.
func (e *Engine) Stats(ctx context.Context, id string) (engine.Stats, error) {
	ctx = e.context(ctx)
	c, err := e.load(ctx, id)
	if err != nil {
		return engine.Stats{}, err
	}
	t, err := c.Task(ctx, nil)
	if errdefs.IsNotFound(err) {
		return engine.Stats{}, fmt.Errorf("container %s: %w", id, engine.ErrNotRunning)
	}
	if err != nil {
		return engine.Stats{}, fmt.Errorf("find the task of container %s: %w", id, err)
	}
	m, err := t.Metrics(ctx)
	if err != nil {
		return engine.Stats{}, fmt.Errorf("read the metrics of container %s: %w: %w", id, engine.ErrNotRunning, err)
	}
	data, err := typeurl.UnmarshalAny(m.Data)
	if err != nil {
		return engine.Stats{}, fmt.Errorf("decode the metrics of container %s: %w", id, err)
	}
	s := engine.Stats{Read: time.Now().UTC(), CPUSystem: machineCPU(), OnlineCPUs: uint32(runtime.NumCPU()), Networks: networks(int(t.Pid()))}
	switch m := data.(type) {
	case *v1.Metrics:
		fillV1(&s, m)
	case *v2.Metrics:
		fillV2(&s, m)
	default:
		return engine.Stats{}, fmt.Errorf("decode the metrics of container %s: unknown type %T", id, data)
	}
	return s, nil
}

func fillV1(s *engine.Stats, m *v1.Metrics) {
	s.CPUTotal = m.GetCPU().GetUsage().GetTotal()
	s.CPUUser = m.GetCPU().GetUsage().GetUser()
	t := m.GetCPU().GetThrottling()
	s.CPUPeriods, s.CPUThrottledPeriods, s.CPUThrottledTime = t.GetPeriods(), t.GetThrottledPeriods(), t.GetThrottledTime()
	mem := m.GetMemory()
	s.MemoryUsage, s.MemoryMax, s.MemoryLimit = mem.GetUsage().GetUsage(), mem.GetUsage().GetMax(), mem.GetUsage().GetLimit()
	s.MemoryCache, s.MemoryRSS, s.InactiveFile = mem.GetTotalCache(), mem.GetTotalRSS(), mem.GetTotalInactiveFile()
	s.PageFaults, s.MajorPageFaults = mem.GetTotalPgFault(), mem.GetTotalPgMajFault()
	s.PIDs = m.GetPids().GetCurrent()
	devices := map[[2]uint64]*engine.BlockIO{}
	var order [][2]uint64
	device := func(major, minor uint64) *engine.BlockIO {
		k := [2]uint64{major, minor}
		if devices[k] == nil {
			devices[k] = &engine.BlockIO{Major: major, Minor: minor}
			order = append(order, k)
		}
		return devices[k]
	}
	for _, x := range m.GetBlkio().GetIoServiceBytesRecursive() {
		switch d := device(x.Major, x.Minor); x.Op {
		case "Read":
			d.ReadBytes = x.Value
		case "Write":
			d.WriteBytes = x.Value
		}
	}
	for _, x := range m.GetBlkio().GetIoServicedRecursive() {
		switch d := device(x.Major, x.Minor); x.Op {
		case "Read":
			d.ReadOps = x.Value
		case "Write":
			d.WriteOps = x.Value
		}
	}
	for _, k := range order {
		s.BlockIO = append(s.BlockIO, *devices[k])
	}
}

func fillV2(s *engine.Stats, m *v2.Metrics) {
	c := m.GetCPU()
	s.CPUTotal, s.CPUUser = c.GetUsageUsec()*1000, c.GetUserUsec()*1000
	s.CPUPeriods, s.CPUThrottledPeriods, s.CPUThrottledTime = c.GetNrPeriods(), c.GetNrThrottled(), c.GetThrottledUsec()*1000
	mem := m.GetMemory()
	s.MemoryUsage, s.MemoryMax, s.MemoryLimit = mem.GetUsage(), mem.GetMaxUsage(), mem.GetUsageLimit()
	s.MemoryCache, s.MemoryRSS, s.InactiveFile = mem.GetFile(), mem.GetAnon(), mem.GetInactiveFile()
	s.PageFaults, s.MajorPageFaults = mem.GetPgfault(), mem.GetPgmajfault()
	s.PIDs = m.GetPids().GetCurrent()
	for _, x := range m.GetIo().GetUsage() {
		s.BlockIO = append(s.BlockIO, engine.BlockIO{
			Major: x.Major, Minor: x.Minor, ReadBytes: x.Rbytes, WriteBytes: x.Wbytes, ReadOps: x.Rios, WriteOps: x.Wios,
		})
	}
}

// machineCPU is the CPU time of the whole machine in nanoseconds.
func machineCPU() uint64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var ticks uint64
	for i, f := range strings.Fields(line) {
		// Name, then user to steal; guest time is in user's already.
		if i == 0 || i > 8 {
			continue
		}
		n, _ := strconv.ParseUint(f, 10, 64)
		ticks += n
	}
	return ticks * uint64(time.Second/100)
}

// networks reads the counters that a process sees.
func networks(pid int) map[string]engine.NetworkStats {
	f, err := os.Open(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	out := map[string]engine.NetworkStats{}
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		name, rest, ok := strings.Cut(sc.Text(), ":")
		name = strings.TrimSpace(name)
		v := strings.Fields(rest)
		if !ok || name == "lo" || len(v) < 12 {
			continue
		}
		n := func(i int) uint64 { x, _ := strconv.ParseUint(v[i], 10, 64); return x }
		out[name] = engine.NetworkStats{
			RxBytes: n(0), RxPackets: n(1), RxErrors: n(2), RxDropped: n(3),
			TxBytes: n(8), TxPackets: n(9), TxErrors: n(10), TxDropped: n(11),
		}
	}
	return out
}
