package main

import (
	"fmt"
	"io"
	"strings"
)

// steps prints what the demo does.
type steps struct {
	w io.Writer
	n int
}

// begin announces a step and the CLI command that would do it.
func (s *steps) begin(what string, cli ...string) {
	s.n++
	fmt.Fprintf(s.w, "\n%2d. %s\n", s.n, what)
	for _, c := range cli {
		fmt.Fprintf(s.w, "    $ %s\n", strings.ReplaceAll(c, "\n", " \\\n        "))
	}
}

// say prints what came of a step.
func (s *steps) say(format string, args ...any) {
	fmt.Fprintf(s.w, "    %s\n", fmt.Sprintf(format, args...))
}
