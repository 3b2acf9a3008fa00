package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"
)

// signed is a request that AWS's SDK signed.
func signed(t interface{ Fatal(...any) }, method, rawURL string, h http.Header, body string, presign bool, token string) *Request {
	req, err := http.NewRequest(method, rawURL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, vs := range h {
		req.Header[k] = slices.Clone(vs)
	}
	sum := sha256.Sum256([]byte(body))
	creds := aws.Credentials{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret, SessionToken: token}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if presign {
		q := req.URL.Query()
		q.Set("X-Amz-Expires", "60")
		req.URL.RawQuery = q.Encode()
		uri, signedHeaders, err := v4.NewSigner().PresignHTTP(req.Context(), creds, req, hex.EncodeToString(sum[:]), "iam", "eu-west-1", at)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		return &Request{Method: method, Path: u.EscapedPath(), RawQuery: u.RawQuery, Host: u.Host, Header: signedHeaders, Body: []byte(body), ContentLength: int64(len(body))}
	}
	if err := v4.NewSigner().SignHTTP(req.Context(), creds, req, hex.EncodeToString(sum[:]), "iam", "eu-west-1", at); err != nil {
		t.Fatal(err)
	}
	return &Request{Method: method, Path: req.URL.EscapedPath(), RawQuery: req.URL.RawQuery, Host: req.URL.Host, Header: req.Header, Body: []byte(body), ContentLength: int64(len(body))}
}

// accepts verifies a request as the gateway does, a minute after it was made.
func accepts(r *Request) error {
	q, err := url.ParseQuery(r.RawQuery)
	if err != nil {
		return err
	}
	sig, err := Parse(r.Header, q)
	if err != nil {
		return err
	}
	if err := sig.Check("iam", time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)); err != nil {
		return err
	}
	return sig.Verify(r, exampleSecret)
}

