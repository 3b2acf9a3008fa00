package codec

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/gateway/typed"
)

func TestMatchS3(t *testing.T) {
	svc := s3.New(nil)
	for _, tt := range []struct{ method, target, header, want string }{
		{"GET", "/", "", "ListBuckets"},
		{"GET", "/bucket", "", "ListObjects"},
		{"GET", "/bucket/", "", "ListObjects"},
		{"GET", "/bucket?list-type=2&prefix=a", "", "ListObjectsV2"},
		{"GET", "/bucket?list-type=3", "", "ListObjects"},
		{"GET", "/bucket?location", "", "GetBucketLocation"},
		{"GET", "/bucket?location=", "", "GetBucketLocation"},
		{"GET", "/bucket?torrent", "", ""},
		{"GET", "/bucket?session", "", ""},
		{"HEAD", "/bucket", "", "HeadBucket"},
		{"PUT", "/bucket", "", "CreateBucket"},
		{"PUT", "/bucket?analytics&id=1", "", ""},
		{"POST", "/bucket?delete", "", "DeleteObjects"},
		{"POST", "/bucket", "", ""},
		{"GET", "/bucket/key", "", "GetObject"},
		{"GET", "/bucket//", "", "GetObject"},
		{"GET", "/bucket/a/b/?partNumber=1&x-id=GetObject", "", "GetObject"},
		{"GET", "/bucket/key?retention", "", ""},
		{"PUT", "/bucket/key", "", "PutObject"},
		{"PUT", "/bucket/key", "X-Amz-Copy-Source", "CopyObject"},
		{"DELETE", "/bucket/key", "", "DeleteObject"},
		{"PATCH", "/bucket/key", "", ""},
	} {
		u, err := url.Parse(tt.target)
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		if tt.header != "" {
			h.Set(tt.header, "x")
		}
		got := ""
		if op := MatchS3(svc, tt.method, u.EscapedPath(), u.Query(), h); op != nil {
			got = op.Name
		}
		if got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.method, tt.target, got, tt.want)
		}
	}
}

