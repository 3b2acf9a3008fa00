package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/sync/errgroup"
)

// client speaks the distribution protocol as docker push and pull do, and does
// nothing with what it pulls, so that what is measured is the server.
type client struct {
	base string // scheme and authority
	auth string // Authorization header, or empty
	http *http.Client
}

// newClient makes a client that finds every host at address.
func newClient(host, address, user, password string) *client {
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	c := &client{base: "http://" + host, http: &http.Client{Transport: &http.Transport{
		DialContext: dial, MaxIdleConnsPerHost: 32, DisableCompression: true, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10,
	}}}
	if user != "" {
		c.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	return c
}

// layer is a blob: a head of its own before bytes that it shares.
type layer struct {
	head   []byte
	rest   []byte
	digest string
}

func newLayer(name string, rest []byte) layer {
	l := layer{head: []byte(name + "\n"), rest: rest}
	h := sha256.New()
	_, _ = h.Write(l.head)
	_, _ = h.Write(l.rest)
	l.digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return l
}

func (l layer) size() int64 { return int64(len(l.head) + len(l.rest)) }

func (l layer) open() io.Reader {
	return io.MultiReader(bytes.NewReader(l.head), bytes.NewReader(l.rest))
}

// layersAtOnce is how many of an image's layers are moved at a time, as docker
// does by default when it pulls.
const layersAtOnce = 3

// push uploads an image: each layer with POST, PATCH and PUT, then the manifest.
func (c *client) push(ctx context.Context, repository, tag string, config layer, layers []layer) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(layersAtOnce)
	for _, l := range append([]layer{config}, layers...) {
		g.Go(func() error { return c.pushBlob(gctx, repository, l) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int64  `json:"size"`
	}
	m := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}{2, manifestType, descriptor{"application/vnd.oci.image.config.v1+json", config.digest, config.size()}, nil}
	for _, l := range layers {
		m.Layers = append(m.Layers, descriptor{"application/vnd.oci.image.layer.v1.tar", l.digest, l.size()})
	}
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, http.MethodPut, c.base+"/v2/"+repository+"/manifests/"+tag, bytes.NewReader(body), int64(len(body)), http.StatusCreated, manifestType)
	return errors.Join(err, drain(resp))
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func (c *client) pushBlob(ctx context.Context, repository string, l layer) error {
	resp, err := c.do(ctx, http.MethodPost, c.base+"/v2/"+repository+"/blobs/uploads/", nil, 0, http.StatusAccepted, "") //nolint:bodyclose // location drains it
	if err != nil {
		return err
	}
	where, err := c.location(resp)
	if err != nil {
		return err
	}
	resp, err = c.do(ctx, http.MethodPatch, where.String(), l.open(), l.size(), http.StatusAccepted, "application/octet-stream") //nolint:bodyclose // location drains it
	if err != nil {
		return err
	}
	if where, err = c.location(resp); err != nil {
		return err
	}
	q := where.Query()
	q.Set("digest", l.digest)
	where.RawQuery = q.Encode()
	resp, err = c.do(ctx, http.MethodPut, where.String(), nil, 0, http.StatusCreated, "")
	return errors.Join(err, drain(resp))
}

func (c *client) location(resp *http.Response) (*url.URL, error) {
	if err := drain(resp); err != nil {
		return nil, err
	}
	base, err := url.Parse(c.base)
	if err != nil {
		return nil, err
	}
	return base.Parse(resp.Header.Get("Location"))
}

// pull reads the manifest and all blobs, and returns how many bytes those had.
// With check it compares their digests.
func (c *client) pull(ctx context.Context, repository, tag string, check bool) (int64, error) {
	resp, err := c.do(ctx, http.MethodGet, c.base+"/v2/"+repository+"/manifests/"+tag, nil, 0, http.StatusOK, "")
	if err != nil {
		return 0, err
	}
	var m struct {
		Config struct{ Digest string }
		Layers []struct{ Digest string }
	}
	err = json.NewDecoder(resp.Body).Decode(&m)
	if err := errors.Join(err, drain(resp)); err != nil {
		return 0, err
	}
	digests := []string{m.Config.Digest}
	for _, l := range m.Layers {
		digests = append(digests, l.Digest)
	}
	sizes := make([]int64, len(digests))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(layersAtOnce)
	for i, d := range digests {
		g.Go(func() error {
			resp, err := c.do(gctx, http.MethodGet, c.base+"/v2/"+repository+"/blobs/"+d, nil, 0, http.StatusOK, "")
			if err != nil {
				return err
			}
			defer func() { _ = resp.Body.Close() }()
			h := sha256.New()
			to := io.Discard
			if check {
				to = h
			}
			sizes[i], err = io.CopyBuffer(onlyWriter{to}, resp.Body, make([]byte, 256<<10))
			if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); err == nil && check && got != d {
				err = fmt.Errorf("%s came as %s", d, got)
			}
			return err
		})
	}
	err = g.Wait()
	total := int64(0)
	for _, n := range sizes {
		total += n
	}
	return total, err
}

type onlyWriter struct{ io.Writer }

func (c *client) do(ctx context.Context, method, to string, body io.Reader, size int64, want int, contentType string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if method == http.MethodGet {
		req.Header.Set("Accept", "*/*, "+manifestType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != want {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s %s: %s: %s", method, to, resp.Status, strings.TrimSpace(string(text)))
	}
	return resp, nil
}

// drain reads the rest of an answer, so that its connection is kept.
func drain(resp *http.Response) error {
	if resp == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}