// Whatever AWS's SDK signs verifies; with one thing changed that the signature
// covers, it does not.
func TestSDKSignsAndNothingMayChange(t *testing.T) {
	letters := rapid.StringMatching(`[a-zA-Z0-9 %/+&=é~*'().:;,_!-]{0,12}`)
	rapid.Check(t, func(t *rapid.T) {
		path := "/"
		for range rapid.IntRange(0, 3).Draw(t, "segments") {
			path += url.PathEscape(rapid.StringMatching(`[a-zA-Z0-9 %+é~*_-]{1,8}`).Draw(t, "segment")) + "/"
		}
		q := url.Values{}
		for range rapid.IntRange(0, 4).Draw(t, "parameters") {
			q.Add("k"+letters.Draw(t, "key"), letters.Draw(t, "value"))
		}
		h := http.Header{"Content-Type": {"text/plain"}, "X-Amz-Meta": {letters.Draw(t, "header")}}
		body := letters.Draw(t, "body")
		method := rapid.SampledFrom([]string{"GET", "POST", "PUT"}).Draw(t, "method")
		presign := rapid.Bool().Draw(t, "presign")
		token := rapid.SampledFrom([]string{"", "token"}).Draw(t, "token")
		fresh := func() *Request {
			return signed(t, method, "https://iam.amazonaws.com"+path+"?"+q.Encode(), h, body, presign, token)
		}
		r := fresh()
		if err := accepts(r); err != nil {
			sig, _ := Parse(r.Header, mustQuery(r.RawQuery))
			payload, _ := payloadHash(r, sig)
			t.Fatalf("%v; canonical request\n%s", err, canonical(r, sig, payload))
		}
		changes := map[string]func(*Request){
			"method":    func(r *Request) { r.Method = "DELETE" },
			"path":      func(r *Request) { r.Path += "x" },
			"parameter": func(r *Request) { r.RawQuery += "&zz=1" },
			"body":      func(r *Request) { r.Body = append(r.Body, 'x') },
			"host":      func(r *Request) { r.Host = "evil.example" },
			"no query":  func(r *Request) { r.RawQuery = ""; r.Header.Set("X-Amz-Date", "20260301T120001Z") },
		}
		if !presign {
			changes["date"] = func(r *Request) { r.Header.Set("X-Amz-Date", "20260301T120001Z") }
			changes["header"] = func(r *Request) { r.Header.Set("X-Amz-Meta", "other "+r.Header.Get("X-Amz-Meta")) }
			changes["header twice"] = func(r *Request) { r.Header.Add("X-Amz-Meta", "x") }
			changes["no date"] = func(r *Request) { r.Header.Del("X-Amz-Date") }
			changes["no header"] = func(r *Request) { r.Header.Set("X-Amz-Meta", ""); r.Header.Del("Content-Type") }
			if token != "" {
				changes["token"] = func(r *Request) { r.Header.Set("X-Amz-Security-Token", "other") }
			}
		} else {
			changes["expires"] = func(r *Request) { r.RawQuery = strings.Replace(r.RawQuery, "X-Amz-Expires=60", "X-Amz-Expires=61", 1) }
			changes["expires twice"] = func(r *Request) { r.RawQuery = "X-Amz-Expires=600&" + r.RawQuery }
			changes["algorithm"] = func(r *Request) { r.RawQuery = strings.Replace(r.RawQuery, "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA257", 1) }
			changes["region"] = func(r *Request) { r.RawQuery = strings.Replace(r.RawQuery, "eu-west-1", "eu-west-2", 1) }
			if token != "" {
				changes["token"] = func(r *Request) {
					r.RawQuery = strings.Replace(r.RawQuery, "X-Amz-Security-Token=token", "X-Amz-Security-Token=other", 1)
				}
			}
		}
		name := rapid.SampledFrom(slices.Sorted(keysOf(changes))).Draw(t, "change")
		r = fresh()
		changes[name](r)
		if accepts(r) == nil {
			t.Fatalf("accepted although the %s changed", name)
		}
	})
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func mustQuery(s string) url.Values {
	q, err := url.ParseQuery(s)
	if err != nil {
		panic(err)
	}
	return q
}

func TestOrderOfRefusals(t *testing.T) {
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	const good = "AWS4-HMAC-SHA256 Credential=k/20150830/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=ab"
	for _, tt := range []struct {
		name, auth string
		query      url.Values
		now        time.Time
		want       string
	}{
		{"all is well", good, nil, at, ""},
		{"both kinds", good, url.Values{"X-Amz-Algorithm": {Algorithm}}, at, "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."},
		{"the time first", strings.NewReplacer("host", "x", "SHA256", "SHA1", "/iam", "").Replace(good), nil, at.Add(time.Hour), "Signature expired: 20150830T123600Z is now earlier than 20150830T132100Z (20150830T133600Z - 15 min.)"},
		{"the host second", strings.NewReplacer("host", "x", "SHA256", "SHA1", "/iam", "").Replace(good), nil, at, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"the algorithm third", strings.NewReplacer("SHA256", "SHA1", "/iam", "").Replace(good), nil, at, "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1'."},
		{"the credential's form fourth", strings.Replace(good, "/iam", "", 1), nil, at, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'k/20150830/us-east-1/aws4_request'"},
		{
			"all of the scope together", strings.Replace(good, "20150830/us-east-1/iam/aws4_request", "20150829/MARS/sts/aws5", 1), nil, at,
			"Credential should be scoped to a valid region. Credential should be scoped to correct service: 'iam'. " +
				"Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5'. " +
				"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150829' != '20150830', from '20150830T123600Z'. ",
		},
		{"15 minutes late", good, nil, at.Add(15 * time.Minute), ""},
		{"a second more", good, nil, at.Add(15*time.Minute + time.Second), "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)"},
		{"15 minutes early", good, nil, at.Add(-15 * time.Minute), ""},
		{"a second earlier", good, nil, at.Add(-15*time.Minute - time.Second), "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T122059Z + 15 min.)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sig, err := Parse(http.Header{"Authorization": {tt.auth}, "X-Amz-Date": {"20150830T123600Z"}}, tt.query)
			if err == nil {
				err = sig.Check("iam", tt.now)
			}
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
	two := http.Header{"Authorization": {good, good}, "X-Amz-Date": {"20150830T123600Z"}}
	if _, err := Parse(two, nil); err == nil {
		t.Error("two Authorization headers are taken")
	}
}

func TestPresignedTimes(t *testing.T) {
	base := url.Values{
		"X-Amz-Algorithm": {Algorithm}, "X-Amz-Credential": {"k/20260301/eu-west-1/iam/aws4_request"}, "X-Amz-Date": {"20260301T120000Z"},
		"X-Amz-SignedHeaders": {"host"}, "X-Amz-Signature": {"ab"},
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		expires string
		now     time.Time
		ok      bool
	}{
		{"60", at.Add(time.Minute), true},
		{"60", at.Add(61 * time.Second), false},
		{"604800", at.Add(7 * 24 * time.Hour), true},
		{"604801", at, false},
		{"-1", at, false},
		{"x", at, false},
		{"1e3", at, false},
		{"99999999999999999999", at, false},
		{"0", at, true},
		{"0", at.Add(time.Second), false},
		{"60", at.Add(-16 * time.Minute), false},
		{"", at.Add(16 * time.Minute), false},
	} {
		q := url.Values{}
		maps.Copy(q, base)
		if tt.expires != "" {
			q.Set("X-Amz-Expires", tt.expires)
		}
		sig, err := Parse(http.Header{}, q)
		if err == nil {
			err = sig.Check("iam", tt.now)
		}
		if (err == nil) != tt.ok {
			t.Errorf("expires %q at %v: %v", tt.expires, tt.now, err)
		}
	}
	for _, name := range []string{"X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Algorithm"} {
		q := url.Values{}
		for k, v := range base {
			if k != name {
				q[k] = v
			}
		}
		if name == "X-Amz-Algorithm" {
			q.Set(name, "")
		}
		_, err := Parse(http.Header{}, q)
		if e, ok := errors.AsType[*Incomplete](err); !ok || !strings.Contains(e.Message, "AWS query-string parameters must include '"+name+"'.") {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// Paths and queries are made canonical without failing, and twice is once.
func FuzzCanonical(f *testing.F) {
	f.Add("/a/../b/./c//d%20e", "b=2&a=1&a=%zz&=&X-Amz-Signature=x")
	f.Add("//..//", "a+b=c+d&é=%C3%A9")
	f.Add("", "%")
	f.Fuzz(func(t *testing.T, path, query string) {
		p := string(canonicalPath(nil, path, false))
		if !strings.HasPrefix(p, "/") || strings.Contains(p, "//") || strings.Contains(p, "/../") || strings.ContainsAny(p, " \n?#") {
			t.Errorf("%q becomes %q", path, p)
		}
		q := string(canonicalQuery(nil, query))
		if strings.ContainsAny(q, " \n+#") {
			t.Errorf("%q becomes %q", query, q)
		}
		if again := string(canonicalQuery(nil, q)); again != q {
			t.Errorf("%q becomes %q, and that %q", query, q, again)
		}
	})
}
