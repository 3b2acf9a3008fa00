package hostile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"roadstead.dev/internal/api"
)

// forgery is a request that was signed, and then changed or signed wrongly.
type forgery struct {
	name string
	// sign signs req, whose body is body; nil leaves it unsigned.
	sign func(req *http.Request, svc *api.Service, body []byte)
	// codes that AWS refuses it with: awsJson's, the query protocol's, EC2's.
	// Empty means that it is served.
	json, query, ec2 string
}

const day = 24 * time.Hour

func signAt(region, key, secret, token string, at time.Time, hash string) func(*http.Request, *api.Service, []byte) {
	return func(req *http.Request, svc *api.Service, body []byte) {
		h := hash
		if h == "" {
			sum := sha256.Sum256(body)
			h = hex.EncodeToString(sum[:])
		}
		// A signer remembers the keys that it derived, by access key alone.
		if err := v4.NewSigner().SignHTTP(req.Context(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token}, req, h, svc.SigningName, region, at); err != nil {
			panic(err)
		}
	}
}

// then signs well and changes the request.
func then(change func(*http.Request)) func(*http.Request, *api.Service, []byte) {
	return func(req *http.Request, svc *api.Service, body []byte) {
		sign(req, svc, body)
		change(req)
	}
}

func edit(from, to string) func(*http.Request, *api.Service, []byte) {
	return then(func(r *http.Request) {
		was := r.Header.Get("Authorization")
		now := strings.Replace(was, from, to, 1)
		if now == was {
			panic("nothing to change: " + from + " in " + was)
		}
		r.Header.Set("Authorization", now)
	})
}

