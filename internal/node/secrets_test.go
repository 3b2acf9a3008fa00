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

// vault holds secrets by their ValueFrom.
type vault struct {
	values map[string]string
	reads  int
}

func (v *vault) Values(_ context.Context, _ *acs.Task, c *acs.Container) ([]string, error) {
	v.reads++
	var out []string
	for _, s := range c.Secrets {
		value, ok := v.values[s.ValueFrom]
		if !ok {
			return nil, errors.New("unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid ssm parameters: " + s.ValueFrom)
		}
		out = append(out, value)
	}
	return out, nil
}

// destinations notes the options that logs are opened with.
type destinations struct{ options map[string]string }

func (d *destinations) Open(_ context.Context, t LogTarget) (string, error) {
	d.options = t.Options
	return "", nil
}

func secretive() acs.Container {
	c := essential("web")
	c.Environment = map[string]string{"PASSWORD": "overridden", "A": "1"}
	c.Secrets = []acs.Secret{
		{Name: "PASSWORD", ValueFrom: "p", Provider: "ssm", Target: "CONTAINER"},
		{Name: "token", ValueFrom: "t", Provider: "asm", Target: "LOG_DRIVER"},
	}
	c.DockerConfig = acs.NewDockerConfig(acs.DockerContainerConfig{}, acs.DockerHostConfig{LogConfig: &acs.DockerLogConfig{Type: "awslogs", Config: map[string]string{"group": "g"}}})
	return c
}

func TestSecretsReachTheContainer(t *testing.T) {
	run(t, func(r *rig) {
		v, logs := &vault{values: map[string]string{"p": "hush", "t": "log token"}}, &destinations{}
		r.node.cfg.Secrets, r.node.cfg.Logs = v, logs
		r.payload(newTaskMessage(secretive()))
		r.want("RUNNING web=RUNNING")
		spec, _ := r.engine.Spec(r.id("web"))
		if !slices.Contains(spec.Env, "PASSWORD=hush") || slices.Contains(spec.Env, "PASSWORD=overridden") || !slices.Contains(spec.Env, "A=1") {
			t.Error(spec.Env)
		}
		if strings.Contains(strings.Join(spec.Env, " "), "log token") || logs.options["token"] != "log token" || logs.options["group"] != "g" {
			t.Error("the log driver's secret went elsewhere:", spec.Env, logs.options)
		}
		if v.reads != 1 {
			t.Errorf("the secrets were read %d times, want once", v.reads)
		}
		kept, err := os.ReadFile(r.node.files.path(arn))
		if err != nil || strings.Contains(string(kept), "hush") {
			t.Errorf("the secret is in the task's file, or %v", err)
		}
		if len(r.node.task(arn).secrets) != 0 {
			t.Error("the secret is kept in memory")
		}
	})
}

func TestSecretThatIsNotThere(t *testing.T) {
	run(t, func(r *rig) {
		r.node.cfg.Secrets = &vault{}
		r.payload(newTaskMessage(secretive()))
		r.want("STOPPED web=STOPPED")
		const want = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: " +
			"unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid ssm parameters: p"
		if got := r.control.last().Reason; got != want {
			t.Errorf("reason %q", got)
		}
	})
}
