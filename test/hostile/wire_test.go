package hostile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/codec"
)

// Values of inputs are map[string]any (structures by member name, and maps),
// []any, string, bool, json.Number and raw.

// raw is text that takes a value's place on the wire as it is.
type raw string

// body writes an input in its service's protocol.
func body(op *api.Operation, in any) []byte {
	switch op.Service().Protocol {
	case api.JSON:
		var b bytes.Buffer
		writeJSON(&b, op.InputShape(), in)
		return b.Bytes()
	default:
		form := url.Values{"Action": {op.Name}, "Version": {op.Service().APIVersion}}
		flatten(form, op.Service().Protocol == api.EC2Query, "", op.InputShape(), nil, in)
		return []byte(form.Encode())
	}
}

func writeJSON(b *bytes.Buffer, s *api.Shape, v any) {
	switch v := v.(type) {
	case raw:
		b.WriteString(string(v))
	case map[string]any:
		b.WriteByte('{')
		for i, k := range sorted(v) {
			if i > 0 {
				b.WriteByte(',')
			}
			name := k
			var of *api.Shape
			if s != nil && s.Kind == api.Structure {
				if m := s.Member(k); m != nil {
					name, of = m.Wire(), m.Type()
				}
			} else if s != nil && s.Kind == api.Map {
				of = s.ElementShape()
			}
			text(b, name)
			b.WriteByte(':')
			writeJSON(b, of, v[k])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			var of *api.Shape
			if s != nil && s.Kind == api.List {
				of = s.ElementShape()
			}
			writeJSON(b, of, e)
		}
		b.WriteByte(']')
	case string:
		text(b, v)
	case json.Number:
		b.WriteString(v.String())
	default:
		out, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		b.Write(out)
	}
}

func text(b *bytes.Buffer, s string) {
	out, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	b.Write(out)
}

// flatten writes a value as parameters of the query protocols.
func flatten(form url.Values, ec2 bool, prefix string, s *api.Shape, m *api.Member, v any) {
	join := func(name string) string {
		if prefix == "" {
			return name
		}
		return prefix + "." + name
	}
	switch v := v.(type) {
	case raw:
		form.Set(prefix, string(v))
	case map[string]any:
		if s != nil && s.Kind == api.Map {
			for i, k := range sorted(v) {
				at := join(fmt.Sprintf("entry.%d", i+1))
				if s.Flattened || ec2 {
					at = join(fmt.Sprint(i + 1))
				}
				form.Set(at+"."+or(s.KeyName, "key"), k)
				flatten(form, ec2, at+"."+or(s.ValueName, "value"), s.ElementShape(), nil, v[k])
			}
			return
		}
		for _, k := range sorted(v) {
			name, of := k, (*api.Shape)(nil)
			var member *api.Member
			if s != nil {
				if member = s.Member(k); member != nil {
					of, name = member.Type(), member.Wire()
					if ec2 {
						name = codec.EC2Name(member)
					}
				}
			}
			flatten(form, ec2, join(name), of, member, v[k])
		}
	case []any:
		var of *api.Shape
		element := "member."
		if s != nil && s.Kind == api.List {
			of = s.ElementShape()
			if s.ElementName != "" {
				element = s.ElementName + "."
			}
			if ec2 || s.Flattened || m != nil && m.Flattened {
				element = ""
			}
		}
		if len(v) == 0 && !ec2 {
			form.Set(prefix, "")
		}
		for i, e := range v {
			flatten(form, ec2, join(element+fmt.Sprint(i+1)), of, nil, e)
		}
	case string:
		form.Set(prefix, v)
	case json.Number:
		form.Set(prefix, v.String())
	case nil:
		form.Set(prefix, "")
	default:
		form.Set(prefix, fmt.Sprint(v))
	}
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func sorted(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// request makes an unsigned request of an operation.
func request(ctx context.Context, op *api.Operation, body []byte) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.url()+"/", bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	svc := op.Service()
	if svc.Protocol == api.JSON {
		req.Header.Set("X-Amz-Target", svc.TargetPrefix+"."+op.Name)
		req.Header.Set("Content-Type", "application/x-amz-json-"+svc.JSONVersion)
	} else {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	return req
}

var signer = v4.NewSigner()

func sign(req *http.Request, svc *api.Service, body []byte) {
	signAs(req, svc.SigningName, "test", "test", "", body)
}

func signAs(req *http.Request, service, key, secret, token string, body []byte) {
	sum := sha256.Sum256(body)
	s := signer
	if key != "test" {
		s = v4.NewSigner() // it remembers the keys that it derived, by access key alone
	}
	err := s.SignHTTP(req.Context(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token},
		req, hex.EncodeToString(sum[:]), service, region, time.Now())
	if err != nil {
		panic(err)
	}
}

// signHashed signs a request whose body's hash is given, or left out.
func signHashed(req *http.Request, svc *api.Service, hash string) {
	if err := signer.SignHTTP(req.Context(), aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, req, hash, svc.SigningName, region, time.Now()); err != nil {
		panic(err)
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
	code   string
}

// send sends a signed request and checks the form of the answer.
func send(name string, op *api.Operation, req *http.Request) (*answer, error) {
	begun := time.Now()
	resp, err := target.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: read the answer: %w", name, err)
	}
	took := time.Since(begun)
	a := &answer{status: resp.StatusCode, header: resp.Header, body: b}
	a.code, err = check(op, a)
	target.counts.add(op.Service().Name, name, a.status, a.code, took)
	if err == nil && took > slow {
		err = fmt.Errorf("took %v", took)
	}
	if err != nil {
		return a, fmt.Errorf("%s: %d %s: %w", name, a.status, b[:min(len(b), 400)], err)
	}
	return a, nil
}

// slow is how long no answer may take: none of these requests waits for
// anything. The machine may be busy with other tests.
const slow = 20 * time.Second

// cut shortens what a message shows.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > 300 {
		return s[:200] + "…" + s[len(s)-80:]
	}
	return s
}
