package gateway

import (
	"errors"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/awschunked"
	"roadstead.dev/internal/gateway/sigv4"
)

// admit verifies what a request's head shows of who sent it, before a body
// that is not small is read. Signed is false where the request may go without
// a signature, or may not be this service's. The chain is filled where the
// body's chunks are signed.
func (g *Gateway) admit(r *request, m *mounted, op *api.Operation, chain *awschunked.Chain) (signed bool, err error) {
	if m == nil {
		return false, nil
	}
	sig, err := sigv4.Parse(r.http.Header, r.query)
	if err != nil {
		if errors.Is(err, sigv4.ErrMissing) && (op == nil || op.Unsigned) {
			return false, nil
		}
		return false, signatureFault(&m.dialect, err)
	}
	if err := sig.Check(m.api.SigningName, r.received); err != nil {
		return false, signatureFault(&m.dialect, err)
	}
	secret, _, _, err := g.lookup(r.http.Context(), r.http, sig.AccessKeyID, sig.SessionToken)
	if err != nil {
		return false, signatureFault(&m.dialect, err)
	}
	// Where the hash of the body is a signed header, the signature can be
	// verified now, and the body against the hash later. The chunks of a body
	// are verified one by one, beginning with this signature.
	payload := r.http.Header.Get("X-Amz-Content-Sha256")
	if payload != "" && slices.Contains(sig.SignedHeaders, "x-amz-content-sha256") || awschunked.Announced(payload) {
		head := r.signed()
		if err := sig.VerifyHead(&head, secret, payload); err != nil {
			return false, signatureFault(&m.dialect, err)
		}
		*chain = sig.Chain(secret)
	}
	return true, nil
}

// signed is what a signature covers of the request, but the body.
func (r *request) signed() sigv4.Request {
	return sigv4.Request{
		Method: r.http.Method, Path: r.path, RawQuery: r.http.URL.RawQuery, Host: r.http.Host,
		Header: r.http.Header, ContentLength: r.http.ContentLength, TransferEncoding: r.http.TransferEncoding,
	}
}
