// App is what the engine tests run in containers.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"serve"}
	}
	switch args[0] {
	case "serve":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM, syscall.SIGUSR1)
		fmt.Println("serving")
		s := <-c
		fmt.Println("got", s)
		if s == syscall.SIGUSR1 {
			os.Exit(10)
		}
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ignoring SIGTERM")
		for {
			time.Sleep(time.Hour)
		}
	case "exit":
		n, _ := strconv.Atoi(args[1])
		os.Exit(n)
	case "print":
		for _, l := range args[1:] {
			fmt.Println(l)
		}
	case "eprint":
		fmt.Fprintln(os.Stderr, strings.Join(args[1:], " "))
	case "alloc":
		n, _ := strconv.Atoi(args[1])
		var keep [][]byte
		for range n {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			keep = append(keep, b)
		}
		fmt.Println("allocated", len(keep))
	case "cat":
		b, err := os.ReadFile(args[1])
		check(err)
		os.Stdout.Write(b)
	case "write":
		check(os.WriteFile(args[1], []byte(args[2]), 0o644))
	case "sleep":
		d, err := time.ParseDuration(args[1])
		check(err)
		time.Sleep(d)
	case "spin":
		for {
		}
	case "about":
		about()
	default:
		fmt.Fprintln(os.Stderr, "unknown", args[0])
		os.Exit(64)
	}
}

func about() {
	host, _ := os.Hostname()
	cwd, _ := os.Getwd()
	var nofile syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &nofile)
	var interfaces []string
	if all, err := net.Interfaces(); err == nil {
		for _, i := range all {
			interfaces = append(interfaces, i.Name)
		}
	}
	status := map[string]string{}
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		for _, l := range strings.Split(string(b), "\n") {
			k, v, _ := strings.Cut(l, ":")
			status[k] = strings.TrimSpace(v)
		}
	}
	writable := os.WriteFile("/probe", nil, 0o644) == nil
	ipc, _ := os.Readlink("/proc/self/ns/ipc")
	var shm syscall.Statfs_t
	_ = syscall.Statfs("/dev/shm", &shm)
	groups, _ := os.Getgroups()
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"args": os.Args, "env": os.Environ(), "cwd": cwd, "hostname": host, "pid": os.Getpid(),
		"uid": os.Getuid(), "gid": os.Getgid(), "groups": groups,
		"capEff": status["CapEff"], "capBnd": status["CapBnd"], "noNewPrivs": status["NoNewPrivs"], "seccomp": status["Seccomp"],
		"nofileSoft": nofile.Cur, "nofileHard": nofile.Max,
		"interfaces": interfaces, "rootWritable": writable, "ipc": ipc, "shmBytes": int64(shm.Blocks) * int64(shm.Bsize),
	}))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