func TestSplitS3(t *testing.T) {
	for path, want := range map[string][2]string{
		"/": {"", ""}, "/b": {"b", ""}, "/b/": {"b", ""}, "/b/k": {"b", "k"}, "/b//k/": {"b", "/k/"}, "/b/%2F..%2f": {"b", "/../"}, "/b/a%20b+c": {"b", "a b+c"},
	} {
		b, k, err := SplitS3(path)
		if err != nil || b != want[0] || k != want[1] {
			t.Errorf("%s: %q, %q, %v", path, b, k, err)
		}
	}
	for _, path := range []string{"/b/%zz", "/%f", "/b/%ff"} {
		if _, _, err := SplitS3(path); api.Code(err) != "InvalidURI" {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestDecodeRESTXML(t *testing.T) {
	svc := s3.New(nil)
	in := new(s3.DeleteObjectsInput)
	err := RESTXML{}.Decode(svc.Operation("DeleteObjects"), &Request{
		Path: "/bucket", Query: url.Values{"delete": {""}}, Header: http.Header{"X-Amz-Expected-Bucket-Owner": {"111122223333"}},
		Body: []byte(`<?xml version="1.0" encoding="UTF-8"?>
<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <!-- two -->
  <Object><Key> a &amp; b&#10;</Key></Object>
  <Quiet> true </Quiet>
  <Object><Key><![CDATA[<c>]]></Key><VersionId/></Object>
</Delete>`),
	}, in)
	want := &s3.DeleteObjectsInput{
		Bucket: new("bucket"), ExpectedBucketOwner: new("111122223333"),
		Delete: &s3.Delete{Quiet: new(true), Objects: []s3.ObjectIdentifier{{Key: new(" a & b\n")}, {Key: new("<c>"), VersionId: new("")}}},
	}
	if diff := cmp.Diff(want, in); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for name, body := range map[string]string{
		"another root": "<Deletes/>", "an unknown member": "<Delete><X/></Delete>", "twice": "<Delete><Quiet>true</Quiet><Quiet>true</Quiet></Delete>",
		"no boolean": "<Delete><Quiet>x</Quiet></Delete>", "text": "<Delete>x</Delete>", "an element in text": "<Delete><Object><Key><a/></Key></Object></Delete>",
		"two": "<Delete/><Delete/>", "cut": "<Delete>", "an entity": "<!DOCTYPE x><Delete/>", "an unknown entity": "<Delete>&x;</Delete>",
	} {
		err := RESTXML{}.Decode(svc.Operation("DeleteObjects"), &Request{Path: "/b", Body: []byte(body)}, new(s3.DeleteObjectsInput))
		if api.Code(err) != "MalformedXML" {
			t.Errorf("%s: %v", name, err)
		}
	}
	put := new(s3.PutObjectInput)
	stream := io.NopCloser(strings.NewReader("x"))
	err = RESTXML{}.Decode(svc.Operation("PutObject"), &Request{Path: "/b/k", Header: http.Header{"X-Amz-Meta-Two-Words": {"v"}}, Stream: stream}, put)
	if err != nil || put.Body != stream || *put.Key != "k" || put.Metadata["Two-Words"] != "v" {
		t.Errorf("%+v, %v", put, err)
	}
	err = RESTXML{}.Decode(svc.Operation("GetObject"), &Request{Path: "/b/k", Query: url.Values{"partNumber": {"x"}}}, new(s3.GetObjectInput))
	if api.Code(err) != "InvalidArgument" {
		t.Errorf("a wrong number: %v", err)
	}
}

func TestEncodeRESTXML(t *testing.T) {
	svc := s3.New(nil)
	encode := func(name string, out any) *Response {
		r, err := RESTXML{}.Encode(svc.Operation(name), out, "id")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	const head = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	for _, tt := range []struct {
		name string
		out  any
		want string
	}{
		{"GetBucketLocation", &s3.GetBucketLocationOutput{}, head + `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>`},
		{"GetBucketLocation", &s3.GetBucketLocationOutput{LocationConstraint: "eu-west-1"}, head + `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">eu-west-1</LocationConstraint>`},
		{
			"ListObjectsV2", &s3.ListObjectsV2Output{Name: new("b"), Contents: []s3.Object{{Key: new("a")}, {Key: new("<")}}},
			head + `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Contents><Key>a</Key></Contents><Contents><Key>&lt;</Key></Contents><Name>b</Name></ListBucketResult>`,
		},
		{"CopyObject", &s3.CopyObjectOutput{CopyObjectResult: &s3.CopyObjectResult{ETag: new(`"e"`)}}, head + `<CopyObjectResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ETag>&quot;e&quot;</ETag></CopyObjectResult>`},
		{"DeleteObject", &s3.DeleteObjectOutput{}, ""},
	} {
		r := encode(tt.name, tt.out)
		if string(r.Body) != tt.want || r.Header.Get("X-Amz-Request-Id") != "id" {
			t.Errorf("%s: %s %v", tt.name, r.Body, r.Header)
		}
	}
	stream := io.NopCloser(strings.NewReader("x"))
	r := encode("GetObject", &s3.GetObjectOutput{Body: stream, ContentRange: new("bytes 0-0/2"), Metadata: map[string]string{"k": "v"}})
	if r.Status != http.StatusPartialContent || r.Stream != stream || r.Header.Get("X-Amz-Meta-K") != "v" {
		t.Errorf("%+v", r)
	}
	e := RESTXML{}.EncodeError(svc, &api.Fault{
		Code: "NoSuchKey", Message: "none & nothing", Status: 404, Details: []api.Detail{{Name: "Key", Value: "<k>"}}, Header: map[string]string{"X-Y": "z"},
	}, "id")
	if want := head + `<Error><Code>NoSuchKey</Code><Message>none &amp; nothing</Message><Key>&lt;k&gt;</Key><RequestId>id</RequestId><HostId>id</HostId></Error>`; string(e.Body) != want || e.Header.Get("X-Y") != "z" {
		t.Errorf("%s %v", e.Body, e.Header)
	}
	if e := (RESTXML{}).EncodeError(svc, &api.Fault{Code: "NotModified", Status: http.StatusNotModified}, "id"); len(e.Body) != 0 {
		t.Errorf("%s", e.Body)
	}
}

// What is decoded from XML is encoded and decoded to the same.
func FuzzDecodeXML(f *testing.F) {
	svc := s3.New(nil)
	for _, s := range []string{
		"<Delete><Object><Key>a</Key></Object><Quiet>1</Quiet></Delete>", "<Delete/>", "<Delete><Object/></Delete>", "<!DOCTYPE a><Delete/>", "<Delete>&lt;</Delete>",
		"<Delete><Object><LastModifiedTime>2026-01-01T00:00:00Z</LastModifiedTime><Size>5</Size></Object></Delete>", strings.Repeat("<Delete>", 100),
	} {
		f.Add([]byte(s))
	}
	op := svc.Operation("DeleteObjects")
	f.Fuzz(func(t *testing.T, body []byte) {
		in := new(s3.DeleteObjectsInput)
		err := RESTXML{}.Decode(op, &Request{Path: "/b", Body: body}, in)
		if err != nil {
			if _, ok := errors.AsType[api.Error](err); !ok {
				t.Fatalf("%v is no error of S3's", err)
			}
			return
		}
		if in.Delete == nil {
			return
		}
		e := xmlEncoder{millis: true}
		p := op.InputShape().Member("Delete")
		if err := e.value("Delete", typed.Of(p.Type()), "", reflect.ValueOf(in.Delete).Elem()); err != nil {
			t.Fatal(err)
		}
		again := new(s3.DeleteObjectsInput)
		if err := (RESTXML{}).Decode(op, &Request{Path: "/b", Body: e.b}, again); err != nil {
			t.Fatalf("%s does not decode: %v", e.b, err)
		}
	})
}

// A path and a query find an operation, or none, and never fail.
func FuzzMatchS3(f *testing.F) {
	svc := s3.New(nil)
	f.Add("GET", "/b/k", "versionId=1")
	f.Add("PUT", "//", "acl&acl&=")
	f.Add("POST", "/%2f/..", "uploads=%zz")
	f.Fuzz(func(t *testing.T, method, path, query string) {
		q, _ := url.ParseQuery(query)
		op := MatchS3(svc, method, path, q, http.Header{})
		bucket, key, err := SplitS3(path)
		if op == nil || err != nil {
			return
		}
		if strings.Contains(op.Path, "{Key+}") != (key != "") || strings.Contains(op.Path, "{Bucket}") != (bucket != "") {
			t.Errorf("%s for bucket %q, key %q", op.Path, bucket, key)
		}
	})
}
