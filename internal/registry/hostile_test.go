package registry_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/registrytest"
	"roadstead.dev/internal/registry/token"
)

func start(t *testing.T, s *registrytest.Server) string {
	t.Helper()
	resp := s.Request(t, "POST", "/v2/web/blobs/uploads/", "", nil)
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("start: %d %s", resp.StatusCode, body(t, resp))
	}
	return resp.Header.Get("Location")
}

func digestOf(s string) string { return blob.Sum([]byte(s)).String() }

// Names are what they are: no way of writing one leads elsewhere.
func TestPathTricks(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	d := digestOf("x")
	for _, name := range []string{
		"..", "../web", "web/..", "web/../web", "%2e%2e", "%2e%2e%2fweb", "..%2fweb", "web%2f..%2fweb", "web/%2e%2e/web", "%252e%252e", "./web", "web/.", "web//x", "/web", "%2fweb", "web%2f%2fx",
		"web%00", "web%00/x", "%00", "WEB", "Web", "wEb/x", "w", strings.Repeat("a", 257), strings.Repeat("a/", 150) + "a", "web%20", "%20web", "web%0a", "web%0d%0aX-Y:%20z", "web%5c..", "wéb", "web%ff", "-web", "web-", "web.", ".web", "web..x", "web___x", "a%26b", "a%3fb", "a%23b", "a:b", "a@b", "~web", "web+", "%ef%bc%8e%ef%bc%8e",
	} {
		for _, tail := range []string{"/tags/list", "/manifests/v1", "/blobs/" + d, "/referrers/" + d} {
			resp := raw(t, s, "GET", "/v2/"+name+tail)
			if resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s%s: %d %s", name, tail, resp.StatusCode, body(t, resp))
			}
		}
		for _, tail := range []string{"/blobs/uploads/", "/blobs/uploads/?mount=" + d + "&from=" + name, "/blobs/uploads/?digest=" + d} {
			resp := raw(t, s, "POST", "/v2/"+name+tail)
			if resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusNotFound {
				t.Errorf("POST %s%s: %d %s", name, tail, resp.StatusCode, body(t, resp))
			}
		}
		// A mount from such a name finds nothing, and an upload begins.
		if resp := raw(t, s, "POST", "/v2/web/blobs/uploads/?mount="+d+"&from="+name); resp.StatusCode != http.StatusAccepted {
			t.Errorf("mount from %s: %d %s", name, resp.StatusCode, body(t, resp))
		}
	}
	for _, ref := range []string{"..", "%2e%2e", ".", "-x", "a%00", "a%2fb", "a:b", "sha256:", "sha256:" + strings.Repeat("0", 63), "sha256:" + strings.Repeat("0", 65), "sha256:" + strings.Repeat("A", 64), "SHA256:" + strings.Repeat("0", 64), "md5:" + strings.Repeat("0", 32), "sha256:..%2f..%2f" + strings.Repeat("0", 56), strings.Repeat("a", 129), "%ff", "a%20b"} {
		for _, tail := range []string{"/v2/web/manifests/", "/v2/web/blobs/", "/v2/web/referrers/", "/v2/web/blobs/uploads/"} {
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				resp := raw(t, s, method, tail+ref)
				if !slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed}, resp.StatusCode) {
					t.Errorf("%s %s%s: %d %s", method, tail, ref, resp.StatusCode, body(t, resp))
				}
			}
		}
	}
}

// raw sends a path as it is written.
func raw(t *testing.T, s *registrytest.Server, method, path string) *http.Response {
	t.Helper()
	return s.Request(t, method, "/", "", func(r *http.Request) {
		u := *r.URL
		u.Opaque = "//" + s.Addr + path
		p, query, _ := strings.Cut(path, "?")
		u.Opaque, u.RawQuery = "//"+s.Addr+p, query
		r.URL = &u
	})
}

