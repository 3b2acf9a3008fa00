package e2e

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-containerregistry/pkg/registry"

	"roadstead.dev/internal/imagebuild"
)

// secret makes a secret of the test's and returns its ARN.
func (st *stack) secret(name, value string) string {
	st.t.Helper()
	out, err := secretsmanager.NewFromConfig(st.cfg).CreateSecret(st.t.Context(), &secretsmanager.CreateSecretInput{Name: new(st.name + "/" + name), SecretString: &value})
	if err != nil {
		st.t.Fatal(err)
	}
	return *out.ARN
}

// parameter makes a SecureString of the test's and returns its name.
func (st *stack) parameter(name, value string) string {
	st.t.Helper()
	full := "/" + st.name + "/" + name
	if _, err := ssm.NewFromConfig(st.cfg).PutParameter(st.t.Context(), &ssm.PutParameterInput{Name: &full, Value: &value, Type: ssmtypes.ParameterTypeSecureString}); err != nil {
		st.t.Fatal(err)
	}
	return full
}

// envFile makes an environment file in a bucket of the test's, in a region, and
// returns its ARN. The role may read it.
func (st *stack) envFile(bucketRegion, role, key, text string) string {
	st.t.Helper()
	bucket := "env-" + strings.ToLower(st.name)
	files := s3.NewFromConfig(st.cfg, func(o *s3.Options) { o.UsePathStyle, o.Region = true, bucketRegion })
	in := &s3.CreateBucketInput{Bucket: &bucket}
	if bucketRegion != region {
		in.CreateBucketConfiguration = &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(bucketRegion)}
	}
	if _, err := files.CreateBucket(st.t.Context(), in); err != nil {
		st.t.Fatal(err)
	}
	if _, err := files.PutObject(st.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(text)}); err != nil {
		st.t.Fatal(err)
	}
	if _, err := st.iam.PutRolePolicy(st.t.Context(), &iam.PutRolePolicyInput{RoleName: &role, PolicyName: new("env-files"), PolicyDocument: new(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::` + bucket + `/*"}}`)}); err != nil {
		st.t.Fatal(err)
	}
	return "arn:aws:s3:::" + bucket + "/" + key
}

// reader makes an execution role that may read the test's secrets, too.
func (st *stack) reader() string {
	st.t.Helper()
	name := st.name + "-reader"
	arn := st.role(name, executionPolicy)
	if _, err := st.iam.PutRolePolicy(st.t.Context(), &iam.PutRolePolicyInput{RoleName: &name, PolicyName: new("secrets"), PolicyDocument: new(fmt.Sprintf(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"arn:aws:secretsmanager:*:*:secret:%[1]s/*"},`+
			`{"Effect":"Allow","Action":"ssm:GetParameters","Resource":"arn:aws:ssm:*:*:parameter/%[1]s/*"}]}`, st.name))}); err != nil {
		st.t.Fatal(err)
	}
	return arn
}

// stopped waits for a task's end.
func (st *stack) stopped(arn string) ecstypes.Task {
	st.t.Helper()
	var task ecstypes.Task
	eventually(st.t, time.Minute, "the task ends", func() error {
		if task = st.task(arn); *task.LastStatus != "STOPPED" {
			return errorf("it is %s", *task.LastStatus)
		}
		return nil
	})
	return task
}

// TestSecrets gives a container variables from a secret, from a key of one,
// from an earlier version, from parameters, and from a file in S3.
func TestSecrets(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	st.executionRole = st.reader()
	password := st.secret("password", "old-password")
	if _, err := secretsmanager.NewFromConfig(st.cfg).PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &password, SecretString: new("new-password")}); err != nil {
		t.Fatal(err)
	}
	database := st.secret("db", `{"user":"admin","port":5432}`)
	parameter := st.parameter("flag", "from-parameter")

	c := st.container("env", "PASSWORD", "BEFORE", "DB_USER", "DB_PORT", "FLAG", "FLAG_ARN", "FROM_FILE", "QUOTED")
	c.EnvironmentFiles = []ecstypes.EnvironmentFile{{Type: ecstypes.EnvironmentFileTypeS3, Value: new(st.envFile(region, st.name+"-reader", "vars/app.env", "# comment\nFROM_FILE=a=b\nQUOTED=\"q\"\nFLAG=not this\n"))}}
	c.Secrets = []ecstypes.Secret{
		{Name: new("PASSWORD"), ValueFrom: &password},
		{Name: new("BEFORE"), ValueFrom: new(password + "::AWSPREVIOUS:")},
		{Name: new("DB_USER"), ValueFrom: new(database + ":user::")},
		{Name: new("DB_PORT"), ValueFrom: new(database + ":port::")},
		{Name: new("FLAG"), ValueFrom: &parameter},
		{Name: new("FLAG_ARN"), ValueFrom: new("arn:aws:ssm:" + region + ":000000000000:parameter" + parameter)},
	}
	arn := st.run(st.register("secrets", nil, c), st.group("closed", 0, ""))
	if task := st.stopped(arn); task.Containers[0].ExitCode == nil || *task.Containers[0].ExitCode != 0 {
		t.Fatalf("%s: %s", str(task.StoppedReason), st.output(arn))
	}
	want := "new-password\nold-password\nadmin\n5432\nfrom-parameter\nfrom-parameter\na=b\n\"q\"\n"
	eventually(t, 10*time.Second, "the log shows the values", func() error {
		if got := st.output(arn); got != want {
			return errorf("it shows %q, want %q", got, want)
		}
		return nil
	})
}

// TestSecretsNeedPermission runs tasks whose execution role may pull, but not
// read secrets or environment files.
func TestSecretsNeedPermission(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	group := st.group("closed", 0, "")
	for _, tt := range []struct{ name, from, kind, action string }{
		{"asm", st.secret("s", "v"), "secret from asm: service call has been retried 1 time(s): failed to fetch secret ", "secretsmanager:GetSecretValue"},
		{"ssm", st.parameter("p", "v"), "secrets from ssm: service call has been retried 1 time(s): AccessDeniedException: ", "ssm:GetParameters"},
	} {
		c := st.container("env", "S")
		c.Secrets = []ecstypes.Secret{{Name: new("S"), ValueFrom: &tt.from}}
		task := st.stopped(st.run(st.register(tt.name, nil, c), group))
		reason := str(task.StoppedReason)
		prefix := "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve " + tt.kind
		if task.StopCode != ecstypes.TaskStopCodeTaskFailedToStart || !strings.HasPrefix(reason, prefix) ||
			!strings.Contains(reason, "is not authorized to perform: "+tt.action+" on resource: arn:aws:") {
			t.Errorf("%s: stopped with %s %q", tt.name, task.StopCode, reason)
		}
	}
	c := st.container("env", "E")
	c.EnvironmentFiles = []ecstypes.EnvironmentFile{{Type: ecstypes.EnvironmentFileTypeS3, Value: new("arn:aws:s3:::nobodys-" + strings.ToLower(st.name) + "/e.env")}}
	task := st.stopped(st.run(st.register("file", nil, c), group))
	if reason := str(task.StoppedReason); task.StopCode != ecstypes.TaskStopCodeTaskFailedToStart || !strings.HasPrefix(reason,
		"ResourceInitializationError: failed to download env files: file download command: non empty error stream: failed to download file e.env: ") {
		t.Errorf("file: stopped with %s %q", task.StopCode, reason)
	}
}

// privateRegistry serves a registry behind a user name and a password, with
// the test tool in it.
func privateRegistry(t *testing.T, user, password string) (image string) {
	t.Helper()
	open := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
			return
		}
		open.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	content, err := os.ReadFile(built.tool)
	if err != nil {
		t.Fatal(err)
	}
	img, err := imagebuild.Build(imagebuild.Program("tool", content))
	if err != nil {
		t.Fatal(err)
	}
	image = strings.TrimPrefix(srv.URL, "http://") + "/team/tool:v1"
	if _, err := imagebuild.Push(t.Context(), image, img, imagebuild.Credentials{Username: user, Password: password}); err != nil {
		t.Fatal(err)
	}
	return image
}

// TestPrivateRegistry pulls from a registry that asks for a password: with
// the right one in a secret, with a wrong one, and without.
func TestPrivateRegistry(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	st.executionRole = st.reader()
	group := st.group("closed", 0, "")
	image := privateRegistry(t, "robot", "s3cret")
	pull := func(name, credentials string) ecstypes.Task {
		c := st.container("exit", "0")
		c.Image = &image
		if credentials != "" {
			c.RepositoryCredentials = &ecstypes.RepositoryCredentials{CredentialsParameter: &credentials}
		}
		definition := st.register(name, nil, c)
		out, err := st.ecs.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: &definition})
		if err != nil || (out.TaskDefinition.ContainerDefinitions[0].RepositoryCredentials != nil) != (credentials != "") {
			t.Errorf("the definition's credentials: %+v, %v", out, err)
		}
		return st.stopped(st.run(definition, group))
	}
	for _, tt := range []struct{ name, secret string }{{"without", ""}, {"wrong", st.secret("wrong", `{"username":"robot","password":"guess"}`)}} {
		task := pull(tt.name, tt.secret)
		if task.StopCode != ecstypes.TaskStopCodeTaskFailedToStart || !strings.HasPrefix(str(task.StoppedReason), "CannotPullContainerError: pull image manifest has been retried") ||
			!strings.Contains(str(task.StoppedReason), "failed to resolve ref "+image) || strings.Contains(str(task.StoppedReason), "guess") {
			t.Errorf("%s: stopped with %s %q", tt.name, task.StopCode, str(task.StoppedReason))
		}
		t.Log(str(task.StoppedReason))
	}
	task := pull("right", st.secret("right", `{"username":"robot","password":"s3cret"}`))
	if c := task.Containers[0]; c.ExitCode == nil || *c.ExitCode != 0 {
		t.Errorf("stopped with %s %q", task.StopCode, str(task.StoppedReason))
	}
	task = pull("malformed", st.secret("malformed", "robot:s3cret"))
	if want := "unable to retrieve secret from asm: service call has been retried 1 time(s): asm fetching authorization data: unable to unmarshal secret value, invalid schema"; !strings.HasSuffix(str(task.StoppedReason), want) {
		t.Errorf("stopped with %s %q", task.StopCode, str(task.StoppedReason))
	}
}
