package model

import (
	"errors"
	"testing"
)

func TestParseARN(t *testing.T) {
	for in, want := range map[string]ARN{
		"arn:aws:ecs:us-east-1:000000000000:task/c/1":           {"aws", "ecs", "us-east-1", "000000000000", "task/c/1"},
		"arn:aws:iam::000000000000:role/path/name":              {"aws", "iam", "", "000000000000", "role/path/name"},
		"arn:aws:s3:::bucket/key:with:colons":                   {"aws", "s3", "", "", "bucket/key:with:colons"},
		"arn:aws-cn:logs:cn-north-1:000000000000:log-group:g:*": {"aws-cn", "logs", "cn-north-1", "000000000000", "log-group:g:*"},
	} {
		got, err := ParseARN(in)
		if err != nil || got != want {
			t.Errorf("%s: %+v %v", in, got, err)
		}
	}
	for _, in := range []string{"", "arn", "arn:aws:ecs:us-east-1:000000000000", "arn:aws:ecs:us-east-1:000000000000:", "ARN:aws:ecs:::x", "arn::ecs:::x", "arn:aws::::x"} {
		if _, err := ParseARN(in); !errors.Is(err, ErrARN) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestMakeARNKnowsThePartition(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1": "arn:aws:ecs:us-east-1:1:cluster/c", "cn-north-1": "arn:aws-cn:ecs:cn-north-1:1:cluster/c",
		"us-gov-west-1": "arn:aws-us-gov:ecs:us-gov-west-1:1:cluster/c", "": "arn:aws:ecs::1:cluster/c",
	} {
		if got := MakeARN("ecs", region, "1", "cluster/c"); got != want {
			t.Errorf("%q: %s, want %s", region, got, want)
		}
	}
}

// FuzzParseARN: what parses is written back as it was.
func FuzzParseARN(f *testing.F) {
	for _, s := range []string{"arn:aws:ecs:us-east-1:000000000000:task/c/1", "arn:aws:s3:::b", "arn:aws:ecs", ":::::", "arn:a:b:c:d:e:f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseARN(s)
		if err != nil {
			if !errors.Is(err, ErrARN) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if a.String() != s {
			t.Errorf("%q became %q", s, a)
		}
	})
}
