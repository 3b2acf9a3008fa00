package accesslog

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/model"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

const (
	lbID  = "app/my-loadbalancer/50dc6c495c0c9188"
	group = "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067"
	cert  = "arn:aws:acm:us-east-2:123456789012:certificate/12345678-1234-1234-1234-123456789012"
)

// plain is the documentation's example of an HTTP entry.
func plain() l7.Record {
	return l7.Record{
		Created: at("2018-07-02T22:22:48.364Z"), Ended: at("2018-07-02T22:23:00.186641Z"),
		Node: netip.MustParseAddr("10.0.0.9"), Client: netip.MustParseAddrPort("192.168.131.39:2817"),
		Scheme: "http", Port: 80, Name: "my-lb.elb.localhost",
		Method: []byte("GET"), URI: []byte("/"), Host: []byte("www.example.com"), Agent: []byte("curl/7.46.0"), Minor: 1,
		Connection: "TID_1234abcd5678ef90", Trace: []byte("Root=1-58337262-36d228ad5d99923122bbe354"),
		Matched: true, Actions: "forward", Status: 200, TargetStatus: 200, Received: 34, Sent: 366,
		Target: "10.0.0.1:80", TargetGroup: group, Targeting: 1_900_000,
	}
}

func TestAccessEntries(t *testing.T) {
	const rest = ` "-" "-" TID_1234abcd5678ef90 "-" "-" "-"`
	for _, c := range []struct {
		name   string
		change func(*l7.Record)
		want   string
	}{
		{"http", func(*l7.Record) {}, `http 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 ` +
			`0.000 0.001 0.000 200 200 34 366 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - - ` + group +
			` "Root=1-58337262-36d228ad5d99923122bbe354" "-" "-" 0 2018-07-02T22:22:48.364000Z "forward" "-" "-" "10.0.0.1:80" "200"` + rest},
		{"https", func(r *l7.Record) {
			r.Scheme, r.Port = "https", 443
			r.Session = &l7.Session{Version: 0x0303, Suite: 0xc02f, ServerName: "www.example.com", CertificateARN: cert}
			r.Dispatching, r.Targeting, r.Passing = 86*time.Millisecond, 48*time.Millisecond, 37*time.Millisecond
			r.Priority, r.Actions, r.Received, r.Sent = 1, "authenticate,forward", 0, 57
		}, `https 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 ` +
			`0.086 0.048 0.037 200 200 0 57 "GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 ` + group +
			` "Root=1-58337262-36d228ad5d99923122bbe354" "www.example.com" "` + cert + `" 1 2018-07-02T22:22:48.364000Z "authenticate,forward" "-" "-" "10.0.0.1:80" "200"` + rest},
		{"HTTP/2, redirected, session reused", func(r *l7.Record) {
			r.Scheme, r.Port, r.HTTP2, r.Host = "https", 773, true, []byte("10.0.2.105:773")
			r.Session = &l7.Session{Version: 0x0304, Suite: 0x1301, Resumed: true}
			r.Target, r.TargetGroup, r.TargetStatus, r.Status = "", "", 0, 302
			r.Actions, r.RedirectURL = "redirect", "https://example.com:80/"
		}, `h2 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 - ` +
			`-1 -1 -1 302 - 34 366 "GET https://10.0.2.105:773/ HTTP/2.0" "curl/7.46.0" TLS_AES_128_GCM_SHA256 TLSv1.3 - ` +
			`"Root=1-58337262-36d228ad5d99923122bbe354" "-" "session-reused" 0 2018-07-02T22:22:48.364000Z "redirect" "https://example.com:80/" "-" "-" "-"` + rest},
		{"malformed", func(r *l7.Record) {
			*r = l7.Record{
				Created: r.Created, Ended: r.Ended, Client: r.Client, Scheme: "http", Port: 80, Name: "my-lb.elb.localhost", Status: 505, Received: 7, Connection: r.Connection,
				Classification: "Severe", ClassificationReason: "BadVersion",
			}
		}, `http 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 - ` +
			`-1 -1 -1 505 - 7 0 "- http://my-lb.elb.localhost:80- -" "-" - - - "-" "-" "-" - 2018-07-02T22:22:48.364000Z "-" "-" "-" "-" "-" "Severe" "BadVersion" TID_1234abcd5678ef90 "-" "-" "-"`},
		{"what would break the line", func(r *l7.Record) {
			r.URI, r.Agent, r.Host = []byte(`/a"b`), []byte("a\\b\"\xff\x7f"), []byte("[::1]")
		}, `http 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 ` +
			`0.000 0.001 0.000 200 200 34 366 "GET http://[::1]:80/a\x22b HTTP/1.1" "a\x5Cb\x22\xFF\x7F" - - ` + group +
			` "Root=1-58337262-36d228ad5d99923122bbe354" "-" "-" 0 2018-07-02T22:22:48.364000Z "forward" "-" "-" "10.0.0.1:80" "200"` + rest},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := plain()
			c.change(&r)
			got := string(newWriter(accessFields, Format{}).append(nil, &request{&r, lbID}))
			if got != c.want+"\n" {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestTypes(t *testing.T) {
	for want, r := range map[string]l7.Record{
		"http": {Scheme: "http"}, "https": {Scheme: "https", Session: &l7.Session{}}, "h2": {Scheme: "https", HTTP2: true, Session: &l7.Session{}},
		"grpcs": {HTTP2: true, GRPC: true, Session: &l7.Session{}}, "ws": {Scheme: "http", Tunnel: true}, "wss": {Scheme: "https", Tunnel: true, Session: &l7.Session{}},
	} {
		if got := requestType(&request{Record: &r}); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

func TestConnectionEntries(t *testing.T) {
	c := l7.Connection{At: at("2023-10-04T17:05:15.514108Z"), Client: netip.MustParseAddrPort("203.0.113.1:36280"), Port: 443, Trace: "TID_3180"}
	w := newWriter(connectionFields, Format{})
	for _, x := range []struct {
		session *l7.Session
		want    string
	}{
		{nil, `2023-10-04T17:05:15.514108Z 203.0.113.1 36280 443 - - - "-" - - - TID_3180 -`},
		{
			&l7.Session{Version: 0x0303, Suite: 0xc02f, Handshake: 4036 * time.Millisecond, Curve: 23},
			`2023-10-04T17:05:15.514108Z 203.0.113.1 36280 443 TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 4.036 "-" - - Success TID_3180 secp256r1`,
		},
		{&l7.Session{Failed: "ClientCertUntrusted"}, `2023-10-04T17:05:15.514108Z 203.0.113.1 36280 443 - - - "-" - - Failed:ClientCertUntrusted TID_3180 -`},
	} {
		c.Session = x.session
		if got := string(w.append(nil, &connection{&c, lbID})); got != x.want+"\n" {
			t.Errorf("got  %s\nwant %s", got, x.want)
		}
	}
}

func TestCheckEntries(t *testing.T) {
	c := Check{
		Type: "http", Began: at("2025-10-31T12:44:59.875678Z"), Took: 19584011, Target: "172.31.20.97:80", Group: "HCLogsTestIPs",
		Status: "200", Node: netip.MustParseAddr("172.31.0.9"),
	}
	w := newWriter(checkFields, Format{})
	for want, change := range map[string]func(*Check){
		`http 2025-10-31T12:44:59.875678Z 0.019584011 172.31.20.97:80 HCLogsTestIPs PASS 200 -`: func(*Check) {},
		`http 2025-10-31T12:44:58.901409Z 1.121980746 172.31.31.9:80 HCLogsTestIPs FAIL 502 TargetError`: func(c *Check) {
			c.Began, c.Took, c.Target, c.Status, c.Reason = at("2025-10-31T12:44:58.901409Z"), 1121980746, "172.31.31.9:80", "502", CheckTargetError
		},
		`https 2025-10-31T12:44:59.875678Z 5.000000000 172.31.20.97:80 HCLogsTestIPs FAIL - TimedOut`: func(c *Check) {
			c.Type, c.Took, c.Status, c.Reason = "https", 5*time.Second, "", CheckTimedOut
		},
	} {
		e := c
		change(&e)
		if got := string(w.append(nil, &check{&e, lbID})); got != want+"\n" {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if got := string(newWriter(checkFields, Format{Fields: []string{"elb", "ip_address"}}).append(nil, &check{&c, lbID})); got != lbID+" 172.31.0.9\n" {
		t.Error(got)
	}
}

func TestChosenFields(t *testing.T) {
	r := plain()
	r.Agent = []byte(`a"b`)
	e := &request{&r, lbID}
	got := string(newWriter(accessFields, Format{Fields: []string{"elb_status_code", "ip_address", "user_agent"}, Delimiter: "\t"}).append(nil, e))
	if want := "200\t10.0.0.9\t\"a\\x22b\"\n"; got != want {
		t.Errorf("%q, not %q", got, want)
	}
	var object map[string]string
	if err := json.Unmarshal(newWriter(accessFields, Format{JSON: true}).append(nil, e), &object); err != nil {
		t.Fatal(err)
	}
	if object["user_agent"] != `a\x22b` || object["client:port"] != "192.168.131.39:2817" || object["domain_name"] != "-" {
		t.Errorf("%v", object)
	}
	if len(object) != len(Fields(Access))-1 {
		t.Errorf("%d fields", len(object))
	}
}

// FuzzEntry holds that no client can forge entries: whatever it sends, there is
// one line, with as many quotes as there are quoted fields.
func FuzzEntry(f *testing.F) {
	f.Add("GET", "/", "host", "agent", "Root=1")
	f.Add("\n", `"`, "\\", "\x00", `\"`)
	f.Fuzz(func(t *testing.T, method, uri, host, agent, trace string) {
		r := plain()
		r.Method, r.URI, r.Host, r.Agent, r.Trace = []byte(method), []byte(uri), []byte(host), []byte(agent), []byte(trace)
		e := &request{&r, lbID}
		line := string(newWriter(accessFields, Format{}).append(nil, e))
		if strings.Count(line, "\n") != 1 || strings.Count(line, `"`) != 2*15 {
			t.Errorf("%q", line)
		}
		if b := newWriter(accessFields, Format{JSON: true}).append(nil, e); !json.Valid(b) {
			t.Errorf("%s", b)
		}
	})
}

// TestFieldsAreListed holds that the API knows the fields that there are.
func TestFieldsAreListed(t *testing.T) {
	for _, k := range []Kind{Access, Connection, Checks, Network} {
		if got, want := strings.Join(Fields(k), " "), strings.Join(model.LogFields[string(k)], " "); got != want {
			t.Errorf("%s: %s, not %s", k, got, want)
		}
	}
}

// What a client sends is escaped in time that grows with it, and no faster.
func TestEscapedJSON(t *testing.T) {
	for _, in := range []string{"", "plain", `\`, `a\b`, `\\`, strings.Repeat(`\x22`, 1<<20)} {
		got := string(escapeBackslashes([]byte(`before\`+in), len(`before\`)))
		if want := `before\` + strings.ReplaceAll(in, `\`, `\\`); got != want {
			t.Errorf("%.20q: got %.40q, want %.40q", in, got, want)
		}
	}
}