func forgeries() []forgery {
	const (
		mismatch = "InvalidSignatureException SignatureDoesNotMatch AuthFailure"
		half     = "IncompleteSignatureException IncompleteSignature IncompleteSignature"
		missing  = "MissingAuthenticationTokenException MissingAuthenticationToken MissingAuthenticationToken"
		unknown  = "UnrecognizedClientException InvalidClientTokenId AuthFailure"
		skewed   = "InvalidSignatureException SignatureDoesNotMatch RequestExpired"
	)
	now := time.Now()
	var out []forgery
	add := func(name, codes string, sign func(*http.Request, *api.Service, []byte)) {
		f := forgery{name: name, sign: sign}
		if c := strings.Fields(codes); len(c) == 3 {
			f.json, f.query, f.ec2 = c[0], c[1], c[2]
		}
		out = append(out, f)
	}
	other := func(service string) func(*http.Request, *api.Service, []byte) {
		return func(req *http.Request, _ *api.Service, body []byte) { signAs(req, service, "test", "test", "", body) }
	}
	add("well signed", "", sign)
	add("in another region", "", signAt("ap-southeast-2", "test", "test", "", now, ""))
	add("14 minutes ago", "", signAt(region, "test", "test", "", now.Add(-14*time.Minute), ""))
	add("not at all", missing, nil)
	add("with another secret", mismatch, signAt(region, "test", "tset", "", now, ""))
	add("by nobody known", unknown, signAt(region, "AKIANOBODYKNOWSMEXX", "test", "", now, ""))
	add("by a session nobody knows", unknown, signAt(region, "ASIANOBODYKNOWSMEXX", "test", "token", now, ""))
	add("16 minutes ago", skewed, signAt(region, "test", "test", "", now.Add(-16*time.Minute), ""))
	add("in 16 minutes", skewed, signAt(region, "test", "test", "", now.Add(16*time.Minute), ""))
	add("yesterday", skewed, signAt(region, "test", "test", "", now.Add(-day), ""))
	add("for another service", mismatch, other("execute-api"))
	add("in no region", mismatch, signAt("mars", "test", "test", "", now, ""))
	add("for another body", mismatch, signAt(region, "test", "test", "", now, strings.Repeat("0", 64)))
	add("a body added to", mismatch, then(func(r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		b = append(b, ' ')
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	}))
	add("with another host", mismatch, then(func(r *http.Request) { r.Host = "iam.amazonaws.com.localhost" }))
	add("a parameter added", mismatch, then(func(r *http.Request) { r.URL.RawQuery = "a=b" }))
	add("a path added", mismatch, then(func(r *http.Request) { r.URL.Path = "/x" }))
	add("with another method", mismatch, then(func(r *http.Request) { r.Method = http.MethodPut }))
	add("a signed header changed", mismatch, then(func(r *http.Request) { r.Header.Set("Content-Type", r.Header.Get("Content-Type")+" ;x=y") }))
	add("an unsigned header added", "", then(func(r *http.Request) { r.Header.Set("X-Other", "1") }))
	add("no date", half, then(func(r *http.Request) { r.Header.Del("X-Amz-Date") }))
	add("a date of noise", half, then(func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") }))
	add("another date of the day", mismatch, then(func(r *http.Request) {
		r.Header.Set("X-Amz-Date", anotherSecond(r.Header.Get("X-Amz-Date")))
	}))
	add("a truncated signature", mismatch, then(func(r *http.Request) {
		a := r.Header.Get("Authorization")
		r.Header.Set("Authorization", a[:len(a)-10])
	}))
	add("an empty signature", half, then(func(r *http.Request) {
		a := r.Header.Get("Authorization")
		r.Header.Set("Authorization", a[:strings.Index(a, "Signature=")+len("Signature=")])
	}))
	add("an upper-case signature", mismatch, then(func(r *http.Request) {
		a, sig, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
		r.Header.Set("Authorization", a+"Signature="+strings.ToUpper(sig))
	}))
	add("the host not signed", mismatch, edit("host;", ""))
	add("signed headers in upper case", half, edit("content-type", "Content-Type"))
	add("a header less signed", mismatch, edit("content-type;", ""))
	add("a header more signed", mismatch, edit("SignedHeaders=", "SignedHeaders=accept;"))
	add("no signed headers", half, then(func(r *http.Request) {
		before, rest, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
		_, after, _ := strings.Cut(rest, ", Signature")
		r.Header.Set("Authorization", before+"SignedHeaders=, Signature"+after)
	}))
	add("another algorithm", half, edit("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"))
	add("an older signature", missing, edit("AWS4-HMAC-SHA256", "AWS3-HTTPS"))
	add("Basic", missing, then(func(r *http.Request) { r.SetBasicAuth("test", "test") }))
	add("Bearer", missing, then(func(r *http.Request) { r.Header.Set("Authorization", "Bearer test") }))
	add("the credential in lower case", half, edit("Credential=", "credential="))
	add("another terminator", mismatch, edit("aws4_request", "aws5_request"))
	add("the scope's date is another", mismatch, edit("/"+now.UTC().Format("20060102")+"/", "/20150830/"))
	add("a slash too many", half, edit("Credential=test/", "Credential=test//"))
	add("a comma too many", half, edit("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 nonsense, "))
	add("two Authorization headers", half, then(func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }))
	add("a header and a query", mismatch, then(func(r *http.Request) { r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256" }))
	add("a token added", "", then(func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }))
	return out
}

// Requests whose signature is not what it says are refused in each protocol's
// words.
func TestForgedSignatures(t *testing.T) {
	for _, name := range []string{"ecs.ListClusters", "sts.GetCallerIdentity", "iam.ListUsers", "ec2.DescribeVpcs", "elbv2.DescribeLoadBalancers", "logs.DescribeLogGroups", "ssm.DescribeParameters"} {
		svcName, opName, _ := strings.Cut(name, ".")
		op := service(svcName).Operation(opName)
		for _, f := range forgeries() {
			want := f.query
			switch op.Service().Protocol {
			case api.JSON:
				want = f.json
			case api.EC2Query:
				want = f.ec2
			default:
			}
			b := body(op, map[string]any{})
			req := request(t.Context(), op, b)
			if f.sign != nil {
				f.sign(req, op.Service(), b)
			}
			a, err := send(name+" "+f.name, op, req)
			if err != nil {
				t.Error(err)
				continue
			}
			if want == "" && a.status != http.StatusOK || a.code != want {
				t.Errorf("%s, %s: %d %s, want %q", name, f.name, a.status, a.body, want)
			}
		}
	}
}

// A presigned query is good for its time and its parameters.
func TestForgedQueries(t *testing.T) {
	op := service("sts").Operation("GetCallerIdentity")
	presign := func(at time.Time, expires, secret string) *url.URL {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target.url()+"/?Action=GetCallerIdentity&Version=2011-06-15", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if expires != "" {
			q := req.URL.Query()
			q.Set("X-Amz-Expires", expires)
			req.URL.RawQuery = q.Encode()
		}
		sum := sha256.Sum256(nil)
		uri, _, err := signer.PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: "test", SecretAccessKey: secret}, req, hex.EncodeToString(sum[:]), "sts", region, at)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	now := time.Now()
	set := func(key, value string) func(*url.URL) {
		return func(u *url.URL) {
			q := u.Query()
			q.Set(key, value)
			u.RawQuery = q.Encode()
		}
	}
	for _, tt := range []struct {
		name, expires string
		at            time.Time
		change        func(*url.URL)
		code          string
	}{
		{name: "good", expires: "60", at: now},
		{name: "a week", expires: "604800", at: now.Add(-6 * day)},
		{name: "no expiry said", at: now},
		{name: "run out", expires: "60", at: now.Add(-2 * time.Minute), code: "RequestExpired"},
		{name: "not yet", expires: "60", at: now.Add(20 * time.Minute), code: "SignatureDoesNotMatch"},
		{name: "longer than a week", expires: "604801", at: now, code: "IncompleteSignature"},
		{name: "negative", expires: "-1", at: now, code: "IncompleteSignature"},
		{name: "no number", expires: "soon", at: now, code: "IncompleteSignature"},
		{name: "expiry changed", expires: "60", at: now, change: set("X-Amz-Expires", "600"), code: "SignatureDoesNotMatch"},
		{name: "action changed", expires: "60", at: now, change: set("Action", "GetSessionToken"), code: "SignatureDoesNotMatch"},
		{name: "parameter added", expires: "60", at: now, change: set("Extra", "1"), code: "SignatureDoesNotMatch"},
		{name: "signature changed", expires: "60", at: now, change: set("X-Amz-Signature", strings.Repeat("0", 64)), code: "SignatureDoesNotMatch"},
		{name: "no signature", expires: "60", at: now, change: set("X-Amz-Signature", ""), code: "IncompleteSignature"},
		{name: "no credential", expires: "60", at: now, change: set("X-Amz-Credential", ""), code: "IncompleteSignature"},
		{name: "another key", expires: "60", at: now, change: set("X-Amz-Credential", "AKIANOBODY/"+now.UTC().Format("20060102")+"/us-east-1/sts/aws4_request"), code: "InvalidClientTokenId"},
		{name: "another algorithm", expires: "60", at: now, change: set("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256"), code: "IncompleteSignature"},
		{name: "expiry twice", expires: "60", at: now, change: func(u *url.URL) { u.RawQuery = "X-Amz-Expires=600&" + u.RawQuery }, code: "SignatureDoesNotMatch"},
		{name: "signature twice", expires: "60", at: now, change: func(u *url.URL) { u.RawQuery = "X-Amz-Signature=00&" + u.RawQuery }, code: "SignatureDoesNotMatch"},
		{name: "names in lower case", expires: "60", at: now, change: func(u *url.URL) { u.RawQuery = strings.ReplaceAll(u.RawQuery, "X-Amz-", "x-amz-") }, code: "MissingAuthenticationToken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := presign(tt.at, tt.expires, "test")
			if tt.change != nil {
				tt.change(u)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.String(), http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			a, err := send("presigned, "+tt.name, op, req)
			if err != nil {
				t.Fatal(err)
			}
			if a.code != tt.code || tt.code == "" && a.status != http.StatusOK {
				t.Errorf("%d %s, want %q", a.status, a.body, tt.code)
			}
		})
	}
}

// A session's key needs its own token, and gets no further than its role.
func TestForgedSessions(t *testing.T) {
	ctx := t.Context()
	call := func(op *api.Operation, in map[string]any) []byte {
		t.Helper()
		b := body(op, in)
		req := request(ctx, op, b)
		sign(req, op.Service(), b)
		a, err := send("set up", op, req)
		if err != nil {
			t.Fatal(err)
		}
		return a.body
	}
	call(service("iam").Operation("CreateRole"), map[string]any{
		"RoleName": "forged", "AssumeRolePolicyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:root"},"Action":"sts:AssumeRole"}]}`,
	})
	op := service("sts").Operation("GetCallerIdentity")
	key := session(ctx, t, "one")
	other := session(ctx, t, "two")
	for _, tt := range []struct{ name, key, secret, token, code string }{
		{"its own token", key[0], key[1], key[2], ""},
		{"no token", key[0], key[1], "", "InvalidClientTokenId"},
		{"another's token", key[0], key[1], other[2], "InvalidClientTokenId"},
		{"another's key", other[0], key[1], key[2], "InvalidClientTokenId"},
		{"another's secret", key[0], other[1], key[2], "SignatureDoesNotMatch"},
		{"a changed token", key[0], key[1], key[2] + "x", "InvalidClientTokenId"},
		{"a cut token", key[0], key[1], key[2][:len(key[2])/2], "InvalidClientTokenId"},
	} {
		b := body(op, map[string]any{})
		req := request(ctx, op, b)
		signAs(req, "sts", tt.key, tt.secret, tt.token, b)
		a, err := send("session, "+tt.name, op, req)
		if err != nil {
			t.Error(err)
		} else if a.code != tt.code {
			t.Errorf("%s: %d %s, want %q", tt.name, a.status, a.body, tt.code)
		}
	}
}

// session assumes the role and returns key, secret and token.
func session(ctx context.Context, t *testing.T, name string) [3]string {
	t.Helper()
	op := service("sts").Operation("AssumeRole")
	b := body(op, map[string]any{"RoleArn": "arn:aws:iam::" + account + ":role/forged", "RoleSessionName": name})
	req := request(ctx, op, b)
	req.Header.Set("Accept", "application/json")
	sign(req, op.Service(), b)
	a, err := send("set up", op, req)
	if err != nil {
		t.Fatal(err)
	}
	var out [3]string
	for i, tag := range []string{"AccessKeyId", "SecretAccessKey", "SessionToken"} {
		_, rest, ok := strings.Cut(string(a.body), "<"+tag+">")
		if !ok {
			t.Fatalf("%d %s", a.status, a.body)
		}
		out[i], _, _ = strings.Cut(rest, "<")
		out[i] = strings.NewReplacer("&#43;", "+", "&amp;", "&").Replace(out[i])
	}
	return out
}

// anotherSecond is a date beside the one that was signed, on the same day.
func anotherSecond(signed string) string {
	const format = "20060102T150405Z"
	t, err := time.Parse(format, signed)
	if err != nil {
		return signed
	}
	if next := t.Add(time.Second); next.Day() == t.Day() {
		return next.Format(format)
	}
	return t.Add(-time.Second).Format(format)
}
