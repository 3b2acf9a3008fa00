// Command tool is the program in the image that end-to-end tests run. Each
// test picks a subcommand:
//
//	serve [-port 80] [-name S] [-unhealthy D] [-stop-delay D]
//	    HTTP: / says name, task, headers and how many sleep; /health; /env; /headers; /crash;
//	    /status/N; /sleep/D; /connect?addr=A; /get?url=U; /eat?mb=N; POST /echo
//	    streams back; /stream sends a line every 100 ms, /events an event;
//	    /ws is a WebSocket that says its name and then what it hears. -unhealthy
//	    fails /health until D has passed; -stop-delay waits after SIGTERM.
//	provider [-issuer S] [-client S] [-secret S] [-redirect URL]
//	    an OpenID Connect provider with one client, by HTTPS on port 443
//	exit [-after D] [CODE]              end with CODE (0)
//	crash [-after D]                    end with code 139, as a segmentation fault does
//	eat [-mb N] [-step N] [-hold D]     touch N MiB of memory, step by step, and hold
//	spin [-for D] [-threads N]          burn CPU; says how much was got
//	connect [-udp] [-timeout D] ADDR    say "connected ADDR", or fail with code 1
//	listen [-udp] [-port N]             echo whatever comes
//	get [-timeout D] URL                say status and body of a GET
//	resolve NAME                        say the addresses of a name
//	env [NAME...]                       print the environment, or variables of it
//	id                                  print what the container is, as JSON: user,
//	                                    folder, host name, capabilities, seccomp,
//	                                    limits, addresses
//	write PATH                          write a file, or fail with code 1
//	credentials                         print the task role's credentials as JSON,
//	                                    secrets shortened
//	caller                              call sts:GetCallerIdentity with the task's
//	                                    credentials and endpoint; print the ARN
//	metadata [PATH]                     print $ECS_CONTAINER_METADATA_URI_V4/PATH
//	stubborn                            ignore SIGTERM, and say so each time
//	graceful [-delay D] [-code N]       on SIGTERM say so, wait, and end with N
//	log [-n N] [-every D] [-size B] [-stderr]
//	    print numbered lines, "line I", without end when N is 0
//	sleep [D]                           do nothing; without D, until SIGTERM
//	seq CMD ARGS... -- CMD ARGS...      run one after another until one fails
//
// D is a duration such as 500ms. What a subcommand finds goes to standard
// output; errors go to standard error and end with code 1, wrong usage with 2.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
)

// command is a subcommand: its arguments are those behind its name.
type command func(ctx context.Context, args []string) error

func commands() map[string]command {
	return map[string]command{
		"serve": serve, "provider": provider, "exit": exit, "crash": crash, "eat": eat, "spin": spin,
		"connect": connect, "listen": listen, "get": get, "resolve": resolve,
		"env": env, "id": identity, "write": write,
		"credentials": credentials, "caller": caller, "metadata": metadata,
		"stubborn": stubborn, "graceful": graceful, "log": logLines, "sleep": sleep, "seq": seq,
	}
}

// exitCode ends the program with a code that is no failure of its own.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	err := run(context.Background(), os.Args[1:])
	var code exitCode
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "tool:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "tool: which subcommand? See the top of main.go.")
		return exitCode(2)
	}
	c, ok := commands()[args[0]]
	if !ok {
		fmt.Fprintf(os.Stderr, "tool: no subcommand %q\n", args[0])
		return exitCode(2)
	}
	return c(ctx, args[1:])
}

// seq runs subcommands that are divided by --.
func seq(ctx context.Context, args []string) error {
	for len(args) > 0 {
		one := args
		args = nil
		if i := slices.Index(one, "--"); i >= 0 {
			one, args = one[:i], one[i+1:]
		}
		if err := run(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// flags parses the flags of a subcommand and returns what is left.
func flags(name string, args []string, define func(*flag.FlagSet)) ([]string, error) {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	define(f)
	if err := f.Parse(args); err != nil {
		return nil, flag.ErrHelp
	}
	return f.Args(), nil
}

// one is the single argument that a subcommand needs.
func one(name string, args []string) (string, error) {
	if len(args) != 1 {
		fmt.Fprintf(os.Stderr, "tool: %s needs one argument\n", name)
		return "", exitCode(2)
	}
	return args[0], nil
}
