package fargate

import (
	"context"
	"strings"
	"testing"

	"roadstead.dev/internal/api"
	apis3 "roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/objects"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/service/s3"
	"roadstead.dev/internal/service/s3/contents"
)

// TestEnvironmentFiles reads files as execution roles, from buckets of their
// account, in another region than the task's.
func TestEnvironmentFiles(t *testing.T) {
	b := newBench(t)
	key, err := seal.New([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := contents.Open(t.TempDir(), key)
	if err != nil {
		t.Fatal(err)
	}
	svc := s3.New(s3.Config{Store: b.store, Contents: kept, Clock: clock.System{}, Authorizer: b.roles.Directory})
	call := *api.CallFrom(b.ctx)
	call.Region = "us-east-1"
	ctx := api.WithCall(t.Context(), &call)
	call.Authorize = func(context.Context, string, string, map[string]string) error { return nil }
	if _, err := svc.CreateBucket(ctx, &apis3.CreateBucketInput{Bucket: new("vars")}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"app/a.env": "A=1\nEMPTY=", "large.env": strings.Repeat("x", execution.MaxEnvironmentFile+1)} {
		if _, err := svc.Objects().Put(ctx, objects.Caller(&call), objects.Location{Bucket: "vars", Key: name}, strings.NewReader(text), objects.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	files := &execution.EnvironmentFiles{Objects: &Account{Roles: b.roles, Objects: svc.Objects()}, Empty: true}
	may := b.role("reader", "s3:GetObject", "arn:aws:s3:::vars/*")
	read := func(task *acs.Task, key string) (map[string]string, error) {
		return files.Variables(t.Context(), task, &acs.Container{EnvironmentFiles: []acs.EnvironmentFile{{Value: "arn:aws:s3:::" + key, Type: "s3"}}})
	}
	if got, err := read(may, "vars/app/a.env"); err != nil || len(got) != 2 || got["A"] != "1" {
		t.Errorf("%v, %v", got, err)
	}
	for name, tt := range map[string]struct {
		task *acs.Task
		key  string
		want string
	}{
		"no permission": {b.role("stranger", "", ""), "vars/app/a.env", "file a.env: failed to write to a temporary file: AccessDenied: User: arn:aws:sts::111122223333:assumed-role/stranger/0123 is not authorized to perform: s3:GetObject on resource: \"arn:aws:s3:::vars/app/a.env\" because no identity-based policy allows the s3:GetObject action"},
		"no object":     {may, "vars/none.env", "NoSuchKey: The specified key does not exist."},
		"no bucket":     {may, "nobodys/a.env", "NoSuchBucket: The specified bucket does not exist"},
		"too large":     {may, "vars/large.env", "the file is larger than 4194304 bytes"},
		"no role":       {&acs.Task{Arn: taskARN}, "vars/app/a.env", "the task has no execution role"},
	} {
		if _, err := read(tt.task, tt.key); err == nil || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