func TestDigestsThatLie(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	wrong := digestOf("something else")
	wantError(t, s.Request(t, "POST", "/v2/web/blobs/uploads/?digest="+wrong, "content", nil), 400, "DIGEST_INVALID", "")
	at := start(t, s)
	if resp := s.Request(t, "PATCH", at, "content", nil); resp.StatusCode != http.StatusAccepted {
		t.Fatal(resp.StatusCode)
	}
	wantError(t, s.Request(t, "PUT", at+"?digest="+wrong, "", nil), 400, "DIGEST_INVALID", "")
	// The upload has ended; nothing is there by either name.
	wantError(t, s.Request(t, "PUT", at+"?digest="+digestOf("content"), "", nil), 404, "BLOB_UPLOAD_UNKNOWN", "")
	for _, d := range []string{wrong, digestOf("content")} {
		if resp := s.Request(t, "HEAD", "/v2/web/blobs/"+d, "", nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", d, resp.StatusCode)
		}
	}
	for _, d := range []string{"", "sha256:x", "sha512:" + strings.Repeat("0", 64), "..", "sha256:" + strings.Repeat("0", 64) + "&digest=" + wrong} {
		at := start(t, s)
		resp := s.Request(t, "PUT", at+"?digest="+d, "x", nil)
		wantError(t, resp, 400, "DIGEST_INVALID", "")
	}
	wantError(t, s.Request(t, "PUT", "/v2/web/manifests/"+wrong, `{"schemaVersion":2}`, nil), 400, "MANIFEST_INVALID", "")
}

func TestRangesThatDoNotFit(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	patch := func(at, content, contentRange string, chunked bool) *http.Response {
		return s.Request(t, "PATCH", at, content, func(r *http.Request) {
			if contentRange != "" {
				r.Header.Set("Content-Range", contentRange)
			}
			if chunked {
				r.ContentLength, r.Body = -1, io.NopCloser(strings.NewReader(content))
			}
		})
	}
	at := start(t, s)
	if resp := patch(at, "01234", "0-4", false); resp.StatusCode != http.StatusAccepted || resp.Header.Get("Range") != "0-4" {
		t.Fatalf("first: %d %q", resp.StatusCode, resp.Header.Get("Range"))
	}
	for name, tt := range map[string]struct {
		content, contentRange string
		status                int
		code                  string
	}{
		"again":        {"01234", "0-4", 416, "BLOB_UPLOAD_INVALID"},
		"overlapping":  {"3456", "3-6", 416, "BLOB_UPLOAD_INVALID"},
		"with a gap":   {"789", "7-9", 416, "BLOB_UPLOAD_INVALID"},
		"too long":     {"567", "5-6", 400, "SIZE_INVALID"},
		"too short":    {"5", "5-6", 400, "SIZE_INVALID"},
		"backwards":    {"5", "5-4", 416, "BLOB_UPLOAD_INVALID"},
		"HTTP's own":   {"5", "bytes 5-5/6", 416, "BLOB_UPLOAD_INVALID"},
		"negative":     {"5", "-5-5", 416, "BLOB_UPLOAD_INVALID"},
		"overflowing":  {"5", "5-99999999999999999999", 416, "BLOB_UPLOAD_INVALID"},
		"nearly so":    {"5", "0-9223372036854775807", 416, "BLOB_UPLOAD_INVALID"},
		"not a number": {"5", "a-b", 416, "BLOB_UPLOAD_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, patch(at, tt.content, tt.contentRange, false), tt.status, tt.code, "")
			resp := s.Request(t, "GET", at, "", nil)
			if resp.StatusCode != http.StatusNoContent || resp.Header.Get("Range") != "0-4" {
				t.Errorf("the upload is at %q, %d", resp.Header.Get("Range"), resp.StatusCode)
			}
		})
	}
	// Bodies of unknown length hold what their range says, no more and no less.
	for content, contentRange := range map[string]string{"012": "0-1", "0": "0-1"} {
		wantError(t, patch(start(t, s), content, contentRange, true), 400, "SIZE_INVALID", "")
	}
	if resp := patch(start(t, s), "01", "0-1", true); resp.StatusCode != http.StatusAccepted {
		t.Errorf("chunked: %d", resp.StatusCode)
	}
}

// Requests for ranges get one range or all of it.
func TestRangesAskedFor(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	content := strings.Repeat("0123456789", 10_000)
	d := digestOf(content)
	if resp := s.Request(t, "POST", "/v2/web/blobs/uploads/?digest="+d, content, nil); resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.StatusCode)
	}
	for given, want := range map[string]struct{ status, length int }{
		"bytes=0-9":                    {206, 10},
		"bytes=99990-":                 {206, 10},
		"bytes=-10":                    {206, 10},
		"bytes=0-":                     {206, 100_000},
		"bytes=100000-":                {416, -1},
		"bytes=5-1":                    {416, -1},
		"bytes=x":                      {416, -1},
		"bytes=0-99999999999999999999": {416, -1},
		"lines=1-2":                    {416, -1},
		"bytes=" + strings.Repeat("0-0,", 50_000): {200, 100_000},
		"bytes=0-0,5-5": {200, 100_000},
	} {
		resp := s.Request(t, "GET", "/v2/web/blobs/"+d, "", func(r *http.Request) { r.Header.Set("Range", given) })
		b := body(t, resp)
		if resp.StatusCode != want.status || want.length >= 0 && len(b) != want.length {
			t.Errorf("%s: %d, %d bytes", given[:min(len(given), 40)], resp.StatusCode, len(b))
		}
	}
}

