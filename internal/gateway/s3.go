package gateway

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/awschunked"
	"roadstead.dev/internal/gateway/sigv4"
	"roadstead.dev/internal/gateway/validate"
	"roadstead.dev/internal/model"
)

// bucketName is what a bucket may be called, roughly: the service knows better.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// s3Host is how S3's hosts are called: s3, s3-us-west-2, s3.us-west-2,
// s3.dualstack.us-west-2, behind the bucket where it is named.
var s3Host = regexp.MustCompile(`^(?:(.+)\.)?s3(?:[.-](?:dualstack\.)?[a-z]{2}(?:-[a-z]+)+-[0-9]+)?\.(?:localhost|amazonaws\.com(?:\.cn)?)$`)

// bucketHost is the bucket that a request's host names, and whether the host is
// S3's. A request that is signed for S3 may name a bucket before any host that
// ends in .localhost.
func (rs *routes) bucketHost(r *http.Request) (bucket string, s3 bool) {
	if len(rs.bySigning["s3"]) == 0 {
		return "", false
	}
	host := strings.ToLower(r.Host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	if m := s3Host.FindStringSubmatch(host); m != nil {
		return m[1], true
	}
	name, ok := strings.CutSuffix(host, ".localhost")
	if ok && bucketName.MatchString(name) && sigv4.ScopeService(r.Header, r.URL.Query()) == "s3" {
		return name, true
	}
	return "", false
}

// unsignedS3 is S3 for a request that is not signed and that it may be meant
// for: by the host, or by a path that begins with a bucket's name.
func (rs *routes) unsignedS3(r *request, action string) *mounted {
	ms := rs.bySigning["s3"]
	if len(ms) == 0 {
		return nil
	}
	if _, s3 := rs.bucketHost(r.http); s3 {
		return ms[0]
	}
	label, _, _ := strings.Cut(r.http.Host, ".")
	if action != "" || r.http.Header.Get("Authorization") != "" || rs.byHost[label] != nil {
		return nil
	}
	if bucket, _, _ := strings.Cut(strings.TrimPrefix(r.resource, "/"), "/"); bucketName.MatchString(bucket) {
		return ms[0]
	}
	return nil
}

const accessDenied = "Access Denied"

// s3Dialect is S3's. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func s3Dialect() dialect {
	forbidden := func(code, message string) api.Fault {
		return api.Fault{Code: code, Message: message, Status: http.StatusForbidden}
	}
	return dialect{
		s3:         true,
		missing:    forbidden("AccessDenied", accessDenied),
		incomplete: api.Fault{Code: "AuthorizationHeaderMalformed"},
		unknownKey: forbidden("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
		badToken:   api.Fault{Code: "InvalidToken", Message: "The provided token is malformed or otherwise invalid."},
		expiredToken: api.Fault{
			Code: "ExpiredToken", Message: "The provided token has expired.",
		},
		badSignature:  forbidden("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method."),
		badPayload:    api.Fault{Code: "XAmzContentSHA256Mismatch", Message: "The provided 'x-amz-content-sha256' header does not match what was computed."},
		badScope:      api.Fault{Code: "AuthorizationHeaderMalformed"},
		outOfTime:     forbidden("RequestTimeTooSkewed", "The difference between the request time and the current time is too large."),
		presignedPast: forbidden("AccessDenied", "Request has expired"),
		denied:        forbidden("AccessDenied", ""),
		tooLarge:      api.Fault{Code: "EntityTooLarge", Message: "Your proposed upload exceeds the maximum allowed size"},
		throttled:     api.Fault{Code: "SlowDown", Message: "Please reduce your request rate.", Status: http.StatusServiceUnavailable},
		invalid:       api.Fault{Code: "InvalidArgument"},
		internal:      api.Fault{Code: "InternalError", Message: "We encountered an internal error. Please try again.", Status: http.StatusInternalServerError},
		unknownOp: func(string, string) *api.Fault {
			return &api.Fault{Code: "NotImplemented", Message: "A header or query you provided implies functionality that is not implemented.", Status: http.StatusNotImplemented}
		},
		constraint: s3Constraint,
		anywhere:   true,
	}
}

// s3Constraint is S3's: the schema's own error for bodies, and an argument's.
func s3Constraint(vs []validate.Violation) *api.Fault {
	v := &vs[0]
	at := v.Path[0].Member
	if at != nil && at.Location == api.Body {
		if v.Rule == validate.Required && len(v.Path) == 1 {
			return &api.Fault{Code: "MissingRequestBodyError", Message: "Request Body is empty"}
		}
		return &api.Fault{Code: "MalformedXML", Message: "The XML you provided was not well-formed or did not validate against our published schema"}
	}
	if at != nil && at.Wire() == "x-amz-storage-class" {
		return &api.Fault{Code: "InvalidStorageClass", Message: "The storage class you specified is not valid"}
	}
	f := &api.Fault{Code: "InvalidArgument", Message: "Invalid Argument"}
	if at != nil {
		f.Details = []api.Detail{{Name: "ArgumentName", Value: at.Wire()}, {Name: "ArgumentValue", Value: v.Value}}
	}
	return f
}

// s3Denied is a denial as S3 words it: to who is known in the account, why.
func s3Denied(d *dialect, c *api.Call, denied *model.Denied) *api.Fault {
	if c.Identity.Anonymous {
		return with(d.denied, accessDenied)
	}
	return with(d.denied, "User: "+c.Identity.ARN+" is not authorized to perform: "+denied.Action+` on resource: "`+denied.Resource+`" `+denied.Reason)
}

// s3BodyFault is what S3 says of bodies in words of its own; nil where it says
// what all say.
func s3BodyFault(err error) *api.Fault {
	switch {
	case errors.Is(err, errNoContentHash):
		return &api.Fault{Code: "InvalidRequest", Message: "Missing required header for this request: x-amz-content-sha256"}
	case errors.Is(err, errNoLength):
		return &api.Fault{Code: "MissingContentLength", Message: "You must provide the Content-Length HTTP header.", Status: http.StatusLengthRequired}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &api.Fault{Code: "RequestTimeout", Message: "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed."}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errUnread), errors.Is(err, awschunked.ErrIncomplete), errors.Is(err, awschunked.ErrLength):
		return &api.Fault{Code: "IncompleteBody", Message: "You did not provide the number of bytes specified by the Content-Length HTTP header"}
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, awschunked.ErrMalformed):
		return &api.Fault{Code: "InvalidRequest", Message: "The body is not encoded as its headers say."}
	case errors.Is(err, errBusy):
		return &api.Fault{Code: "ServiceUnavailable", Message: "Service is unable to handle request.", Status: http.StatusServiceUnavailable}
	}
	return nil
}
