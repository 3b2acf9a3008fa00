package api

import (
	"errors"
	"fmt"
)

// Error is an error with a wire code. The gateway renders every Error by the
// protocol of its service; any other error becomes an internal failure whose
// cause is logged and not sent.
type Error interface {
	error
	// ErrorCode is the code on the wire.
	ErrorCode() string
	// ErrorMessage is what the caller reads.
	ErrorMessage() string
	// HTTPStatus is the status of the answer.
	HTTPStatus() int
}

// Fault is an Error whose code no model lists: EC2's codes, and those that all
// services share.
type Fault struct {
	Code    string
	Message string
	// Status is the HTTP status; 0 means 400.
	Status int
	// Details are further elements of the error, in S3's protocol alone.
	Details []Detail
	// Header is for the answer, in S3's protocol alone.
	Header map[string]string
}

// Detail is a further element of an error.
type Detail struct{ Name, Value string }

var _ Error = (*Fault)(nil)

// NewFault makes a caller's error with status 400.
func NewFault(code, format string, args ...any) *Fault {
	return &Fault{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *Fault) Error() string { return e.Code + ": " + e.Message }

// ErrorCode is the code on the wire.
func (e *Fault) ErrorCode() string { return e.Code }

// ErrorMessage is what the caller reads.
func (e *Fault) ErrorMessage() string { return e.Message }

// HTTPStatus is the status of the answer.
func (e *Fault) HTTPStatus() int {
	if e.Status == 0 {
		return 400
	}
	return e.Status
}

// Code is the wire code of err, or "" when it has none.
func Code(err error) string {
	if e, ok := errors.AsType[Error](err); ok {
		return e.ErrorCode()
	}
	return ""
}
