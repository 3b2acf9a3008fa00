package gateway

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/codec"
)

var errTooLarge = errors.New("body is too large")

// readBody reads the whole body, and the form where there is one.
func (g *Gateway) readBody(w http.ResponseWriter, r *request) error {
	var err error
	if r.raw, err = readLimited(http.MaxBytesReader(w, r.http.Body, g.cfg.MaxBody), r.http.ContentLength, g.cfg.MaxBody); err != nil {
		return err
	}
	r.body = r.raw
	switch r.http.Header.Get("Content-Encoding") {
	case "", "identity", "amz-1.0":
	case "gzip":
		if r.body, err = gunzip(r.raw, g.cfg.MaxBody); err != nil {
			return err
		}
	}
	if r.http.Header.Get("X-Amz-Target") != "" {
		return nil
	}
	if r.http.Method == http.MethodGet && r.query.Has("Action") {
		r.form = r.query
		return nil
	}
	if strings.HasPrefix(r.http.Header.Get("Content-Type"), "application/x-www-form-urlencoded") ||
		r.http.Method == http.MethodPost && bytes.Contains(r.body, []byte("Action=")) {
		if r.form, err = codec.ParseForm(string(r.body)); err != nil {
			return err
		}
		if !r.form.Has("Action") && r.query.Has("Action") {
			maps.Copy(r.form, r.query)
		}
	}
	return nil
}

func readLimited(body io.Reader, length, limit int64) ([]byte, error) {
	if length > limit {
		return nil, errTooLarge
	}
	var buf bytes.Buffer
	if length > 0 {
		buf.Grow(int(min(length+bytes.MinRead, 1<<20)))
	}
	if _, err := buf.ReadFrom(body); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, errTooLarge
		}
		return nil, &api.Fault{Code: "RequestTimeout", Message: "The request body could not be read."}
	}
	return buf.Bytes(), nil
}

func gunzip(b []byte, limit int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, &api.Fault{Code: "SerializationException", Message: "The body is not gzip."}
	}
	out, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil {
		return nil, &api.Fault{Code: "SerializationException", Message: "The body is not gzip."}
	}
	if int64(len(out)) > limit {
		return nil, errTooLarge
	}
	return out, nil
}
