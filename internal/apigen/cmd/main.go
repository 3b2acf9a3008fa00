// Command apigen writes internal/api/<service> and docs/compat/<service>.md
// from the models and lists of internal/apigen. Run it through go generate.
package main

import (
	"flag"
	"fmt"
	"os"

	"roadstead.dev/internal/apigen"
)

func main() {
	root := flag.String("root", ".", "the repository's root")
	service := flag.String("service", "", "the one service to generate; all of them when empty")
	flag.Parse()
	var names []string
	if *service != "" {
		names = append(names, *service)
	}
	err := apigen.Generate(os.DirFS(*root+"/internal/apigen"), *root+"/internal/api", *root+"/docs/compat", names...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "apigen:", err)
		os.Exit(1)
	}
}
