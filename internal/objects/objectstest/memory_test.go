package objectstest

import (
	"errors"
	"io"
	"strings"
	"testing"

	"roadstead.dev/internal/objects"
)

func TestMemory(t *testing.T) {
	m, ctx := &Memory{}, t.Context()
	who := objects.Service("logdelivery.elasticloadbalancing.amazonaws.com", "000000000000", "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/*")
	at := objects.Location{Bucket: "logs", Key: "a/b"}
	if err := m.MayPut(ctx, who, at); !errors.Is(err, objects.ErrNoBucket) {
		t.Errorf("before there is a bucket: %v", err)
	}
	m.MakeBucket("logs", "000000000000", "us-east-1")
	if _, _, err := m.Get(ctx, who, at); !errors.Is(err, objects.ErrNoObject) {
		t.Errorf("before there is an object: %v", err)
	}
	put, err := m.Put(ctx, who, at, strings.NewReader("hello"), objects.PutOptions{})
	if err != nil || put.ETag != `"5d41402abc4b2a76b9719d911017c592"` {
		t.Fatalf("%+v, %v", put, err)
	}
	r, got, err := m.Get(ctx, who, at)
	if err != nil || got != put {
		t.Fatalf("%+v, %v", got, err)
	}
	if b, err := io.ReadAll(r); string(b) != "hello" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	m.Deny = func(objects.Principal, string, objects.Location) bool { return true }
	if _, _, err := m.Get(ctx, who, at); !errors.Is(err, objects.ErrDenied) {
		t.Errorf("denied: %v", err)
	}
	if keys := m.Keys("logs"); len(keys) != 1 || keys[0] != "a/b" {
		t.Errorf("keys %q", keys)
	}
}
