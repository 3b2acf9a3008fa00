package hostile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"golang.org/x/net/http/httpguts"

	"roadstead.dev/internal/api"
)

// s3Names are what buckets and keys are called, some of which there are.
var (
	s3Buckets = []string{"hostile-one", "hostile-two", "hostile-none", "Not-A-Bucket", "a", "..", "%2e%2e", "hostile-one/x"}
	s3Keys    = []string{"a", "a/b", "/", "//", "../../etc/passwd", "..", ".", "%00", "ü", "a\x01b", "a\x00b", "?acl", strings.Repeat("k", 1025), "a b+c&d=e"}
)

// restInput makes an input of an operation; names are mostly those that there
// are.
func restInput(m *maker, op *api.Operation) map[string]any {
	in := m.input(op)
	for name, of := range map[string][]string{"Bucket": s3Buckets, "Key": s3Keys} {
		if _, ok := in[name]; !ok || m.chance(m.odd/2) {
			continue
		}
		in[name] = of[m.r.IntN(2)]
		if m.chance(20) {
			in[name] = pick(m.r, of...)
		}
	}
	if _, ok := in["CopySource"]; ok && m.chance(70) {
		in["CopySource"] = "hostile-one/a"
	}
	return in
}

// restBody writes the payload of an input.
func restBody(op *api.Operation, in map[string]any) []byte {
	shape := op.InputShape()
	v, ok := in[shape.Payload]
	if shape.Payload == "" || !ok {
		return nil
	}
	m := shape.Member(shape.Payload)
	var b bytes.Buffer
	if m.Type().Kind != api.Structure {
		fmt.Fprint(&b, v)
		return b.Bytes()
	}
	writeXML(&b, m.Wire(), m.Type(), false, v)
	return b.Bytes()
}

func writeXML(b *bytes.Buffer, name string, s *api.Shape, flat bool, v any) {
	if list, ok := v.([]any); ok && s != nil && s.Kind == api.List && (flat || s.Flattened) {
		for _, e := range list {
			writeXML(b, name, s.ElementShape(), false, e)
		}
		return
	}
	b.WriteString("<" + name + ">")
	switch v := v.(type) {
	case map[string]any:
		for _, k := range sorted(v) {
			m := s.Member(k)
			if m == nil || m.XMLAttribute {
				continue
			}
			writeXML(b, m.Wire(), m.Type(), m.Flattened, v[k])
		}
	case []any:
		for _, e := range v {
			writeXML(b, or(s.ElementName, "member"), s.ElementShape(), false, e)
		}
	default:
		_ = xml.EscapeText(b, []byte(restText(s, v)))
	}
	b.WriteString("</" + name + ">")
}

// restText is a scalar as text: times are numbers in inputs.
func restText(s *api.Shape, v any) string {
	if n, ok := v.(json.Number); ok && s.Kind == api.Timestamp {
		f, err := n.Float64()
		if err == nil {
			return time.Unix(int64(f), 0).UTC().Format(http.TimeFormat)
		}
	}
	return fmt.Sprint(v)
}

// restRequest makes a signed request of an operation.
func restRequest(ctx context.Context, op *api.Operation, in map[string]any, body []byte) (*http.Request, error) {
	path, template, _ := strings.Cut(op.Path, "?")
	q, err := url.ParseQuery(template)
	if err != nil {
		return nil, err
	}
	header := make(http.Header)
	for name, v := range in {
		m := op.InputShape().Member(name)
		switch m.Location {
		case api.URI:
			escaped := url.PathEscape(fmt.Sprint(v))
			path = strings.NewReplacer("{"+m.Wire()+"}", escaped, "{"+m.Wire()+"+}", escaped).Replace(path)
		case api.QueryString:
			q.Set(m.Wire(), restText(m.Type(), v))
		case api.Header:
			if text := restText(m.Type(), v); httpguts.ValidHeaderFieldValue(text) && m.Wire() != "Content-Length" {
				header.Set(m.Wire(), text)
			}
		case api.Headers:
			for k, e := range v.(map[string]any) {
				if text := fmt.Sprint(e); httpguts.ValidHeaderFieldName(k) && httpguts.ValidHeaderFieldValue(text) {
					header.Set(m.Wire()+k, text)
				}
			}
		default:
		}
	}
	req, err := http.NewRequestWithContext(ctx, op.Method, target.url()+path+"?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	sum := sha256.Sum256(body)
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	return req, v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).SignHTTP(ctx,
		aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, req, hex.EncodeToString(sum[:]), op.Service().SigningName, region, time.Now())
}

