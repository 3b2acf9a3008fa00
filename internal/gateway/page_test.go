package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/gateway"
)

// The built-in key is in everybody's hands, so a page can sign with it: it
// must not help pages of other sites.
func TestBuiltinKeyIsNotForForeignPages(t *testing.T) {
	s := serve(t)
	port := s.URL[strings.LastIndexByte(s.URL, ':'):]
	for name, tt := range map[string]struct {
		host    string
		headers map[string]string
		refused bool
	}{
		"a tool":                       {},
		"localhost":                    {host: "localhost" + port},
		"a name below localhost":       {host: "api.localhost" + port},
		"a name in the hosts file":     {host: "devbox" + port},
		"AWS's own name":               {host: "logs.us-east-1.amazonaws.com"},
		"IPv6":                         {host: "[::1]" + port},
		"a page of this server":        {headers: map[string]string{"Origin": s.URL, "Sec-Fetch-Site": "same-origin"}},
		"another site's form":          {headers: map[string]string{"Sec-Fetch-Site": "cross-site"}, refused: true},
		"another port's page":          {headers: map[string]string{"Sec-Fetch-Site": "same-site"}, refused: true},
		"an old browser's form":        {headers: map[string]string{"Origin": "https://evil.example"}, refused: true},
		"a sandboxed page":             {headers: map[string]string{"Origin": "null"}, refused: true},
		"a name that leads here":       {host: "evil.example" + port, refused: true},
		"a name that looks like ours":  {host: "localhost.evil.example" + port, refused: true},
		"a name that ends like AWS's":  {host: "evilamazonaws.com", refused: true},
		"an address as a part of name": {host: "127.0.0.1.evil.example", refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			for key, refused := range map[string]bool{"test": tt.refused, userKey: false} {
				resp, code, message := send(t, s, "DescribeLogGroups", "{}", func(r *http.Request, sg *signing) {
					sg.key = key
					if key == "test" {
						sg.secret = "test"
					}
					if tt.host != "" {
						r.Host = tt.host
					}
					sg.after = func(r *http.Request) {
						for k, v := range tt.headers {
							r.Header.Set(k, v)
						}
					}
				})
				if got := code == "AccessDeniedException"; got != refused || !refused && resp.StatusCode != http.StatusOK {
					t.Errorf("%s: %d %s %s", key, resp.StatusCode, code, message)
				}
			}
		})
	}
}

// Inside VPCs and beyond loopback the built-in key is nobody's.
func TestBuiltinKeyIsUnknownElsewhere(t *testing.T) {
	s := httptest.NewServer(gateway.New(gateway.Config{
		Services: []gateway.Service{gateway.Bind(logs.New(logsHandler{}), logsHandler{})}, Credentials: directory{}, Authorizer: policies{}, Account: account,
	}))
	defer s.Close()
	_, code, _ := send(t, s, "DescribeLogGroups", "{}", func(_ *http.Request, sg *signing) { sg.key, sg.secret = "test", "test" })
	if code != "UnrecognizedClientException" {
		t.Errorf("the answer is %q", code)
	}
}

// broken is a directory that fails as nobody expects.
type broken struct{}

func (broken) Lookup(context.Context, string, string) (string, api.Identity, string, error) {
	panic("secret panic")
}

// A panic before the handler answers as one in it does.
func TestPanicAnywhereIsAnswered(t *testing.T) {
	s := httptest.NewServer(gateway.New(gateway.Config{
		Services: []gateway.Service{gateway.Bind(logs.New(logsHandler{}), logsHandler{})}, Credentials: broken{}, Authorizer: policies{}, Account: account,
	}))
	defer s.Close()
	resp, code, _ := send(t, s, "DescribeLogGroups", "{}", nil)
	if resp.StatusCode != http.StatusInternalServerError || code != "InternalFailure" {
		t.Errorf("%d %s", resp.StatusCode, code)
	}
}
