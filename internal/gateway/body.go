package gateway

import (
	"bytes"
	"crypto/md5" //nolint:gosec // what Content-MD5 is
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/awschunked"
	"roadstead.dev/internal/gateway/codec"
)

// readBody reads the body, and the form where there is one. Bodies that are not
// small are read only once the head has shown that somebody known sends them.
func (g *Gateway) readBody(w http.ResponseWriter, r *request) error {
	m, name := g.routes.find(r)
	if err := g.receive(w, r, m, name); err != nil {
		// What was read is thrown away: the answer may wait for the client.
		r.raw, r.body = nil, nil
		r.release()
		return bodyFault(m, err)
	}
	if m != nil && m.api.Protocol == api.RESTXML {
		return nil
	}
	if err := g.readForm(r); err != nil {
		return bodyFault(m, err)
	}
	return nil
}

// receive reads and expands the body of a request for an operation, as far as
// its head tells that; m is nil and name is empty where it does not.
func (g *Gateway) receive(w http.ResponseWriter, r *request, m *mounted, name string) error {
	content := r.http.Header.Get("X-Amz-Content-Sha256")
	chunked := awschunked.Announced(content)
	length := r.http.ContentLength
	if op := knownOperation(m, name); op != nil && streams(op) {
		return g.openStream(w, r, m, op)
	}
	if (r.http.Body == nil || r.http.Body == http.NoBody) && !chunked {
		return nil
	}
	limit := min(limitOf(m, name), g.cfg.MaxBody)
	encodings, err := encodingsOf(r.http.Header, chunked)
	if err != nil {
		return err
	}
	r.unread = true
	if length > limit && !chunked {
		return errTooLarge
	}
	var chain awschunked.Chain
	if length < 0 || length > smallBody || chunked {
		op := knownOperation(m, name)
		if m != nil && op == nil && !isQuery(m.protocol) {
			return nil // it is refused whatever the body says
		}
		signed, err := g.admit(r, m, op, &chain)
		if err != nil {
			return err
		}
		if !signed {
			if limit = min(limit, unsignedBody); length > limit || chunked {
				return errTooLarge
			}
		}
	}

	p := g.memory.newHold(w, r.http.Body)
	r.hold = p
	defer func() {
		if !p.done {
			p.doneReading(false)
		}
	}()
	var src io.Reader = p
	if chunked {
		length, err = strconv.ParseInt(r.http.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
		if err != nil || length < 0 {
			return errNoLength
		}
		if length > limit {
			return errTooLarge
		}
		if src, err = awschunked.NewReader(p, awschunked.Config{
			Content: content, Chain: chain, Length: length, Trailers: splitList(r.http.Header.Values("X-Amz-Trailer")),
		}); err != nil {
			return err
		}
	}
	ctx := r.http.Context()
	if r.raw, err = p.readAll(ctx, src, length, limit); err != nil {
		return err
	}
	r.unread = false
	p.doneReading(true)
	if given := r.http.Header.Get("Content-Md5"); given != "" && !chunked {
		if err := checkMD5(given, r.raw); err != nil {
			return err
		}
	}
	if m != nil && m.dialect.s3 && !chunked {
		if err := awschunked.Verify(r.http.Header, r.raw); err != nil {
			return err
		}
	}
	r.body = r.raw
	if len(encodings) > 0 {
		r.body, err = p.gunzip(ctx, r.raw, limit)
	}
	return err
}

func knownOperation(m *mounted, name string) *api.Operation {
	if m == nil {
		return nil
	}
	if op := m.api.Operation(name); op != nil && op.Invoke != nil {
		return op
	}
	return nil
}

// readForm finds the parameters of the query protocols.
func (g *Gateway) readForm(r *request) (err error) {
	if r.http.Header.Get("X-Amz-Target") != "" {
		return nil
	}
	if r.http.Method == http.MethodGet && r.query.Has("Action") {
		r.form = r.query
		return nil
	}
	if strings.HasPrefix(r.http.Header.Get("Content-Type"), "application/x-www-form-urlencoded") ||
		r.http.Method == http.MethodPost && (bytes.Contains(r.body, []byte("Action=")) || r.query.Has("Action")) {
		if r.form, err = codec.ParseForm(string(r.body)); err != nil {
			return err
		}
		if !r.form.Has("Action") && r.query.Has("Action") {
			maps.Copy(r.form, r.query)
		}
	}
	return nil
}

// encodingsOf lists how the content is encoded, aws-chunked apart. There is one
// encoding that is understood.
func encodingsOf(h http.Header, chunked bool) ([]string, error) {
	var encodings []string
	for _, e := range splitList(h.Values("Content-Encoding")) {
		switch e := strings.ToLower(e); e {
		case "identity", "amz-1.0":
		case "aws-chunked":
			if !chunked {
				return nil, malformed("The content encoding aws-chunked needs the header x-amz-content-sha256 to say how chunks are signed.")
			}
		case "gzip":
			encodings = append(encodings, e)
		default:
			return nil, malformed("The content encoding is not supported.")
		}
	}
	if len(encodings) > 1 {
		return nil, malformed("The content encoding is not supported.")
	}
	return encodings, nil
}

// splitList reads a header that is a list.
func splitList(values []string) []string {
	var out []string
	for _, v := range values {
		for e := range strings.SplitSeq(v, ",") {
			if e = strings.TrimSpace(e); e != "" {
				out = append(out, e)
			}
		}
	}
	return out
}

func checkMD5(given string, body []byte) error {
	want, err := base64.StdEncoding.DecodeString(given)
	if err != nil || len(want) != md5.Size {
		return &api.Fault{Code: "InvalidDigest", Message: "The Content-MD5 you specified was invalid."}
	}
	if sum := md5.Sum(body); !bytes.Equal(sum[:], want) { //nolint:gosec // as above
		return &api.Fault{Code: "BadDigest", Message: "The Content-MD5 you specified did not match what we received."}
	}
	return nil
}
