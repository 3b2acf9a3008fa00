package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// TestDemo runs the demo twice, as make demo does: the second time it rolls
// the service over to a new revision.
func TestDemo(t *testing.T) {
	t.Parallel()
	s := shared(t)
	bin := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "roadstead.dev/examples/demo").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for run := 1; run <= 2; run++ {
		cmd := exec.CommandContext(t.Context(), bin, "-app", built.webapp)
		cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL=http://"+s.listen, "AWS_REGION="+region, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test")
		out, err := cmd.CombinedOutput()
		t.Logf("run %d:\n%s", run, out)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(out), "It runs: http://demo-") {
			t.Fatal("the demo did not print its URL")
		}
	}
	if t.Failed() {
		return
	}
	out := s.awscli(t, "ecs", "list-tasks", "--cluster", "demo", "--query", "length(taskArns)", "--output", "text")
	if strings.TrimSpace(out) != "2" {
		t.Errorf("the CLI lists %q tasks, want 2", out)
	}
	// What aws logs tail (version 2 of the CLI) asks for.
	lines := s.awscli(t, "logs", "filter-log-events", "--log-group-name", "/ecs/demo", "--query", "events[].[logStreamName,message]", "--output", "text")
	if !strings.Contains(lines, "web/web/") || !strings.Contains(lines, "GET / 200") {
		t.Errorf("the log shows no request to the service:\n%s", lines)
	}
	if _, err := s.ecs.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: new("demo"), Service: new("web"), DesiredCount: new(int32(0))}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ecs.DeleteService(t.Context(), &ecs.DeleteServiceInput{Cluster: new("demo"), Service: new("web")}); err != nil {
		t.Fatal(err)
	}
}
