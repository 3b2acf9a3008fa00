// Init is the init process of the engine tests' containers.
package main

import (
	"os"

	"roadstead.dev/internal/initproc"
)

func main() { os.Exit(initproc.Main(os.Args[2:], os.Stderr)) }