func TestUploadsAreBounded(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Blobs: blob.Options{MaxUploads: 3, MaxSpaceUploads: 5, MaxSize: 1000}})
	s.Create(t, registrytest.Space, "web", "other")
	for range 3 {
		start(t, s)
	}
	wantError(t, s.Request(t, "POST", "/v2/web/blobs/uploads/", "", nil), 429, "TOOMANYREQUESTS", "")
	for range 2 {
		if resp := s.Request(t, "POST", "/v2/other/blobs/uploads/", "", nil); resp.StatusCode != http.StatusAccepted {
			t.Fatal(resp.StatusCode)
		}
	}
	wantError(t, s.Request(t, "POST", "/v2/other/blobs/uploads/", "", nil), 429, "TOOMANYREQUESTS", "")
}

// An upload that grows beyond what a blob may be ends, and leaves nothing.
func TestUploadTooLarge(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Blobs: blob.Options{MaxSize: 1000}})
	s.Create(t, registrytest.Space, "web")
	at := start(t, s)
	resp := s.Request(t, "PATCH", at, strings.Repeat("x", 1001), nil)
	if resp.StatusCode < 400 || resp.StatusCode >= 500 {
		t.Errorf("%d %s", resp.StatusCode, body(t, resp))
	}
	wantError(t, s.Request(t, "GET", at, "", nil), 404, "BLOB_UPLOAD_UNKNOWN", "")
}

