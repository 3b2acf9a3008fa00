package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/manifest"
	"roadstead.dev/internal/registry/reference"
)

// Code is an error code of the OCI distribution protocol.
type Code string

// The codes that are answered.
const (
	BlobUnknown         Code = "BLOB_UNKNOWN"
	BlobUploadInvalid   Code = "BLOB_UPLOAD_INVALID"
	BlobUploadUnknown   Code = "BLOB_UPLOAD_UNKNOWN"
	DigestInvalid       Code = "DIGEST_INVALID"
	ManifestBlobUnknown Code = "MANIFEST_BLOB_UNKNOWN"
	ManifestInvalid     Code = "MANIFEST_INVALID"
	ManifestUnknown     Code = "MANIFEST_UNKNOWN"
	NameInvalid         Code = "NAME_INVALID"
	NameUnknown         Code = "NAME_UNKNOWN"
	SizeInvalid         Code = "SIZE_INVALID"
	TagInvalid          Code = "TAG_INVALID"
	PageInvalid         Code = "PAGINATION_NUMBER_INVALID"
	Unauthorized        Code = "UNAUTHORIZED"
	TokenInvalid        Code = "TOKEN_INVALID"
	Denied              Code = "DENIED"
	Unsupported         Code = "UNSUPPORTED"
	TooManyRequests     Code = "TOOMANYREQUESTS"
	RangeInvalid        Code = "RANGE_INVALID"
	UploadBusy          Code = "UPLOAD_BUSY"
	ManifestTooLarge    Code = "MANIFEST_TOO_LARGE"
	Unknown             Code = "UNKNOWN"
)

// wire is how a code travels. Some that the registry tells apart have the same
// code on the wire.
var wire = map[Code]struct {
	code    Code
	status  int
	message string
}{
	BlobUnknown:         {BlobUnknown, http.StatusNotFound, "blob unknown to registry"},
	BlobUploadInvalid:   {BlobUploadInvalid, http.StatusBadRequest, "blob upload invalid"},
	BlobUploadUnknown:   {BlobUploadUnknown, http.StatusNotFound, "blob upload unknown to registry"},
	DigestInvalid:       {DigestInvalid, http.StatusBadRequest, "provided digest did not match uploaded content"},
	ManifestBlobUnknown: {ManifestBlobUnknown, http.StatusBadRequest, "manifest references content that is unknown to the repository"},
	ManifestInvalid:     {ManifestInvalid, http.StatusBadRequest, "manifest invalid"},
	ManifestUnknown:     {ManifestUnknown, http.StatusNotFound, "Requested image not found"},
	NameInvalid:         {NameInvalid, http.StatusBadRequest, "invalid repository name"},
	NameUnknown:         {NameUnknown, http.StatusNotFound, "repository name not known to registry"},
	SizeInvalid:         {SizeInvalid, http.StatusBadRequest, "provided length did not match content length"},
	TagInvalid:          {TagInvalid, http.StatusBadRequest, "manifest tag did not match URI"},
	PageInvalid:         {PageInvalid, http.StatusBadRequest, "invalid number of results requested"},
	Unauthorized:        {Unauthorized, http.StatusUnauthorized, "authentication required"},
	TokenInvalid:        {Denied, http.StatusBadRequest, "Your Authorization Token is invalid."},
	Denied:              {Denied, http.StatusForbidden, "requested access to the resource is denied"},
	Unsupported:         {Unsupported, http.StatusMethodNotAllowed, "The operation is unsupported."},
	TooManyRequests:     {TooManyRequests, http.StatusTooManyRequests, "too many requests"},
	RangeInvalid:        {BlobUploadInvalid, http.StatusRequestedRangeNotSatisfiable, "range is not where the upload continues"},
	UploadBusy:          {BlobUploadInvalid, http.StatusConflict, "another request writes to the upload"},
	ManifestTooLarge:    {SizeInvalid, http.StatusRequestEntityTooLarge, "manifest is larger than 4 MiB"},
	Unknown:             {Unknown, http.StatusInternalServerError, "unknown error"},
}

// Error is an error that the protocol knows. Its message is read by users.
type Error struct {
	Code    Code
	Message string
	// Detail is the digests of what is missing, where that is the error.
	Detail []string
}

// Errorf makes an Error. An empty format takes the code's own message.
func Errorf(code Code, format string, args ...any) *Error {
	msg := wire[code].message
	if format != "" {
		msg = fmt.Sprintf(format, args...)
	}
	return &Error{Code: code, Message: msg}
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Is makes errors.Is compare codes alone.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// CodeOf is the code of err, Unknown when it has none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Unknown
}

// classes are the errors of the packages below, and what they are here.
var classes = []struct {
	err  error
	code Code
	// own tells that the error's text is meant for the user.
	own bool
}{
	{reference.ErrName, NameInvalid, true},
	{reference.ErrTag, TagInvalid, true},
	{manifest.ErrInvalid, ManifestInvalid, true}, // before what it may wrap
	{reference.ErrDigest, DigestInvalid, true},
	{blob.ErrNotFound, BlobUnknown, false},
	{blob.ErrUploadNotFound, BlobUploadUnknown, false},
	{blob.ErrUploadBusy, UploadBusy, false},
	{blob.ErrOffset, RangeInvalid, false},
	{blob.ErrDigest, DigestInvalid, false},
	{blob.ErrTooLarge, SizeInvalid, true},
	{blob.ErrTooManyUploads, TooManyRequests, true},
}

// asError gives every error its code; nil means that it has none.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	for _, c := range classes {
		if errors.Is(err, c.err) {
			if c.own {
				return Errorf(c.code, "%s", err.Error())
			}
			return Errorf(c.code, "")
		}
	}
	return nil
}

// writeError answers in the protocol's form.
func writeError(w http.ResponseWriter, e *Error) {
	t := wire[e.Code]
	type item struct {
		Code    Code     `json:"code"`
		Message string   `json:"message"`
		Detail  []string `json:"detail,omitempty"`
	}
	// Strings marshal whatever they hold.
	b, _ := json.Marshal(struct {
		Errors []item `json:"errors"`
	}{[]item{{t.code, e.Message, e.Detail}}})
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(t.status)
	_, _ = w.Write(b) // the client may be gone
}
