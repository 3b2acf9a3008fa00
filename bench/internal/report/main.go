package report

import (
	"context"
	"fmt"
	"os"
	"os/signal"
)

// Main is what a benchmark does once its flags are read: it measures, until an
// interrupt, and writes the text as the page's section, or prints it where
// keep leaves the page alone. When that fails it ends the program.
func Main(section string, keep bool, measure func(context.Context) (string, error)) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	text, err := measure(ctx)
	if err == nil {
		if keep {
			fmt.Print("\n", text)
		} else {
			err = Section(section, text)
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", section, err)
		os.Exit(1)
	}
}
