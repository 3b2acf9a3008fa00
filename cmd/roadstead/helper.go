package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// helper is the program that the container runtime starts as the logger and as
// the init process: roadstead-helper, when it is beside this program and of
// the same version, else this program.
var helper = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	small := self + "-helper"
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, small, "version").Output()
	if err != nil || strings.TrimSpace(string(out)) != version {
		return self, nil // it does the same
	}
	return small, nil
})
