package server

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory of a process, in bytes.
type Memory struct {
	// RSS counts every page that it has in memory; PSS counts those that it
	// shares with others by their share.
	RSS, PSS int64
	// Anonymous is what has no file behind it: what the process itself made.
	// The rest is mostly the program's own file, which the kernel drops when
	// memory is short.
	Anonymous int64
}

// MemoryOf reads what the kernel says of a process.
func MemoryOf(pid int) (Memory, error) {
	var m Memory
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return m, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(rest)
		if len(fields) != 2 {
			continue
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "Rss":
			m.RSS = n << 10
		case "Pss":
			m.PSS = n << 10
		case "Anonymous":
			m.Anonymous = n << 10
		}
	}
	return m, lines.Err()
}