func TestHostileManifests(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	if resp := s.Request(t, "POST", "/v2/web/blobs/uploads/?digest="+digestOf("{}"), "{}", nil); resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.StatusCode)
	}
	config := `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + digestOf("{}") + `","size":2}`
	many := func(n int, of func(i int) string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = of(i)
		}
		return strings.Join(parts, ",")
	}
	missing := func(i int) string {
		return fmt.Sprintf(`{"mediaType":"a/b","digest":"sha256:%064x","size":1}`, i)
	}
	for name, tt := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"empty":              {"", 400, "MANIFEST_INVALID"},
		"null":               {"null", 400, "MANIFEST_INVALID"},
		"no object":          {"[]", 400, "MANIFEST_INVALID"},
		"not UTF-8":          {"{\"schemaVersion\":2,\"mediaType\":\"\xff\"}", 400, "MANIFEST_INVALID"},
		"cut":                {`{"schemaVersion":2,"config":`, 400, "MANIFEST_INVALID"},
		"wrong types":        {`{"schemaVersion":"2","config":[],"layers":{}}`, 400, "MANIFEST_INVALID"},
		"a million brackets": {`{"schemaVersion":2,"x":` + strings.Repeat("[", 1_000_000), 400, "MANIFEST_INVALID"},
		"deep and closed":    {`{"schemaVersion":2,"x":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `}`, 400, "MANIFEST_INVALID"},
		"negative size":      {`{"schemaVersion":2,"config":` + config + `,"layers":[{"mediaType":"a/b","digest":"` + digestOf("x") + `","size":-1}]}`, 400, "MANIFEST_INVALID"},
		"a size of 1e400":    {`{"schemaVersion":2,"config":` + config + `,"layers":[{"mediaType":"a/b","digest":"` + digestOf("x") + `","size":1e400}]}`, 400, "MANIFEST_INVALID"},
		"a path for digest":  {`{"schemaVersion":2,"config":` + config + `,"layers":[{"mediaType":"a/b","digest":"sha256:../../../etc/passwd","size":1}]}`, 400, "MANIFEST_INVALID"},
		"20,000 that are missing": {
			`{"schemaVersion":2,"config":` + config + `,"layers":[` + many(20_000, missing) + `]}`, 400, "MANIFEST_BLOB_UNKNOWN",
		},
		"an index of itself": {`{"schemaVersion":2,"manifests":[` + missing(1) + `]}`, 400, "MANIFEST_BLOB_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			wantError(t, s.Request(t, "PUT", "/v2/web/manifests/v1", tt.body, nil), tt.status, tt.code, "")
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
	// The same layer thousands of times is one layer.
	twice := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` + config + `,"layers":[` + many(15_000, func(int) string { return config }) + `]}`
	if resp := s.Request(t, "PUT", "/v2/web/manifests/v1", twice, nil); resp.StatusCode != http.StatusCreated {
		t.Errorf("one layer thousands of times: %d %s", resp.StatusCode, body(t, resp))
	}
	// 100 MB, declared and not, are not read.
	for _, length := range []int64{100 << 20, -1} {
		resp := s.Request(t, "PUT", "/v2/web/manifests/big", "", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(io.LimitReader(spaces{}, 100<<20)), length
		})
		wantError(t, resp, 413, "SIZE_INVALID", "")
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// Tokens that this server did not make, or made for something else.
func TestForgedTokens(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	claims, err := json.Marshal(token.Claims{Account: registrytest.Account, Identity: api.Identity{Root: true}, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(key, purpose string) string {
		h := hmac.New(sha256.New, []byte(key))
		h.Write([]byte(purpose))
		h.Write(claims)
		return base64.StdEncoding.EncodeToString(append(h.Sum(nil), claims...))
	}
	b64 := base64.RawURLEncoding.EncodeToString
	good := s.Password(t, registrytest.Account)
	opened, err := base64.StdEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(opened)
	flipped[len(flipped)-10] ^= 1
	longer := append(bytes.Clone(opened), ' ')
	for name, pw := range map[string]string{
		"empty":             "",
		"no base64":         "%%%",
		"short":             base64.StdEncoding.EncodeToString([]byte("short")),
		"claims alone":      base64.StdEncoding.EncodeToString(claims),
		"zeros for a mac":   base64.StdEncoding.EncodeToString(append(make([]byte, 32), claims...)),
		"another key":       sealed(strings.Repeat("k", 32), "token\n"),
		"an empty key":      sealed("", "token\n"),
		"another purpose":   sealed(strings.Repeat("k", 32), "url\n"),
		"a JWT without alg": b64([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + b64(claims) + ".",
		"a JWT with HS256":  b64([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + b64(claims) + "." + b64(make([]byte, 32)),
		"a changed claim":   base64.StdEncoding.EncodeToString(flipped),
		"a longer claim":    base64.StdEncoding.EncodeToString(longer),
		"a cut claim":       base64.StdEncoding.EncodeToString(opened[:len(opened)-1]),
		"100 kB":            strings.Repeat("A", 100<<10),
	} {
		t.Run(name, func(t *testing.T) {
			for _, prepare := range []func(*http.Request){
				func(r *http.Request) { r.SetBasicAuth("AWS", pw) },
				func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+pw) },
				func(r *http.Request) {
					r.Header.Set("Authorization", "Bearer "+base64.StdEncoding.EncodeToString([]byte("AWS:"+pw)))
				},
			} {
				wantError(t, s.Request(t, "GET", "/v2/web/tags/list", "", prepare), 400, "DENIED", "Your Authorization Token is invalid.")
			}
		})
	}
	// A signed URL is for one blob, to read, for a time.
	content := digestOf("content")
	if resp := s.Request(t, "POST", "/v2/web/blobs/uploads/?digest="+content, "content", nil); resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.StatusCode)
	}
	_, query, _ := strings.Cut(s.DownloadURL(registrytest.Space, "web", blob.Sum([]byte("content")), s.Addr, time.Now().Add(time.Minute)), "?")
	nobody := func(r *http.Request) { r.Header.Del("Authorization") }
	if resp := s.Request(t, "GET", "/v2/web/blobs/"+content+"?"+query, "", nobody); resp.StatusCode != http.StatusOK {
		t.Errorf("its own: %d", resp.StatusCode)
	}
	for _, tt := range []struct{ method, path, query string }{
		{"GET", "/v2/web/blobs/" + digestOf("x"), query},
		{"DELETE", "/v2/web/blobs/" + content, query},
		{"GET", "/v2/web/tags/list", query},
		{"GET", "/v2/web/blobs/" + content, strings.Replace(query, "Expires=1", "Expires=2", 1)},
		{"GET", "/v2/web/blobs/" + content, query + "x"},
		{"PUT", "/v2/web/manifests/v1", query},
		{"POST", "/v2/web/blobs/uploads/", query},
	} {
		if resp := s.Request(t, tt.method, tt.path+"?"+tt.query, "", nobody); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s: %d", tt.method, tt.path, resp.StatusCode)
		}
	}
}

// Many push the same blob while it is deleted again and again: each push is
// answered, what is said to be there is whole, and what was not is not.
func TestPushesOfOneBlobAndDeletes(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	content := strings.Repeat("content", 10_000)
	d := digestOf(content)
	var all sync.WaitGroup
	answer := func(method, path, body string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, path, strings.NewReader(body))
		req.SetBasicAuth("AWS", s.Password(t, registrytest.Account))
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		return w
	}
	for range 8 {
		all.Go(func() {
			for range 20 {
				if w := answer("POST", "/v2/web/blobs/uploads/?digest="+d, content); w.Code != http.StatusCreated {
					t.Errorf("push: %d %s", w.Code, w.Body)
				}
				switch w := answer("GET", "/v2/web/blobs/"+d, ""); {
				case w.Code == http.StatusOK && w.Body.String() != content:
					t.Errorf("got %d bytes", w.Body.Len())
				case w.Code != http.StatusOK && w.Code != http.StatusNotFound:
					t.Errorf("get: %d %s", w.Code, w.Body)
				}
			}
		})
	}
	all.Go(func() {
		for range 60 {
			if w := answer("DELETE", "/v2/web/blobs/"+d, ""); w.Code != http.StatusAccepted && w.Code != http.StatusNotFound {
				t.Errorf("delete: %d %s", w.Code, w.Body)
			}
		}
	})
	all.Wait()
	if w := answer("POST", "/v2/web/blobs/uploads/?digest="+d, content); w.Code != http.StatusCreated {
		t.Fatal(w.Code)
	}
	if w := answer("GET", "/v2/web/blobs/"+d, ""); w.Body.String() != content {
		t.Errorf("%d, %d bytes at the end", w.Code, w.Body.Len())
	}
}

