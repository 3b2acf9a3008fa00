package agent

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Capacity is what the machine has for tasks, in CPU units and MiB: its
// processors and memory, or less where its control group is limited, as an
// instance's is to its type's size.
func Capacity(units int) (cpu, memory int, err error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, fmt.Errorf("how much memory there is: %w", err)
	}
	bytesOfMemory, err := memTotal(b)
	if err != nil {
		return 0, 0, err
	}
	// The root of what the machine sees: cgroup v2, or v1's controllers.
	for _, f := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if n, ok := readNumber(f); ok && n > 0 {
			bytesOfMemory = min(bytesOfMemory, n)
		}
	}
	if b, err := os.ReadFile("/sys/fs/cgroup/cpu.max"); err == nil {
		if f := strings.Fields(string(b)); len(f) == 2 {
			units = limitUnits(units, f[0], f[1])
		}
	}
	quota, err1 := os.ReadFile("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
	period, err2 := os.ReadFile("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
	if err1 == nil && err2 == nil {
		units = limitUnits(units, strings.TrimSpace(string(quota)), strings.TrimSpace(string(period)))
	}
	return units, int(bytesOfMemory >> 20), nil
}

// limitUnits are the CPU units that a quota for each period leaves.
func limitUnits(units int, quota, period string) int {
	q, err1 := strconv.ParseInt(quota, 10, 64)
	p, err2 := strconv.ParseInt(period, 10, 64)
	if err1 != nil || err2 != nil || q <= 0 || p <= 0 {
		return units // "max", or -1
	}
	return min(units, int(float64(q)/float64(p)*1024))
}

func readNumber(file string) (int64, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

func memTotal(meminfo []byte) (int64, error) {
	for s := bufio.NewScanner(bytes.NewReader(meminfo)); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) >= 2 && f[0] == "MemTotal:" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/meminfo has no MemTotal")
}
