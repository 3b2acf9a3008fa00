package gateway

import (
	"compress/gzip"
	"errors"
	"net/http"
	"os"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/awschunked"
)

// What is wrong with a body before anybody has looked into it.
var (
	errTooLarge = errors.New("body is too large")
	errBusy     = errors.New("there is no memory for the body")
	errNoLength = errors.New("the length of the chunked body is not announced")
	errUnread   = errors.New("the body cannot be read")
)

func malformed(message string) error {
	return &api.Fault{Code: "MalformedHttpRequestException", Message: message}
}

// bodyFault words what is wrong with a body as the service does, or as AWS's
// services do in common.
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
func bodyFault(m *mounted, err error) error {
	d := queryDialect()
	query, ec2 := true, false
	if m != nil {
		d, query, ec2 = m.dialect, isQuery(m.protocol), m.api.Protocol == api.EC2Query
	}
	if ce, ok := errors.AsType[*awschunked.ChecksumError](err); ok {
		return &api.Fault{Code: "BadDigest", Message: ce.Error()}
	}
	if m != nil && d.s3 {
		if f := s3BodyFault(err); f != nil {
			return f
		}
	}
	switch {
	case errors.Is(err, errTooLarge):
		return new(d.tooLarge)
	case errors.Is(err, errBusy):
		f := &api.Fault{Code: "ServiceUnavailable", Message: "The request has failed due to a temporary failure of the server.", Status: http.StatusServiceUnavailable}
		if ec2 {
			f.Code, f.Message = "Unavailable", "The server is overloaded and can't handle the request."
		}
		return f
	case errors.Is(err, os.ErrDeadlineExceeded):
		f := &api.Fault{Code: "RequestTimeoutException", Message: "Your socket connection to the server was not read from or written to within the timeout period.", Status: http.StatusRequestTimeout}
		if query {
			f.Code = "RequestTimeout"
		}
		return f
	case errors.Is(err, errNoLength):
		return &api.Fault{Code: "MissingContentLength", Message: "You must provide the x-amz-decoded-content-length HTTP header.", Status: http.StatusLengthRequired}
	case errors.Is(err, awschunked.ErrSignature):
		return new(d.badSignature)
	case errors.Is(err, awschunked.ErrIncomplete), errors.Is(err, awschunked.ErrLength):
		return &api.Fault{Code: "IncompleteBody", Message: "You did not provide the number of bytes specified by the Content-Length HTTP header"}
	case errors.Is(err, awschunked.ErrChunkSize):
		return &api.Fault{Code: "InvalidChunkSizeError", Message: "Only the last chunk is allowed to have a size less than 8192 bytes", Status: http.StatusForbidden}
	case errors.Is(err, awschunked.ErrTrailer):
		return &api.Fault{Code: "MalformedTrailerError", Message: "The request contained trailing data that was not well-formed or did not conform to our published schema."}
	case errors.Is(err, awschunked.ErrMalformed):
		return malformed("The body is not in chunks as the header x-amz-content-sha256 announces.")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return malformed("The body is not gzip.")
	case errors.Is(err, errUnread):
		return &api.Fault{Code: "RequestAbortedException", Message: "The request was aborted before its body was read."}
	}
	return err
}
