// Package objects is what the rest of Roadstead sees of Amazon S3: objects that
// a load balancer's trust store or a container's environment is read from, and
// that access logs are written to. Who uses it declares the part that it needs
// (Reader, Writer) and is given the service of S3; tests give it
// objectstest.Memory.
//
// Everything is asked for in somebody's name. What bucket policies and the
// policies of the principal say of it decides, as for a request over HTTP.
package objects

import (
	"context"
	"errors"
	"io"
	"time"

	"roadstead.dev/internal/api"
)

// What can be wrong, wrapped. Anything else is an internal failure.
var (
	// ErrNoBucket: there is no bucket of the name.
	ErrNoBucket = errors.New("the bucket does not exist")
	// ErrNoObject: the bucket has no such object, or its newest version is a
	// delete marker.
	ErrNoObject = errors.New("the object does not exist")
	// ErrNoVersion: the object has no such version.
	ErrNoVersion = errors.New("the version of the object does not exist")
	// ErrDenied: the principal may not. It wraps a *model.Denied too, which
	// says why.
	ErrDenied = errors.New("access to the object is denied")
)

// Principal is in whose name something is read or written.
type Principal struct {
	// Call is that of a caller, or of a role's session; its identity's policies
	// decide together with the bucket's. Nil for an AWS service.
	Call *api.Call
	// Service is an AWS service's principal, which the bucket's policy must let
	// in by name: logdelivery.elasticloadbalancing.amazonaws.com.
	Service string
	// SourceAccount and SourceARN are on whose behalf the service acts: the
	// condition keys aws:SourceAccount and aws:SourceArn.
	SourceAccount, SourceARN string
	// Accounts are AWS's own accounts that a policy may name in the service's
	// stead: policies for access logs name Elastic Load Balancing's account of
	// the region.
	Accounts []string
}

// Caller is who made a call.
func Caller(c *api.Call) Principal { return Principal{Call: c} }

// Service is an AWS service that acts for a resource of an account.
func Service(name, sourceAccount, sourceARN string, accounts ...string) Principal {
	return Principal{Service: name, SourceAccount: sourceAccount, SourceARN: sourceARN, Accounts: accounts}
}

// Location is where an object is. An empty Version means the newest one; Put
// takes none.
type Location struct{ Bucket, Key, Version string }

// ARN is the object's.
func (l Location) ARN() string { return "arn:aws:s3:::" + l.Bucket + "/" + l.Key }

// Info tells of an object.
type Info struct {
	// Size in bytes.
	Size int64
	// ETag in double quotes, as it travels.
	ETag        string
	ContentType string
	Modified    time.Time
	// Version is empty where the bucket was never versioned.
	Version string
}

// BucketInfo tells of a bucket.
type BucketInfo struct {
	// Account that owns it.
	Account string
	Region  string
}

// PutOptions are what an object is written with. The zero value will do.
type PutOptions struct {
	// ContentType; default binary/octet-stream.
	ContentType     string
	ContentEncoding string
}

// Buckets finds buckets.
type Buckets interface {
	// Bucket tells of a bucket, whoever asks; ErrNoBucket where there is none.
	Bucket(ctx context.Context, name string) (BucketInfo, error)
}

// Reader reads objects.
type Reader interface {
	// Get opens an object; the caller closes what it returns, which stays
	// readable when the object is removed or replaced meanwhile. The principal
	// needs s3:GetObject, or s3:GetObjectVersion for a version by its id.
	Get(ctx context.Context, who Principal, at Location) (io.ReadCloser, Info, error)
}

// Writer writes objects.
type Writer interface {
	// MayPut tells whether the principal could write the object now: nil, or
	// ErrNoBucket, or ErrDenied. It needs s3:PutObject.
	MayPut(ctx context.Context, who Principal, at Location) error
	// Put writes an object in place of the one that is there. When it returns
	// nil, the object is on disk. Nothing changes when body fails.
	Put(ctx context.Context, who Principal, at Location, body io.Reader, o PutOptions) (Info, error)
}
