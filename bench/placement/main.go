// Command placement measures how many tasks a second one core places on
// container instances, and how that changes from 10 instances to 5,000: the
// choice alone, with the commit that makes it hold, in memory and on disk; and
// RunTask through the API on simulated instances, beside moto_server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/bench/internal/report"
	"roadstead.dev/bench/internal/server"
)

var (
	sizes    = []int{10, 30, 100, 300, 1000, 3000, 5000}
	apiSizes = []int{10, 100, 1000}
)

func main() {
	span := flag.Duration("for", time.Second, "how long each measurement takes")
	of := flag.String("sizes", "", "the sizes of the clusters, with commas; empty means all")
	binary := flag.String("roadstead", "", "the program to measure through its API; empty builds it")
	api := flag.Bool("api", true, "measure RunTask through the API, beside moto_server")
	keep := flag.Bool("keep", false, "print, and leave bench/README.md alone")
	flag.Parse()
	if *of != "" {
		sizes = nil
		for one := range strings.SplitSeq(*of, ",") {
			n, err := strconv.Atoi(one)
			if err != nil || n < 10 {
				fmt.Fprintf(os.Stderr, "bench placement: %q is no size from 10 on\n", one)
				os.Exit(2)
			}
			sizes = append(sizes, n)
		}
		apiSizes = slices.DeleteFunc(apiSizes, func(n int) bool { return n > slices.Max(sizes) })
	}
	report.Main("placement", *keep, func(ctx context.Context) (string, error) { return run(ctx, *binary, *span, *api) })
}

func run(ctx context.Context, binary string, span time.Duration, api bool) (_ string, err error) {
	dir, err := os.MkdirTemp("", "roadstead-bench-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	text, err := curves(ctx, dir, span)
	if err != nil {
		return "", err
	}
	start, err := startUp(ctx, filepath.Join(dir, "start"))
	if err != nil {
		return "", err
	}
	text = "## Placement\n\n" + text + start
	if !api {
		return text, nil
	}
	if binary == "" {
		if binary, err = server.Build(ctx, dir); err != nil {
			return "", err
		}
	}
	calls, err := throughTheAPI(ctx, binary, dir, 3*span)
	return text + calls, err
}

// exponent of the power of x that fits the ys best.
func exponent(xs []int, ys []float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for i, y := range ys {
		if y <= 0 {
			continue
		}
		lx, ly := math.Log(float64(xs[i])), math.Log(y)
		n, sx, sy, sxx, sxy = n+1, sx+lx, sy+ly, sxx+lx*lx, sxy+lx*ly
	}
	if n < 2 {
		return 0
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

func perSecond(r float64) string {
	if r == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", r)
}
