package node

import (
	"net/http"
	"sync"
	"time"

	"roadstead.dev/internal/engine"
)

// dockerStats is Docker's JSON of a container's statistics, as far as there
// are values.
type dockerStats struct {
	Read      time.Time `json:"read"`
	PreRead   time.Time `json:"preread"`
	PidsStats struct {
		Current uint64 `json:"current,omitempty"`
	} `json:"pids_stats"`
	BlkioStats   blkioStats              `json:"blkio_stats"`
	NumProcs     uint32                  `json:"num_procs"`
	StorageStats struct{}                `json:"storage_stats"`
	CPUStats     cpuStats                `json:"cpu_stats"`
	PreCPUStats  cpuStats                `json:"precpu_stats"`
	MemoryStats  memoryStats             `json:"memory_stats"`
	Name         string                  `json:"name"`
	ID           string                  `json:"id"`
	Networks     map[string]networkStats `json:"networks,omitempty"`
	NetworkRate  *networkRate            `json:"network_rate_stats,omitempty"`
}

type blkioStats struct {
	ServiceBytes []blkioEntry `json:"io_service_bytes_recursive"`
	Serviced     []blkioEntry `json:"io_serviced_recursive"`
}

type blkioEntry struct {
	Major uint64 `json:"major"`
	Minor uint64 `json:"minor"`
	Op    string `json:"op"`
	Value uint64 `json:"value"`
}

type cpuStats struct {
	CPUUsage struct {
		TotalUsage        uint64 `json:"total_usage"`
		UsageInKernelmode uint64 `json:"usage_in_kernelmode"`
		UsageInUsermode   uint64 `json:"usage_in_usermode"`
	} `json:"cpu_usage"`
	SystemUsage    uint64 `json:"system_cpu_usage,omitempty"`
	OnlineCPUs     uint32 `json:"online_cpus,omitempty"`
	ThrottlingData struct {
		Periods          uint64 `json:"periods"`
		ThrottledPeriods uint64 `json:"throttled_periods"`
		ThrottledTime    uint64 `json:"throttled_time"`
	} `json:"throttling_data"`
}

type memoryStats struct {
	Usage    uint64            `json:"usage,omitempty"`
	MaxUsage uint64            `json:"max_usage,omitempty"`
	Stats    map[string]uint64 `json:"stats,omitempty"`
	Limit    uint64            `json:"limit,omitempty"`
}

type networkStats struct {
	RxBytes   uint64 `json:"rx_bytes"`
	RxPackets uint64 `json:"rx_packets"`
	RxErrors  uint64 `json:"rx_errors"`
	RxDropped uint64 `json:"rx_dropped"`
	TxBytes   uint64 `json:"tx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
	TxErrors  uint64 `json:"tx_errors"`
	TxDropped uint64 `json:"tx_dropped"`
}

type networkRate struct {
	RxBytesPerSec float64 `json:"rx_bytes_per_sec"`
	TxBytesPerSec float64 `json:"tx_bytes_per_sec"`
}

// readings keeps the last statistics of each container, since Docker shows
// the previous CPU usage beside the present one.
type readings struct {
	mu   sync.Mutex
	last map[string]engine.Stats
}

// swap keeps s and returns what was kept before.
func (r *readings) swap(id string, s engine.Stats) (engine.Stats, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, ok := r.last[id]
	if r.last == nil {
		r.last = map[string]engine.Stats{}
	}
	r.last[id] = s
	return old, ok
}

func (r *readings) drop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.last, id)
}

func (m *metadata) dockerStats(r *http.Request, c *containerState) (*dockerStats, error) {
	s, err := m.node.cfg.Engine.Stats(r.Context(), c.ID)
	if err != nil {
		return nil, err
	}
	d := &dockerStats{Read: s.Read, Name: c.Name, ID: c.ID, CPUStats: dockerCPU(s)}
	d.PidsStats.Current = s.PIDs
	if before, ok := m.node.readings.swap(c.ID, s); ok {
		d.PreRead, d.PreCPUStats = before.Read, dockerCPU(before)
		d.NetworkRate = rate(before, s)
	}
	d.MemoryStats = memoryStats{Usage: s.MemoryUsage, MaxUsage: s.MemoryMax, Limit: s.MemoryLimit, Stats: map[string]uint64{
		"cache": s.MemoryCache, "rss": s.MemoryRSS, "inactive_file": s.InactiveFile, "total_inactive_file": s.InactiveFile,
		"pgfault": s.PageFaults, "pgmajfault": s.MajorPageFaults,
	}}
	for _, b := range s.BlockIO {
		d.BlkioStats.ServiceBytes = append(d.BlkioStats.ServiceBytes,
			blkioEntry{b.Major, b.Minor, "Read", b.ReadBytes}, blkioEntry{b.Major, b.Minor, "Write", b.WriteBytes})
		d.BlkioStats.Serviced = append(d.BlkioStats.Serviced,
			blkioEntry{b.Major, b.Minor, "Read", b.ReadOps}, blkioEntry{b.Major, b.Minor, "Write", b.WriteOps})
	}
	for name, x := range s.Networks {
		if d.Networks == nil {
			d.Networks = map[string]networkStats{}
		}
		d.Networks[name] = networkStats(x)
	}
	return d, nil
}

func dockerCPU(s engine.Stats) cpuStats {
	var c cpuStats
	c.CPUUsage.TotalUsage, c.CPUUsage.UsageInUsermode = s.CPUTotal, s.CPUUser
	c.CPUUsage.UsageInKernelmode = s.CPUTotal - min(s.CPUTotal, s.CPUUser)
	c.SystemUsage, c.OnlineCPUs = s.CPUSystem, s.OnlineCPUs
	c.ThrottlingData.Periods, c.ThrottlingData.ThrottledPeriods = s.CPUPeriods, s.CPUThrottledPeriods
	c.ThrottlingData.ThrottledTime = s.CPUThrottledTime
	return c
}

// rate is the traffic a second of all interfaces between two readings.
func rate(before, now engine.Stats) *networkRate {
	seconds := now.Read.Sub(before.Read).Seconds()
	if seconds <= 0 || len(now.Networks) == 0 {
		return nil
	}
	var r networkRate
	for name, n := range now.Networks {
		b := before.Networks[name]
		r.RxBytesPerSec += float64(n.RxBytes-min(n.RxBytes, b.RxBytes)) / seconds
		r.TxBytesPerSec += float64(n.TxBytes-min(n.TxBytes, b.TxBytes)) / seconds
	}
	return &r
}
