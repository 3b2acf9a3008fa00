package imagebuild

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// GoBinary builds a Go program from the folder of its module into a static
// binary for an image, and returns its content. Arch empty means this
// machine's.
func GoBinary(ctx context.Context, dir, pkg, arch string) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "imagebuild-*")
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", pkg, err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	out := filepath.Join(tmp, "program")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if arch != "" {
		cmd.Env = append(cmd.Env, "GOARCH="+arch)
	}
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", pkg, err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", pkg, err)
	}
	return b, nil
}

// Program is the spec of an image that holds one static binary and runs it.
func Program(name string, binary []byte, args ...string) Spec {
	p := "/" + name
	return Spec{
		Files:      []File{{Path: p, Mode: 0o755, Content: binary}},
		Entrypoint: append([]string{p}, args...),
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
}
