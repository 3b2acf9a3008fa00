package node

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"roadstead.dev/internal/model/acs"
)

// bucket holds the variables of environment files.
type bucket struct {
	variables map[string]string
	reads     int
}

func (b *bucket) Variables(context.Context, *acs.Task, *acs.Container) (map[string]string, error) {
	b.reads++
	if b.variables == nil {
		return nil, errors.New("file download command: non empty error stream: AccessDenied: Access Denied")
	}
	return b.variables, nil
}

func withFile() acs.Container {
	c := essential("web")
	c.Environment = map[string]string{"A": "environment"}
	c.Secrets = []acs.Secret{{Name: "S", ValueFrom: "s", Provider: "ssm", Target: "CONTAINER"}}
	c.EnvironmentFiles = []acs.EnvironmentFile{{Value: "arn:aws:s3:::b/f.env", Type: "s3"}}
	return c
}

func TestEnvironmentFilesReachTheContainer(t *testing.T) {
	run(t, func(r *rig) {
		b := &bucket{variables: map[string]string{"A": "file", "B": "from the file", "S": "file", "AWS_ENDPOINT_URL": "http://elsewhere"}}
		r.node.cfg.EnvironmentFiles, r.node.cfg.Secrets, r.node.cfg.APIEndpoint = b, &vault{values: map[string]string{"s": "secret"}}, "http://here"
		r.payload(newTaskMessage(withFile()))
		r.want("RUNNING web=RUNNING")
		spec, _ := r.engine.Spec(r.id("web"))
		for _, kv := range []string{"A=environment", "B=from the file", "S=secret", "AWS_ENDPOINT_URL=http://elsewhere"} {
			if !slices.Contains(spec.Env, kv) {
				t.Errorf("%q is not in %q", kv, spec.Env)
			}
			name, _, _ := strings.Cut(kv, "=")
			if n := len(slices.DeleteFunc(slices.Clone(spec.Env), func(e string) bool { return !strings.HasPrefix(e, name+"=") })); n != 1 {
				t.Errorf("%s is set %d times", name, n)
			}
		}
		if b.reads != 1 {
			t.Errorf("the files were read %d times, want once", b.reads)
		}
		if kept, err := os.ReadFile(r.node.files.path(arn)); err != nil || strings.Contains(string(kept), "from the file") {
			t.Errorf("what a file holds is in the task's file, or %v", err)
		}
		if len(r.node.task(arn).envFiles) != 0 {
			t.Error("what a file holds is kept in memory")
		}
	})
}

func TestEnvironmentFileThatCannotBeRead(t *testing.T) {
	for name, tt := range map[string]struct {
		files EnvironmentFiles
		want  string
	}{
		"denied": {&bucket{}, "file download command: non empty error stream: AccessDenied: Access Denied"},
		"no S3":  {nil, "file download command: this node has no access to Amazon S3"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(r *rig) {
				r.node.cfg.EnvironmentFiles, r.node.cfg.Secrets = tt.files, &vault{values: map[string]string{"s": "secret"}}
				r.payload(newTaskMessage(withFile()))
				r.want("STOPPED web=STOPPED")
				if got := r.control.last().Reason; got != "ResourceInitializationError: failed to download env files: "+tt.want {
					t.Errorf("reason %q", got)
				}
			})
		})
	}
}
