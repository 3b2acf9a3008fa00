// Package report is what the benchmarks have in common: statistics of their
// measurements, tables, and the sections of bench/README.md that they keep.
package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Section prints the text and makes it the named section of bench/README.md:
// what stands between its two markers, which are added at the end of the file
// when they are not there. A line with the machine's facts and the day goes
// with it.
func Section(name, markdown string) error {
	text := strings.TrimSpace(markdown) + "\n\n" + Facts() + "\n"
	fmt.Print("\n", text)
	path, err := readme()
	if err != nil {
		return err
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the benchmarks' page: %w", err)
	}
	page, err := replace(string(old), name, text)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(page), 0o644)
}

// replace puts text between the section's markers.
func replace(page, name, text string) (string, error) {
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
	before, rest, found := strings.Cut(page, begin)
	if !found {
		return strings.TrimRight(page, "\n") + "\n\n" + begin + text + end, nil
	}
	_, after, found := strings.Cut(rest, end)
	if !found {
		return "", fmt.Errorf("the benchmarks' page has no end of section %s", name)
	}
	return before + begin + text + end + after, nil
}

// readme is the page, wherever in the project the program was started.
func readme() (string, error) {
	root, err := Root()
	return filepath.Join(root, "bench", "README.md"), err
}

// Root is the project's folder: the nearest one above with a go.mod.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("run this in the project's folder")
		}
		dir = up
	}
}

// Table is a Markdown table; the first column is aligned left, the others
// right.
func Table(header []string, rows ...[]string) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(header)
	rule := make([]string, len(header))
	for i := range rule {
		rule[i] = "---:"
	}
	rule[0] = ":---"
	line(rule)
	for _, r := range rows {
		line(r)
	}
	return b.String()
}

// atStart is what the machine was doing when the program began: what others did
// on it is in the numbers too.
var atStart = load()

// load is how many processes wanted to run, over the last minute.
func load() float64 {
	var m unix.Sysinfo_t
	if unix.Sysinfo(&m) != nil {
		return 0
	}
	return float64(m.Loads[0]) / (1 << 16)
}

// Facts tell what was measured on, and when.
func Facts() string {
	var u unix.Utsname
	kernel := "?"
	if unix.Uname(&u) == nil {
		kernel, _, _ = strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	}
	var m unix.Sysinfo_t
	memory := uint64(0)
	if unix.Sysinfo(&m) == nil {
		memory = m.Totalram * uint64(m.Unit) >> 30
	}
	return fmt.Sprintf("*%d cores, %d GiB, Linux %s, %s; %s; load average before: %.1f.*",
		runtime.NumCPU(), memory, kernel, runtime.Version(), time.Now().Format(time.DateOnly), atStart)
}