// checkS3 tells what is wrong with an answer of S3's.
func checkS3(op *api.Operation, a *answer) (string, error) {
	if a.status < 400 && a.status != http.StatusMovedPermanently {
		if a.status != op.Status && a.status != http.StatusPartialContent && a.status != http.StatusNotModified {
			return "", fmt.Errorf("a success is %d", op.Status)
		}
		if a.header.Get("Content-Type") == "application/xml" && op.Name != "GetObject" {
			return "", wellFormed(op.Service(), a)
		}
		return "", nil
	}
	if op.Method == http.MethodHead {
		if a.status >= 500 && a.status != http.StatusNotImplemented {
			return "", errors.New("the server failed")
		}
		return "", nil
	}
	var e struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string   `xml:"Code"`
		Message   string   `xml:"Message"`
		RequestID string   `xml:"RequestId"`
	}
	if err := xml.Unmarshal(a.body, &e); err != nil {
		return "", fmt.Errorf("no error of S3's: %w", err)
	}
	switch {
	case a.status >= 500 && e.Code != "NotImplemented":
		return e.Code, errors.New("the server failed")
	case e.RequestID == "" || e.Message == "" || !ec2Code.MatchString(e.Code):
		return e.Code, fmt.Errorf("code %q, message %q, request id %q", e.Code, e.Message, e.RequestID)
	}
	for _, s := range []string{"%!", "<nil>", "0xc000", "runtime error", ".go:", "map["} {
		if strings.Contains(e.Message, s) {
			return e.Code, fmt.Errorf("the message holds %q", s)
		}
	}
	return e.Code, nil
}

func restSend(ctx context.Context, op *api.Operation, in map[string]any, body []byte) (*answer, error) {
	req, err := restRequest(ctx, op, in, body)
	if err != nil {
		return nil, err
	}
	name := op.Service().Name + "." + op.Name + " " + cut(req.URL.RequestURI()+" "+string(body))
	return send(name, op, req)
}

// Input that fits the model, and mostly makes no sense.
func TestRESTWellFormedAndOdd(t *testing.T) {
	n := 12
	if *exhaustive {
		n = 300
	}
	t.Logf("-seed=%d", *seed)
	r := rand.New(rand.NewPCG(*seed, 7))
	failures := &failures{}
	for _, svc := range restServices {
		for _, b := range s3Buckets[:2] {
			if _, err := restSend(t.Context(), svc.Operation("CreateBucket"), map[string]any{"Bucket": b}, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := restSend(t.Context(), svc.Operation("PutObject"), map[string]any{"Bucket": b, "Key": "a"}, []byte("hello")); err != nil {
				t.Fatal(err)
			}
		}
		for range n {
			for _, i := range r.Perm(len(svc.Operations)) {
				op := &svc.Operations[i]
				m := &maker{r: r, odd: pick(r, 0, 10, 50), members: pick(r, 0, 20, 60), pool: new(pool)}
				in := restInput(m, op)
				if _, err := restSend(t.Context(), op, in, restBody(op, in)); err != nil {
					failures.add(t, err)
				}
			}
		}
	}
}

// Bodies that are no documents of the operation's.
func TestRESTBroken(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 8))
	for _, svc := range restServices {
		for i := range svc.Operations {
			op := &svc.Operations[i]
			p := op.InputShape().Member(op.InputShape().Payload)
			if p == nil || p.Type().Kind != api.Structure {
				continue
			}
			root := p.Wire()
			m := &maker{r: r, members: 100, pool: new(pool)}
			in := m.input(op)
			in["Bucket"] = "hostile-one"
			for _, name := range []string{"Key"} {
				if _, ok := in[name]; ok {
					in[name] = "a"
				}
			}
			full := string(restBody(op, in))
			for name, body := range map[string]string{
				"truncated": full[:len(full)*2/3], "JSON": "{}", "text": "x", "a NUL": "\x00", "another root": "<Nonsense/>",
				"an unknown element":   "<" + root + "><Nonsense/></" + root + ">",
				"two roots":            full + full,
				"an entity":            `<!DOCTYPE x [<!ENTITY a "b">]><` + root + `>&a;</` + root + `>`,
				"an external entity":   `<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><` + root + `>&a;</` + root + `>`,
				"deep":                 "<" + root + ">" + strings.Repeat("<a>", 50_000),
				"many elements":        "<" + root + ">" + strings.Repeat("<Object/>", 120_000) + "</" + root + ">",
				"not UTF-8":            "<" + root + ">\xff</" + root + ">",
				"in another encoding":  `<?xml version="1.0" encoding="UTF-16"?><` + root + `/>`,
				"text in a structure":  "<" + root + ">x</" + root + ">",
				"an unfinished":        "<" + root,
				"a processing command": `<?php echo 1 ?><` + root + `><x/></` + root + `>`,
			} {
				a, err := restSend(t.Context(), op, in, []byte(body))
				if err != nil {
					t.Errorf("%s: %v", name, err)
				} else if a.status < 400 {
					t.Errorf("%s, %s: %d", op.Name, name, a.status)
				}
			}
		}
	}
}
