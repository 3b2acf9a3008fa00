// Command roadstead is the AWS container stack on your own machines: the
// server that speaks AWS's APIs, and the commands to run and inspect it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"roadstead.dev/internal/initproc"
	"roadstead.dev/internal/instance"
	"roadstead.dev/internal/logger"
)

func main() {
	// The container runtime starts these beside or in containers: they come
	// first, before anything is set up that they do not need.
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case logger.Subcommand:
			os.Exit(logger.Main(os.Args[2:]))
		case initproc.Subcommand:
			os.Exit(initproc.Main(os.Args[2:], os.Stderr))
		case instance.Subcommand:
			os.Exit(instance.Main(os.Args[2:], os.Stderr))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		if quiet, ok := errors.AsType[exitCode](err); ok {
			os.Exit(int(quiet))
		}
		fmt.Fprintln(os.Stderr, "roadstead:", err)
		os.Exit(1)
	}
}

// exitCode ends the program without a message of its own: the command has
// already said what is wrong.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func rootCommand() *cobra.Command {
	o := defaultOptions()
	root := &cobra.Command{
		Use:   "roadstead",
		Short: "The AWS container stack on your own machines",
		Long: `Roadstead speaks AWS's container APIs (ECS, ECR, Elastic Load Balancing and
what they stand on) and runs what they describe: containers, load balancers,
networks with security groups.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	o.bind(root.PersistentFlags())
	root.AddCommand(upCommand(o), downCommand(o), envCommand(o), caCommand(o), statusCommand(o), doctorCommand(o), interruptCommand(o), versionCommand(), nodeCommand())
	return root
}
