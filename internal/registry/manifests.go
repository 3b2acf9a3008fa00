package registry

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/registry/manifest"
	"roadstead.dev/internal/registry/reference"
)

func (c *call) getManifest() error {
	ref, err := reference.Parse(c.last)
	if err != nil {
		return err
	}
	img, err := c.Registry.Catalog.Resolve(c.ctx, c.space, c.name, ref)
	if err != nil {
		return err
	}
	if !accepts(c.r.Header.Values("Accept"), img.MediaType) {
		return Errorf(ManifestUnknown, "manifest is %s, which the Accept header does not allow", img.MediaType)
	}
	h := c.w.Header()
	h.Set("Content-Type", img.MediaType)
	h.Set("Content-Length", strconv.FormatInt(img.Size, 10))
	h.Set("Docker-Content-Digest", img.Digest.String())
	etag := `"` + img.Digest.String() + `"`
	h.Set("ETag", etag)
	if slices.Contains(c.r.Header.Values("If-None-Match"), etag) {
		h.Del("Content-Length")
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if c.r.Method == http.MethodHead {
		return nil
	}
	_, body, err := c.Registry.Manifest(c.ctx, c.space, c.name, reference.Reference{Digest: img.Digest})
	if err != nil {
		h.Del("ETag")
		h.Del("Docker-Content-Digest")
		return err
	}
	_, _ = c.w.Write(body) // a client that left needs no answer
	return nil
}

// accepts tells whether a client takes a manifest of a type. One that names no
// kind of manifest takes what there is.
func accepts(headers []string, mediaType string) bool {
	picky := false
	for _, h := range headers {
		for part := range strings.SplitSeq(h, ",") {
			t, _, _ := strings.Cut(part, ";")
			switch t = strings.TrimSpace(t); t {
			case mediaType, "*/*", "application/*":
				return true
			case manifest.OCIManifest, manifest.OCIIndex, manifest.DockerManifest, manifest.DockerList:
				picky = true
			}
		}
	}
	return !picky
}

func (c *call) putManifest() error {
	ref, err := reference.Parse(c.last)
	if err != nil {
		return err
	}
	var tags []string
	if ref.Tag != "" {
		tags = []string{ref.Tag}
	} else {
		tags = c.r.URL.Query()["tag"]
	}
	for _, t := range tags {
		if err := reference.CheckTag(t); err != nil {
			return err
		}
	}
	if c.r.ContentLength > manifest.MaxSize {
		return Errorf(ManifestTooLarge, "")
	}
	body, err := io.ReadAll(io.LimitReader(c.body(), manifest.MaxSize+1))
	if err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	if len(body) > manifest.MaxSize {
		return Errorf(ManifestTooLarge, "")
	}
	img, m, _, err := c.Registry.PutManifest(c.ctx, c.space, c.name, body, c.r.Header.Get("Content-Type"), ref.Digest, tags)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Location", "/v2/"+c.name+"/manifests/"+img.Digest.String())
	h.Set("Docker-Content-Digest", img.Digest.String())
	if m.Subject != nil {
		h.Set("OCI-Subject", m.Subject.Digest)
	}
	if ref.Tag == "" {
		for _, t := range tags {
			h.Add("OCI-Tag", t)
		}
	}
	h.Set("Content-Length", "0")
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

func (c *call) deleteManifest() error {
	ref, err := reference.Parse(c.last)
	if err != nil {
		return err
	}
	if ref.Tag != "" {
		err = c.Registry.Catalog.DeleteTag(c.ctx, c.space, c.name, ref.Tag)
	} else {
		err = c.Registry.Catalog.DeleteManifest(c.ctx, c.space, c.name, ref.Digest)
	}
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

func (c *call) referrers() error {
	d, err := reference.ParseDigest(c.last)
	if err != nil {
		return err
	}
	artifactType := c.r.URL.Query().Get("artifactType")
	list, err := c.Registry.Catalog.Referrers(c.ctx, c.space, c.name, d, artifactType)
	if err != nil {
		return err
	}
	if list == nil {
		list = []manifest.Descriptor{}
	}
	if artifactType != "" {
		c.w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	return c.json(manifest.OCIIndex, struct {
		SchemaVersion int                   `json:"schemaVersion"`
		MediaType     string                `json:"mediaType"`
		Manifests     []manifest.Descriptor `json:"manifests"`
	}{2, manifest.OCIIndex, list})
}

func (c *call) tags() error {
	n, err := c.pageSize()
	if err != nil {
		return err
	}
	tags := []string{}
	more := false
	if n != 0 {
		list, err := c.Registry.Catalog.Tags(c.ctx, c.space, c.name, c.r.URL.Query().Get("last"), limit(n))
		if err != nil {
			return err
		}
		for _, t := range list {
			tags = append(tags, t.Name)
		}
		tags, more = page(tags, n)
	}
	if more {
		c.next("/v2/"+c.name+"/tags/list", n, tags[len(tags)-1])
	}
	return c.json("application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{c.name, tags})
}

// catalogPage is how many repositories are listed where the client sets no
// number.
const catalogPage = 1000

func (c *call) catalog() error {
	n, err := c.pageSize()
	if err != nil {
		return err
	}
	if n < 0 {
		n = catalogPage
	}
	names := []string{}
	more := false
	if n != 0 {
		list, err := c.Registry.Catalog.Repositories(c.ctx, c.space, c.r.URL.Query().Get("last"), limit(n))
		if err != nil {
			return err
		}
		names, more = page(append(names, list...), n)
	}
	if more {
		c.next("/v2/_catalog", n, names[len(names)-1])
	}
	return c.json("application/json", struct {
		Repositories []string `json:"repositories"`
	}{names})
}

// pageSize is the n of the query, -1 when there is none.
func (c *call) pageSize() (int, error) {
	s := c.r.URL.Query().Get("n")
	if s == "" {
		return -1, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, Errorf(PageInvalid, "")
	}
	return min(n, 100_000), nil
}

// limit asks for one more than a page, to know whether another follows.
func limit(n int) int {
	if n < 0 {
		return 0
	}
	return n + 1
}

func page(list []string, n int) ([]string, bool) {
	if n < 0 || len(list) <= n {
		return list, false
	}
	return list[:n], true
}

func (c *call) next(path string, n int, last string) {
	q := url.Values{"n": {strconv.Itoa(n)}, "last": {last}}
	c.w.Header().Set("Link", "<"+path+"?"+q.Encode()+`>; rel="next"`)
}

func (c *call) json(mediaType string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	c.w.Header().Set("Content-Type", mediaType)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = c.w.Write(b) // a client that left needs no answer
	return nil
}
