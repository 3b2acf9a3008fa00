// Command roadstead-helper is what the container runtime starts beside and in
// containers: the logger, and the init process; and the first process of
// instances. Roadstead itself is all of these too,
// where the helper is not beside it; as a program of its own there is a
// seventh of it in memory for each container, and it starts in a fifth of the
// time.
package main

import (
	"fmt"
	"os"

	"roadstead.dev/internal/initproc"
	"roadstead.dev/internal/instance"
	"roadstead.dev/internal/logger"
)

// version is set by the linker in releases: the server only uses a helper of
// its own version.
var version = "dev"

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case logger.Subcommand:
			os.Exit(logger.Main(os.Args[2:]))
		case initproc.Subcommand:
			os.Exit(initproc.Main(os.Args[2:], os.Stderr))
		case instance.Subcommand:
			os.Exit(instance.Main(os.Args[2:], os.Stderr))
		case "version":
			fmt.Println(version)
			return
		}
	}
	fmt.Fprintln(os.Stderr, "roadstead-helper: the container runtime starts this; there is nothing for you to do with it")
	os.Exit(2)
}
