// Package s3 serves Amazon S3: buckets and objects. What is known of an object
// is a record; its bytes are files (package contents). There are no access
// control lists: buckets own their objects, as new ones do on AWS.
package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/service/s3/contents"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Authorizer weighs policies for those who ask in-process.
type Authorizer interface {
	// AuthorizeResource asks for the permission of a call's identity on a
	// resource with a policy, of the account owner; a *model.Denied refuses.
	AuthorizeResource(ctx context.Context, c *api.Call, action, resource, owner, text string, conditions map[string]string) error
	// AuthorizeService asks whether the policy lets in an AWS service, or one of
	// the accounts that stand for it.
	AuthorizeService(ctx context.Context, service, sourceAccount, sourceARN string, accounts []string, action, resource, text string, conditions map[string]string) error
}

// Config is what a Service needs. All of it is required but Log.
type Config struct {
	Store    store.Store
	Contents *contents.Store
	Clock    clock.Clock
	// Authorizer is asked for those who read and write in-process.
	Authorizer Authorizer
	Log        *slog.Logger
}

// Service implements s3.Handler.
type Service struct{ Config }

var (
	_ s3.Handler           = (*Service)(nil)
	_ api.ResourceScoper   = (*Service)(nil)
	_ api.ResourcePolicies = (*Service)(nil)
	_ api.ActionNamer      = (*Service)(nil)
)

// New makes a Service.
func New(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{c}
}

// bucketRow is a bucket's record.
type bucketRow = store.Row[model.S3Bucket]

// lookup finds a bucket wherever it is; ErrNotFound where there is none.
func (s *Service) lookup(ctx context.Context, name string) (bucketRow, error) {
	owner, err := tables.S3BucketNames.Get(ctx, s.Store, "", "", name)
	if err != nil {
		return bucketRow{}, err
	}
	return tables.S3Buckets.Get(ctx, s.Store, owner.V.Account, owner.V.Region, name)
}

// bucket finds the bucket that a request names. expectedOwner is the account
// that the client thinks owns it, where it says.
func (s *Service) bucket(ctx context.Context, name, expectedOwner *string) (bucketRow, error) {
	return s.bucketOf(ctx, *name, str(expectedOwner))
}

func (s *Service) bucketOf(ctx context.Context, name, expectedOwner string) (bucketRow, error) {
	c := api.CallFrom(ctx)
	if !validName(name) {
		return bucketRow{}, invalidBucketName(name)
	}
	b, err := s.lookup(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return b, noSuchBucket(name)
	case err != nil:
		return b, fmt.Errorf("read bucket: %w", err)
	case expectedOwner != "" && expectedOwner != b.Key.Account:
		return b, errDenied
	case c.Region != b.Key.Region && !c.Identity.Anonymous:
		return b, wrongRegion(c, b)
	}
	return b, nil
}

// fault makes an error of S3's.
func fault(status int, code, message string, details ...api.Detail) *api.Fault {
	return &api.Fault{Code: code, Message: message, Status: status, Details: details}
}

func detail(name, value string) api.Detail { return api.Detail{Name: name, Value: value} }

var (
	errDenied     = fault(http.StatusForbidden, "AccessDenied", "Access Denied")
	errContended  = fault(http.StatusConflict, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.")
	errBadDigest  = fault(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.")
	errACLs       = fault(http.StatusBadRequest, "AccessControlListNotSupported", "The bucket does not allow ACLs")
	errBadVersion = fault(http.StatusBadRequest, "InvalidArgument", "Invalid version id specified", detail("ArgumentName", "versionId"))
)

func noSuchBucket(name string) error {
	return fault(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist", detail("BucketName", name))
}

func noSuchKey(key string) *api.Fault {
	return fault(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.", detail("Key", key))
}

func noSuchVersion(key, version string) error {
	return fault(http.StatusNotFound, "NoSuchVersion", "The specified version does not exist.", detail("Key", key), detail("VersionId", version))
}

func invalidArgument(message, name, value string) error {
	return fault(http.StatusBadRequest, "InvalidArgument", message, detail("ArgumentName", name), detail("ArgumentValue", value))
}

// wrongRegion sends a client to the bucket's region, as S3's own SDKs follow.
func wrongRegion(c *api.Call, b bucketRow) error {
	f := fault(http.StatusMovedPermanently, "PermanentRedirect",
		"The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.",
		detail("Endpoint", c.Host), detail("Bucket", b.V.Name))
	f.Header = map[string]string{"X-Amz-Bucket-Region": b.Key.Region}
	return f
}

// notImplemented refuses what would have to act and cannot.
func notImplemented(what string) error {
	return fault(http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented.", detail("Header", what))
}

func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// opt is nil for what is empty, as answers leave it out.
func opt(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func isTrue(p *bool) bool { return p != nil && *p }

// now is the time of a call as records and answers have it.
func now(ctx context.Context) time.Time {
	return api.CallFrom(ctx).Time.UTC().Truncate(time.Millisecond)
}