// One upload is written by one request at a time.
func TestTwoWritersOfAnUpload(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	at := start(t, s)
	begun, hold := make(chan struct{}), make(chan struct{})
	var first *http.Response
	done := make(chan struct{})
	go func() {
		defer close(done)
		pr, pw := io.Pipe()
		go func() {
			_, _ = pw.Write([]byte("first"))
			close(begun)
			<-hold
			_ = pw.Close()
		}()
		first = s.Request(t, "PATCH", at, "", func(r *http.Request) { r.Body, r.ContentLength = pr, -1 })
	}()
	<-begun
	for deadline := time.Now().Add(10 * time.Second); ; {
		resp := s.Request(t, "PATCH", at, "second", nil)
		if resp.StatusCode == http.StatusConflict {
			wantError(t, resp, 409, "BLOB_UPLOAD_INVALID", "")
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("two write: %d", resp.StatusCode)
		}
	}
	close(hold)
	<-done
	if first.StatusCode != http.StatusAccepted {
		t.Errorf("the first: %d", first.StatusCode)
	}
}

// A registry has what its repositories hold; another account's is not reached
// by mounting.
func TestMountsFromElsewhere(t *testing.T) {
	mine := registry.Space{Account: "111122223333", Region: registrytest.Region}
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	s.Create(t, mine, "web", "mine")
	d := digestOf("secret")
	if resp := s.Request(t, "POST", "/v2/web/blobs/uploads/?digest="+d, "secret", nil); resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.StatusCode)
	}
	for _, from := range []string{"web", "000000000000/web", "000000000000.dkr.ecr.us-east-1.localhost/web", ""} {
		resp := s.Request(t, "POST", "/v2/mine/blobs/uploads/?mount="+d+"&from="+from, "", func(r *http.Request) {
			r.Host = "111122223333.dkr.ecr.us-east-1.localhost"
			r.SetBasicAuth("AWS", s.Password(t, mine.Account))
		})
		if resp.StatusCode != http.StatusAccepted {
			t.Errorf("mount from %q: %d", from, resp.StatusCode)
		}
	}
}

func TestThrottled(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	var asked []string
	s.Throttle = func(account, region, operation string) bool {
		asked = append(asked, account+" "+region+" "+operation)
		return false
	}
	wantError(t, s.Request(t, "GET", "/v2/web/tags/list", "", nil), 429, "TOOMANYREQUESTS", "Rate exceeded")
	if len(asked) != 1 || asked[0] != "000000000000 us-east-1 ListImages" {
		t.Errorf("asked %q", asked)
	}
}
