package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/smithy-go"
)

// terraformPlugins names a folder to take Terraform's providers from, laid out
// as `terraform providers mirror` does, where there is no internet.
const terraformPlugins = "ROADSTEAD_TERRAFORM_PLUGINS"

// terraformInstalled is what all cases share: Terraform, and its provider for
// AWS, installed once.
var terraformInstalled struct {
	sync.Once
	terraform string
	provider  string
	err       error
}

// needTerraform skips tests where Terraform or its provider is not to be had.
func needTerraform(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Terraform's provider; left out by -short")
	}
	in := &terraformInstalled
	in.Do(func() {
		if in.terraform, in.err = exec.LookPath("terraform"); in.err != nil {
			in.err = errors.New("terraform is not installed")
			return
		}
		in.provider, in.err = installProvider(in.terraform)
	})
	if in.err != nil {
		t.Skipf("%v (%s names a folder of providers)", in.err, terraformPlugins)
	}
}

// installProvider lets terraform init find the provider, and returns the
// program's path.
func installProvider(terraform string) (string, error) {
	dir, err := os.MkdirTemp("", "rs-tf-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	versions, err := os.ReadFile("testdata/terraform/versions.tf")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "versions.tf"), versions, 0o600); err != nil {
		return "", err
	}
	args := []string{"init", "-no-color", "-input=false"}
	if from := os.Getenv(terraformPlugins); from != "" {
		args = append(args, "-plugin-dir="+from)
	}
	cache := os.Getenv("TF_PLUGIN_CACHE_DIR")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(user, "roadstead", "terraform-plugins")
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, terraform, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "TF_PLUGIN_CACHE_DIR="+cache)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("terraform cannot install its provider for AWS: %w\n%s", err, bytes.TrimSpace(out))
	}
	found, err := filepath.Glob(filepath.Join(dir, ".terraform/providers/registry.terraform.io/hashicorp/aws/*/*/terraform-provider-aws*"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("terraform init installed %d providers: %w", len(found), err)
	}
	return filepath.EvalSymlinks(found[0])
}

// configuration is one of testdata/terraform, applied to a server. Its
// provider runs as long as the test does: starting that for each command
// would take most of the time.
type configuration struct {
	t   *testing.T
	dir string
	env []string
	// applied is the revision that no plan has followed yet, "" when one has.
	applied string
}

// configure copies a case into a folder of its own, with variables as
// terraform.tfvars has them.
func configure(t *testing.T, s *server, name string, variables map[string]string) *configuration {
	t.Helper()
	c := &configuration{t: t, dir: t.TempDir()}
	if err := os.CopyFS(c.dir, os.DirFS(filepath.Join("testdata/terraform", name))); err != nil {
		t.Fatal(err)
	}
	versions, err := os.ReadFile("testdata/terraform/versions.tf")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "versions.tf"), versions, 0o600); err != nil {
		t.Fatal(err)
	}
	// What the developer's own environment says about AWS must not matter.
	c.env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "TF_") })
	c.env = append(c.env,
		"AWS_ENDPOINT_URL=http://"+s.listen, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION="+region,
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true",
		"CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_INPUT=0", "TF_CLI_ARGS=-no-color",
		// Most of a command is the provider's schema, read into memory: a third of
		// the processor's time was the collector's.
		"GOGC=400", "GOMEMLIMIT=600MiB",
	)
	for k, v := range variables {
		c.env = append(c.env, "TF_VAR_"+k+"="+v)
	}
	c.env = append(c.env, "TF_REATTACH_PROVIDERS="+c.startProvider())
	if out, code := c.run("init"); code != 0 {
		t.Fatalf("terraform init:\n%s", lastOf(out))
	}
	return c
}

var reattach = regexp.MustCompile(`TF_REATTACH_PROVIDERS='(.*)'`)

// startProvider starts the provider and returns how Terraform reaches it.
func (c *configuration) startProvider() string {
	c.t.Helper()
	cmd := exec.Command(terraformInstalled.provider, "-debug")
	cmd.Env, cmd.Dir = c.env, c.dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	address, read := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(read)
		defer close(address)
		told := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if m := reattach.FindStringSubmatch(lines.Text()); m != nil && !told {
				address <- m[1]
				told = true
			}
		}
	}()
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	select {
	case a, ok := <-address:
		if !ok {
			c.t.Fatal("the provider ended before it served")
		}
		return a
	case <-time.After(time.Minute):
		c.t.Fatal("the provider does not start")
	}
	return ""
}

// run runs terraform and returns what it said and its exit code. Cleanups may
// call it, too.
func (c *configuration) run(args ...string) (string, int) {
	c.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(c.t.Context()), terraformInstalled.terraform, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	start := time.Now()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("terraform %s: %v", strings.Join(args, " "), err)
	}
	c.t.Logf("terraform %s: %v", strings.Join(args, " "), time.Since(start).Round(100*time.Millisecond))
	return string(out), cmd.ProcessState.ExitCode()
}

// apply applies the configuration and wants Terraform to count the changes so
// ("1 added, 2 changed, 0 destroyed"). Nothing may be left to do then: the next
// apply would count it among its own changes, and after the last one a plan
// tells. With -full a plan follows every apply.
func (c *configuration) apply(revision, want string) {
	c.t.Helper()
	out, code := c.run("apply", "-auto-approve", "-var", "revision="+revision)
	if code != 0 {
		c.t.Fatalf("terraform apply:\n%s", lastOf(out))
	}
	if !strings.Contains(out, "Apply complete! Resources: "+want+".") {
		c.t.Errorf("applying revision %s should count %s:\n%s", revision, want, lastOf(out))
	}
	if c.applied = revision; *full {
		c.settled()
	}
}

// settled wants nothing left to do after the last apply.
func (c *configuration) settled() {
	c.t.Helper()
	if c.applied == "" {
		return
	}
	if out, code := c.run("plan", "-detailed-exitcode", "-var", "revision="+c.applied); code != 0 {
		c.t.Errorf("the plan after applying revision %s is not empty (exit code %d):\n%s", c.applied, code, lastOf(out))
	}
	c.applied = ""
}

// destroy destroys all that was applied.
func (c *configuration) destroy(revision string) {
	c.t.Helper()
	c.settled()
	if out, code := c.run("destroy", "-auto-approve", "-var", "revision="+revision); code != 0 {
		c.t.Fatalf("terraform destroy:\n%s", lastOf(out))
	}
	if out, code := c.run("state", "list"); code != 0 || strings.TrimSpace(out) != "" {
		c.t.Errorf("destroyed, and yet there are:\n%s", out)
	}
}

// lastOf is the end of what terraform said, where its errors are.
func lastOf(out string) string {
	const most = 4000
	if len(out) > most {
		return "…" + out[len(out)-most:]
	}
	return out
}

// output is an output's value as a string, or as JSON when it is no string.
func (c *configuration) output(name string) string {
	c.t.Helper()
	out, code := c.run("output", "-json", name)
	if code != 0 {
		c.t.Fatalf("terraform output:\n%s", out)
	}
	return strings.Trim(strings.TrimSpace(out), `"`)
}

// errorCode is the code of an API's error, "" of none.
func errorCode(err error) string {
	var e smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.ErrorCode()
	}
	return err.Error()
}

// gone checks that describing something answers that it is not there.
func gone(t *testing.T, code string, err error) {
	t.Helper()
	if got := errorCode(err); got != code {
		t.Errorf("after it was destroyed: %q, want %s", got, code)
	}
}
