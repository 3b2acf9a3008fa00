// Package objectstest has buckets in memory, for the tests of those who use
// package objects.
package objectstest

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what ETags are
	"encoding/hex"
	"fmt"
	"io"
	"sync"

	"roadstead.dev/internal/objects"
)

// Memory holds buckets and objects. The zero value has none.
type Memory struct {
	// Deny, where it is set, says whether a principal is refused; action is
	// s3:GetObject or s3:PutObject.
	Deny func(who objects.Principal, action string, at objects.Location) bool
	// Fail, where it is set, is what writing the object fails with.
	Fail func(at objects.Location) error

	mu      sync.Mutex
	buckets map[string]objects.BucketInfo
	objects map[objects.Location][]byte
}

var (
	_ objects.Buckets = (*Memory)(nil)
	_ objects.Reader  = (*Memory)(nil)
	_ objects.Writer  = (*Memory)(nil)
)

// MakeBucket makes a bucket.
func (m *Memory) MakeBucket(name, account, region string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.buckets == nil {
		m.buckets, m.objects = map[string]objects.BucketInfo{}, map[objects.Location][]byte{}
	}
	m.buckets[name] = objects.BucketInfo{Account: account, Region: region}
}

// Set makes an object, or a version of it.
func (m *Memory) Set(at objects.Location, content string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[at] = []byte(content)
}

// Content is what an object holds; false where there is none.
func (m *Memory) Content(bucket, key string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[objects.Location{Bucket: bucket, Key: key}]
	return string(b), ok
}

// Keys lists a bucket's objects, in no order.
func (m *Memory) Keys(bucket string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for at := range m.objects {
		if at.Bucket == bucket && at.Version == "" {
			keys = append(keys, at.Key)
		}
	}
	return keys
}

// Bucket implements objects.Buckets.
func (m *Memory) Bucket(_ context.Context, name string) (objects.BucketInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.buckets[name]
	if !ok {
		return b, fmt.Errorf("%s: %w", name, objects.ErrNoBucket)
	}
	return b, nil
}

func (m *Memory) may(ctx context.Context, who objects.Principal, action string, at objects.Location) error {
	if _, err := m.Bucket(ctx, at.Bucket); err != nil {
		return err
	}
	if m.Deny != nil && m.Deny(who, action, at) {
		return fmt.Errorf("%s: %w", at.ARN(), objects.ErrDenied)
	}
	return nil
}

// Get implements objects.Reader.
func (m *Memory) Get(ctx context.Context, who objects.Principal, at objects.Location) (io.ReadCloser, objects.Info, error) {
	if err := m.may(ctx, who, "s3:GetObject", at); err != nil {
		return nil, objects.Info{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[at]
	switch {
	case ok:
		return io.NopCloser(bytes.NewReader(b)), info(at, b), nil
	case at.Version != "":
		return nil, objects.Info{}, fmt.Errorf("%s: %w", at.ARN(), objects.ErrNoVersion)
	}
	return nil, objects.Info{}, fmt.Errorf("%s: %w", at.ARN(), objects.ErrNoObject)
}

// MayPut implements objects.Writer.
func (m *Memory) MayPut(ctx context.Context, who objects.Principal, at objects.Location) error {
	return m.may(ctx, who, "s3:PutObject", at)
}

// Put implements objects.Writer.
func (m *Memory) Put(ctx context.Context, who objects.Principal, at objects.Location, body io.Reader, _ objects.PutOptions) (objects.Info, error) {
	if err := m.MayPut(ctx, who, at); err != nil {
		return objects.Info{}, err
	}
	if m.Fail != nil {
		if err := m.Fail(at); err != nil {
			return objects.Info{}, err
		}
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return objects.Info{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at.Version = ""
	m.objects[at] = b
	return info(at, b), nil
}

func info(at objects.Location, b []byte) objects.Info {
	sum := md5.Sum(b) //nolint:gosec // as above
	return objects.Info{Size: int64(len(b)), ETag: `"` + hex.EncodeToString(sum[:]) + `"`, Version: at.Version}
}
