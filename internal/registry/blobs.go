package registry

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/reference"
)

const octets = "application/octet-stream"

// getBlob serves GET and HEAD, and ranges. The kernel copies the file to the
// connection.
func (c *call) getBlob() error {
	d, err := reference.ParseDigest(c.last)
	if err != nil {
		return err
	}
	if _, err := c.Registry.Catalog.Blob(c.ctx, c.space, c.name, d); err != nil {
		return err
	}
	f, err := c.Registry.Blobs.Open(c.space, d)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	h := c.w.Header()
	h.Set("Content-Type", octets)
	h.Set("Docker-Content-Digest", d.String())
	h.Set("ETag", `"`+d.String()+`"`)
	h.Set("Cache-Control", "max-age=31536000")
	if strings.Contains(c.r.Header.Get("Range"), ",") {
		// Many ranges cost more to answer than to ask for; the whole is an
		// answer, too.
		c.r.Header.Del("Range")
	}
	http.ServeContent(c.w, c.r, "", time.Time{}, f)
	return nil
}

func (c *call) deleteBlob() error {
	d, err := reference.ParseDigest(c.last)
	if err != nil {
		return err
	}
	if err := c.Registry.Catalog.UnlinkBlob(c.ctx, c.space, c.name, d); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// startUpload begins an upload, takes one whole blob, or mounts one that
// another repository has.
func (c *call) startUpload() error {
	q := c.r.URL.Query()
	if m := q.Get("mount"); m != "" {
		d, err := reference.ParseDigest(m)
		if err != nil {
			return err
		}
		ok, err := c.Registry.mount(c.ctx, c.space, c.name, q.Get("from"), d, c.mayRead)
		if err != nil {
			return err
		}
		if ok {
			return c.created(d)
		}
		// A blob that is not there is pushed instead.
	}
	id, err := c.Registry.Blobs.Start(c.space, c.name)
	if err != nil {
		return err
	}
	if s := q.Get("digest"); s != "" && q.Get("mount") == "" {
		err := c.single(id, s)
		if err != nil {
			_ = c.Registry.Blobs.Cancel(c.space, c.name, id) // or it has ended by itself
		}
		return err
	}
	c.uploadHeaders(id, 0)
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// single takes a blob that came with the request that starts its upload.
func (c *call) single(id, digest string) error {
	for _, action := range []string{actPart, actComplete} {
		if err := c.authorize(action, c.repository.ARN, c.repository.Policy); err != nil {
			return err
		}
	}
	d, err := reference.ParseDigest(digest)
	if err != nil {
		return err
	}
	return c.complete(id, d, blob.Part{At: 0, Body: c.body()})
}

func (c *call) complete(id string, d reference.Digest, last blob.Part) error {
	if _, err := c.Registry.CompleteUpload(c.ctx, c.space, c.name, id, d, last); err != nil {
		return err
	}
	return c.created(d)
}

func (c *call) uploadStatus() error {
	size, err := c.Registry.Blobs.Status(c.space, c.name, c.last)
	if err != nil {
		return err
	}
	c.uploadHeaders(c.last, size)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) patchUpload() error {
	part, err := c.part()
	if err != nil {
		return err
	}
	size, err := c.Registry.Blobs.Append(c.ctx, c.space, c.name, c.last, part)
	if err != nil {
		return c.rangeError(err, size)
	}
	c.uploadHeaders(c.last, size)
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

func (c *call) putUpload() error {
	d, err := reference.ParseDigest(c.r.URL.Query().Get("digest"))
	if err != nil {
		return err
	}
	part, err := c.part()
	if err != nil {
		return err
	}
	size, err := c.Registry.CompleteUpload(c.ctx, c.space, c.name, c.last, d, part)
	if err != nil {
		return c.rangeError(err, size)
	}
	return c.created(d)
}

// rangeError tells a client whose part does not fit where the upload is.
func (c *call) rangeError(err error, size int64) error {
	if errors.Is(err, blob.ErrOffset) {
		c.uploadHeaders(c.last, size)
	}
	return err
}

// part is what the request sends of an upload.
func (c *call) part() (blob.Part, error) {
	p := blob.Part{At: -1, Body: c.body()}
	if s := c.r.Header.Get("Content-Range"); s != "" {
		start, end, ok := ParseRange(s)
		if !ok {
			return p, Errorf(RangeInvalid, "")
		}
		switch n := c.r.ContentLength; {
		case n < 0:
			p.Body = &exactReader{r: p.Body, left: end - start + 1}
		case n != end-start+1:
			return p, Errorf(SizeInvalid, "")
		}
		p.At = start
	}
	return p, nil
}

// exactReader reads a body that must have a certain length.
type exactReader struct {
	r    io.Reader
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p[:min(int64(len(p)), e.left+1)])
	if int64(n) > e.left {
		return int(e.left), Errorf(SizeInvalid, "")
	}
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		err = Errorf(SizeInvalid, "")
	}
	return n, err
}

func (c *call) cancelUpload() error {
	if err := c.Registry.Blobs.Cancel(c.space, c.name, c.last); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// uploadHeaders tell where an upload goes on. The protocol has no way to say
// that nothing has arrived: 0-0 stands for that too.
func (c *call) uploadHeaders(id string, size int64) {
	h := c.w.Header()
	h.Set("Location", "/v2/"+c.name+"/blobs/uploads/"+id)
	h.Set("Docker-Upload-UUID", id)
	h.Set("Range", "0-"+strconv.FormatInt(max(size-1, 0), 10))
	h.Set("Content-Length", "0")
}

// created answers that the repository holds a blob.
func (c *call) created(d reference.Digest) error {
	h := c.w.Header()
	h.Set("Location", "/v2/"+c.name+"/blobs/"+d.String())
	h.Set("Docker-Content-Digest", d.String())
	h.Set("Content-Length", "0")
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// ParseRange reads the Content-Range of a part, which is not HTTP's:
// "<first>-<last>", both inclusive.
func ParseRange(s string) (first, last int64, ok bool) {
	dash := -1
	for i := range len(s) {
		switch {
		case s[i] == '-' && dash < 0:
			dash = i
		case s[i] < '0' || s[i] > '9':
			return 0, 0, false
		}
	}
	if dash < 0 {
		return 0, 0, false
	}
	first, err1 := strconv.ParseInt(s[:dash], 10, 64)
	last, err2 := strconv.ParseInt(s[dash+1:], 10, 64)
	if err1 != nil || err2 != nil || last < first || last == 1<<63-1 {
		return 0, 0, false
	}
	return first, last, true
}

// The query parameters of signed URLs.
const (
	signedExpires   = "X-Roadstead-Expires"
	signedSignature = "X-Roadstead-Signature"
)

// DownloadURL is a URL by which anybody may get a blob of a repository until
// expires. Authority is what the client reaches the server by.
func (h *Handler) DownloadURL(sp Space, name string, d reference.Digest, authority string, expires time.Time) string {
	path := "/v2/" + name + "/blobs/" + d.String()
	q := url.Values{
		signedExpires:   {strconv.FormatInt(expires.Unix(), 10)},
		signedSignature: {h.Signer.SignURL(expires, sp.Account, sp.Region, path)},
	}
	return "http://" + Host(sp, authority) + path + "?" + q.Encode()
}

// signedURL tells whether the request's URL is one that DownloadURL made.
func (c *call) signedURL() bool {
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		return false
	}
	q := c.r.URL.Query()
	sig := q.Get(signedSignature)
	if sig == "" {
		return false
	}
	sec, err := strconv.ParseInt(q.Get(signedExpires), 10, 64)
	return err == nil && c.Signer.VerifyURL(sig, c.Clock.Now(), time.Unix(sec, 0),
		c.space.Account, c.space.Region, c.r.URL.Path) == nil
}
