package execution

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/model/acs"
)

func TestParseVariables(t *testing.T) {
	const text = "\ufeffA=1\r\n# a comment=x\n\n  B = \"quoted\" # kept\nno delimiter\n=no name\nEMPTY=\nURL=http://h/?a=b\nA=2\n #C=not at the beginning\nZERO=a\x00b\nLAST=no newline"
	want := map[string]string{"A": "2", "  B ": " \"quoted\" # kept", "URL": "http://h/?a=b", " #C": "not at the beginning", "LAST": "no newline"}
	if diff := cmp.Diff(want, parseVariables(text, false)); diff != "" {
		t.Error(diff)
	}
	want["EMPTY"] = ""
	if diff := cmp.Diff(want, parseVariables(text, true)); diff != "" {
		t.Error(diff)
	}
}

type files map[string]string

func (f files) Object(_ context.Context, _ *acs.Task, bucket, key string) ([]byte, error) {
	text, ok := f[bucket+"/"+key]
	if !ok {
		return nil, errors.New("NoSuchKey: The specified key does not exist.")
	}
	return []byte(text), nil
}

func TestFirstEnvironmentFileWins(t *testing.T) {
	f := EnvironmentFiles{Objects: files{"b/dir/1.env": "A=1\nB=1", "b/2.env": "B=2\nC=2"}}
	c := &acs.Container{EnvironmentFiles: []acs.EnvironmentFile{{Value: "arn:aws:s3:::b/dir/1.env"}, {Value: "arn:aws:s3:::b/2.env"}}}
	got, err := f.Variables(t.Context(), nil, c)
	if diff := cmp.Diff(map[string]string{"A": "1", "B": "1", "C": "2"}, got); err != nil || diff != "" {
		t.Error(diff, err)
	}
	for arn, want := range map[string]string{
		"arn:aws:s3:::b/dir/none.env": "file download command: non empty error stream: failed to download file none.env: failed to write to a temporary file: NoSuchKey: The specified key does not exist.",
		"arn:aws:s3:::b":              "the ARN of an environment file must name a bucket and an object",
		"s3://b/1.env":                `"s3://b/1.env" is not the ARN of an object in Amazon S3`,
	} {
		c.EnvironmentFiles = []acs.EnvironmentFile{{Value: arn}}
		if _, err := f.Variables(t.Context(), nil, c); err == nil || err.Error() != want {
			t.Errorf("%s: %v", arn, err)
		}
	}
}

func FuzzParseVariables(f *testing.F) {
	for _, s := range []string{"A=1\nB=2", "#", "=", "\ufeff", "A=\r\n", "A=b=c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, value := range parseVariables(text, true) {
			if name == "" || strings.ContainsAny(name, "=\n\x00") || strings.ContainsAny(value, "\n\x00") || !strings.Contains(text, name+"="+value) {
				t.Fatalf("%q=%q of %q", name, value, text)
			}
		}
	})
}
