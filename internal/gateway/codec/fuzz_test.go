package codec

import (
	"bytes"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/api/elbv2"
)

// reencode writes an input as JSON.
func reencode(t *testing.T, op *api.Operation, in any) []byte {
	t.Helper()
	v, _ := structOf(in)
	b, err := encodeStruct(op.InputShape(), v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What decodes encodes to JSON that decodes to the same.
func FuzzJSON(f *testing.F) {
	op := ecs.New(nil).Operation("RegisterTaskDefinition")
	for _, s := range []string{
		`{}`, ``, `null`, `[]`, `{"family":"a","containerDefinitions":[{"name":"x","memory":5,"essential":true,"environment":[{"name":"k","value":"v"}],"dockerLabels":{"a":"b"}}]}`,
		`{"family":"\u00fc\ud83d\ude00\n","cpu":null,"tags":[{}],"unknown":{"x":[1.5e3,true,null]}}`,
		`{"containerDefinitions":[{"memory":"12"},{"memory":1e2},{"memory":1.5}]}`, `{"family":"\ud800"}`, `{"a":1,"a":2}`, `{"family":5}`, `{"containerDefinitions":{}}`,
		"{\"family\":\"\xff\"}", `{"ephemeralStorage":{"sizeInGiB":99999999999}}`, strings.Repeat(`{"a":`, 100),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		in := op.NewInput()
		if err := (JSON{}).Decode(op, &Request{Body: body}, in); err != nil {
			if api.Code(err) != "SerializationException" {
				t.Fatalf("error %v", err)
			}
			return
		}
		once := reencode(t, op, in)
		again := op.NewInput()
		if err := (JSON{}).Decode(op, &Request{Body: once}, again); err != nil {
			t.Fatalf("%s does not decode: %v", once, err)
		}
		if !reflect.DeepEqual(in, again) {
			t.Fatalf("%s decodes to another value: %s", once, reencode(t, op, again))
		}
	})
}

func FuzzQuery(f *testing.F) {
	op := elbv2.New(nil).Operation("CreateRule")
	seeds := []string{
		"Action=CreateRule&ListenerArn=x&Priority=1&Actions.member.1.Type=forward&Actions.member.1.ForwardConfig.TargetGroups.member.2.Weight=3&Conditions.member.10.Values.member.1=a",
		"Actions.1.Type=forward&Actions.-1.Type=x&Actions.99999999999999999999.Type=y", "Actions=", "=", "%zz=1", "a..b=1", "Priority=x", "Tags.member.1.Key=%ff", strings.Repeat("a.", 200) + "=1",
	}
	fuzzForm(f, Query{}, op, seeds)
}

func FuzzEC2(f *testing.F) {
	op := ec2.New(nil).Operation("AuthorizeSecurityGroupIngress")
	seeds := []string{
		"GroupId=sg&IpPermissions.1.FromPort=80&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0%2F0&IpPermissions.1.Groups.2.GroupId=sg-2&DryRun=true",
		"IpPermissions=x", "Nonsense=1", "DryRun=maybe", "IpPermissions.x.FromPort=1", "FromPort=99999999999",
	}
	fuzzForm(f, EC2{}, op, seeds)
}

// Forms decode or are refused with an error that has a code.
func fuzzForm(f *testing.F, c Codec, op *api.Operation, seeds []string) {
	f.Helper()
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		in := op.NewInput()
		if err := c.Decode(op, &Request{Body: []byte(body)}, in); err != nil {
			if api.Code(err) == "" {
				t.Fatalf("error %v has no code", err)
			}
			return
		}
		b := reencode(t, op, in)
		again := op.NewInput()
		if err := (JSON{}).Decode(op, &Request{Body: b}, again); err != nil {
			t.Fatalf("%s does not decode: %v", b, err)
		}
	})
}

func FuzzRESTJSON(f *testing.F) {
	svc := restService()
	f.Add("/clusters/a%2Fb/tags", "list=a&list=b&n=5", []byte(`{"name":"x"}`))
	f.Add("/clusters/%zz/tags", "n=x", []byte(`{`))
	f.Add("/clusters//tags", "", []byte(nil))
	f.Fuzz(func(t *testing.T, path, query string, body []byte) {
		op := MatchREST(svc, "POST", path)
		if op == nil {
			return
		}
		q, _ := url.ParseQuery(query)
		in := op.NewInput()
		if err := (RESTJSON{}).Decode(op, &Request{Method: "POST", Path: path, Query: q, Body: body}, in); err != nil && api.Code(err) == "" {
			t.Fatalf("error %v has no code", err)
		}
	})
}

// Whatever a string holds, the XML of it is well formed and the JSON is valid.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a<b>&\"'", "\x00\x1f\r\n\t", "\xff\xfe", "ü\u2028😀\ufffe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := jsonEncoder{}
		e.str(s)
		d := scanner{b: e.b}
		got, err := d.str()
		if err != nil || d.i != len(e.b) || got != strings.ToValidUTF8(s, "\ufffd") && len(got) == len(s) {
			t.Fatalf("%q becomes %s: %v", s, e.b, err)
		}
		x := xmlEncoder{}
		x.element("a", s)
		if _, err := xmlText(x.b); err != nil {
			t.Fatalf("%q becomes %s: %v", s, x.b, err)
		}
		if bytes.ContainsAny(x.b[3:len(x.b)-4], "<>") {
			t.Fatalf("%q becomes %s", s, x.b)
		}
	})
}
