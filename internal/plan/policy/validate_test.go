package policy

import (
	"errors"
	"strings"
	"testing"
)

// statement makes a document of one statement's members.
func statement(members string) string {
	return `{"Version":"2012-10-17","Statement":{` + members + `}}`
}

const (
	legacy  = "The policy failed legacy parsing"
	syntax  = "Syntax errors in policy."
	noVers  = "Policy document must be version 2012-10-17 or greater."
	oneTrap = `"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"`
)

func TestParseIdentityErrors(t *testing.T) {
	bucket := `"Resource":"arn:aws:s3:::b"`
	allowList := `"Effect":"Allow","Action":"s3:ListBucket",`
	for _, tt := range []struct{ name, doc, want string }{
		{"not JSON", `hello`, syntax},
		{"empty", ``, syntax},
		{"two values", statement(oneTrap) + `{}`, syntax},
		{"repeated name", statement(oneTrap + `,"Effect":"Deny"`), syntax},
		{"no version", `{"Statement":{` + oneTrap + `}}`, noVers},
		{"old version", `{"Version":"2008-10-17","Statement":{` + oneTrap + `}}`, noVers},
		{"unknown version", `{"Version":"2013-10-17","Statement":{` + oneTrap + `}}`, syntax},
		{"no statement", `{"Version":"2012-10-17"}`, syntax},
		{"no statements", `{"Version":"2012-10-17","Statement":[]}`, syntax},
		{"statement no object", `{"Version":"2012-10-17","Statement":["x"]}`, syntax},
		{"unknown element", `{"Version":"2012-10-17","Statement":{` + oneTrap + `},"X":1}`, syntax},
		{"unknown element in statement", statement(oneTrap + `,"X":"y"`), syntax},
		{"effect missing", statement(`"Action":"s3:ListBucket","Resource":"*"`), syntax},
		{"effect unknown", statement(`"Effect":"Maybe","Action":"s3:ListBucket","Resource":"*"`), syntax},
		{"effect's case", statement(`"Effect":"allow","Action":"s3:ListBucket","Resource":"*"`), legacy},
		{"effect's case, no version", `{"Statement":{"Effect":"denY","Action":"s3:ListBucket","Resource":"*"}}`, noVers},
		{"no actions", statement(`"Effect":"Allow","Resource":"*"`), "Policy statement must contain actions."},
		{"empty actions", statement(`"Effect":"Allow","Action":[],"Resource":"*"`), "Policy statement must contain actions."},
		{"no resources", statement(`"Effect":"Allow","Action":"s3:ListBucket"`), "Policy statement must contain resources."},
		{"empty resources", statement(`"Effect":"Allow","Action":"x","Resource":[]`), "Policy statement must contain resources."},
		{"action and its opposite", statement(oneTrap + `,"NotAction":"s3:x"`), syntax},
		{"resource and its opposite", statement(oneTrap + `,"NotResource":[]`), syntax},
		{"action without vendor", statement(`"Effect":"Allow","Action":"ListBucket","Resource":"*"`), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."},
		{"action with two colons", statement(`"Effect":"Allow","Action":"s3:List:Bucket","Resource":"*"`), "Actions/Condition can contain only one colon."},
		{"vendor with a space", statement(`"Effect":"Allow","Action":"a a:List","Resource":"*"`), "Vendor a a is not valid"},
		{"resource no ARN", statement(allowList + `"Resource":"some thing"`), `Resource some thing must be in ARN format or "*".`},
		{"resource empty", statement(allowList + `"Resource":""`), `Resource  must be in ARN format or "*".`},
		{"resource before action", statement(`"Effect":"Allow","Action":"s:3:x","Resource":"asdf"`), `Resource asdf must be in ARN format or "*".`},
		{"partition", statement(allowList + `"Resource":"arn:error:s3:::b"`), `Partition "error" is not valid for resource "arn:error:s3:::b".`},
		{"partition of a short one", statement(allowList + `"Resource":"aws:s3:::b"`), `Partition "s3" is not valid for resource "arn:s3:::b:*".`},
		{"five parts", statement(allowList + `"Resource":"arn:aws:s3::b"`), legacy},
		{"no vendor", statement(allowList + `"Resource":"arn:aws::::b"`), legacy},
		{"two parts", statement(allowList + `"Resource":"arn:aws"`), "Resource vendor must be fully qualified and cannot contain regexes."},
		{"s3 with a region", statement(allowList + `"Resource":"arn:aws:s3:us-east-1::b"`), "Resource arn:aws:s3:us-east-1::b can not contain region information."},
		{"iam with a region", statement(allowList + `"Resource":"arn:aws:iam:us-east-1::role/b"`), "IAM resource arn:aws:iam:us-east-1::role/b cannot contain region information."},
		{"iam path", statement(allowList + `"Resource":"arn:aws:iam:::b"`), `IAM resource path must either be "*" or start with user/, federated-user/, role/, group/, instance-profile/, mfa/, server-certificate/, policy/, sms-mfa/, saml-provider/, oidc-provider/, report/, access-report/.`},
		{"resource an object", statement(allowList + `"Resource":{"a":"b"}`), syntax},
		{"sids repeat", `{"Version":"2012-10-17","Statement":[{"Sid":"a",` + oneTrap + `},{"Sid":"a","Effect":"Allow"}]}`, "Statement IDs (SID) in a single policy must be unique."},
		{"sid no string", statement(oneTrap + `,"Sid":{}`), syntax},
		{"id no string", `{"Version":"2012-10-17","Id":[],"Statement":{` + oneTrap + `}}`, syntax},
		{"principal", statement(oneTrap + `,"Principal":"*"`), "Policy document should not specify a principal."},
		{"condition a list", statement(oneTrap + `,"Condition":[]`), syntax},
		{"condition a string", statement(oneTrap + `,"Condition":"a"`), syntax},
		{"condition without keys", statement(oneTrap + `,"Condition":{"StringEquals":"b"}`), syntax},
		{"operator unknown", statement(oneTrap + `,"Condition":{"x":{"a":"1"}}`), syntax},
		{"operator with two colons", statement(oneTrap + `,"Condition":{"ForAnyValue::StringEquals":{"a":"1"}}`), syntax},
		{"null if exists", statement(oneTrap + `,"Condition":{"NullIfExists":{"a":"true"}}`), syntax},
		{"date", statement(allowList + bucket + `,"Condition":{"DateGreaterThan":{"a":"sdfdsf"}}`), legacy},
		{"date before actions", statement(`"Effect":"Allow","Condition":{"DateGreaterThan":{"a":"sdfdsf"}}`), legacy},
		{"number", statement(allowList + bucket + `,"Condition":{"NumericEquals":{"a":"x"}}`), legacy},
		{"address", statement(allowList + bucket + `,"Condition":{"IpAddress":{"aws:SourceIp":"1.2.3"}}`), legacy},
		{"too deep", statement(`"Effect":` + strings.Repeat("[", 40) + strings.Repeat("]", 40)), syntax},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.doc, Identity)
			m, ok := errors.AsType[*Malformed](err)
			if !ok || m.Message != tt.want {
				t.Errorf("Parse(%s)\n got %v\nwant %s", tt.doc, err, tt.want)
			}
		})
	}
}

func TestParseIdentityAccepts(t *testing.T) {
	for _, members := range []string{
		oneTrap,
		`"Effect":"Deny","NotAction":"*","NotResource":["arn:aws:s3:::a","*"]`,
		`"Sid":"","Effect":"Allow","Action":"*","Resource":"*"`,
		`"Effect":"Allow","Action":"iam: asdf safdsf af ","Resource":"arn:aws:s3:::b"`,
		`"Effect":"Allow","Action":"x:y","Resource":"arn:aws:fdsasf"`,
		`"Effect":"Allow","Action":"x:y","Resource":"arn:aws:iam::*:role/*"`,
		`"Effect":"Allow","Action":"x:y","Resource":"arn:aws:iam::123456789012:*"`,
		`"Effect":"Allow","Action":"x:y","Resource":"arn:*:ec2:us-east-1::x"`,
		oneTrap + `,"Condition":{}`,
		oneTrap + `,"Condition":{"DateGreaterThan":{}}`,
		oneTrap + `,"Condition":{"a":{}}`,
		oneTrap + `,"Condition":{"StringLikeIfExists":{"a":["b",1,true]}}`,
		oneTrap + `,"Condition":{"ForAllValues:StringEqualsIgnoreCase":{"aws:TagKeys":"x"}}`,
		oneTrap + `,"Condition":{"DateLessThan":{"aws:CurrentTime":["2017-12-31T23:59:59Z","2017","1700000000","2017-12-31"]}}`,
	} {
		if _, err := Parse(statement(members), Identity); err != nil {
			t.Errorf("%s: %v", members, err)
		}
	}
}

func TestParseTrust(t *testing.T) {
	assume := `"Effect":"Allow","Action":"sts:AssumeRole"`
	for _, tt := range []struct{ name, members, want string }{
		{"service", assume + `,"Principal":{"Service":"ecs-tasks.amazonaws.com"}`, ""},
		{"services", assume + `,"Principal":{"Service":["ec2.amazonaws.com","ecs.amazonaws.com"]}`, ""},
		{"account", assume + `,"Principal":{"AWS":["123456789012","arn:aws:iam::123456789012:root"]}`, ""},
		{"anyone", assume + `,"Principal":"*"`, ""},
		{"session", assume + `,"Principal":{"AWS":"arn:aws:sts::123456789012:assumed-role/r/s"}`, ""},
		{"deleted", assume + `,"Principal":{"AWS":"AROAABCDEFGHIJKLMNOPQ"}`, ""},
		{"federated", `"Effect":"Allow","Action":"sts:AssumeRoleWithWebIdentity","Principal":{"Federated":"cognito-identity.amazonaws.com"}`, ""},
		{"no principal", assume, "Missing required field Principal"},
		{"no action", `"Effect":"Allow","Principal":"*"`, "Missing required field Action"},
		{"resource", assume + `,"Principal":"*","Resource":"*"`, "Has prohibited field Resource"},
		{"other action", `"Effect":"Allow","Action":"*","Principal":"*"`, "AssumeRole policy may only specify STS AssumeRole actions."},
		{"not principal", assume + `,"NotPrincipal":{"AWS":"123456789012"}`, "AssumeRole policy must not contain NotPrincipal field."},
		{"wildcard in ARN", assume + `,"Principal":{"AWS":"arn:aws:iam::123456789012:role/*"}`, `Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:role/*"`},
		{"no ARN", assume + `,"Principal":{"AWS":"bob"}`, `Invalid principal in policy: "AWS":"bob"`},
		{"no service", assume + `,"Principal":{"Service":"bob"}`, `Invalid principal in policy: "SERVICE":"bob"`},
		{"unknown type", assume + `,"Principal":{"Bob":"x"}`, syntax},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Trust policies may be of the old version.
			_, err := Parse(`{"Version":"2008-10-17","Statement":[{`+tt.members+`}]}`, Trust)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(statement(oneTrap))
	f.Add(statement(`"Effect":"Deny","NotAction":["iam:*"],"NotResource":"arn:aws:s3:::${aws:username}/*"`))
	f.Add(statement(oneTrap + `,"Condition":{"ForAnyValue:StringLikeIfExists":{"aws:TagKeys":["a*","${aws:x, 'd'}"]},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`))
	f.Add(`{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*","Service":["x.amazonaws.com"]},"Action":"sts:AssumeRole"}]}`)
	f.Add(`[`)
	f.Add(`{"Statement":{"Effect":"Allow","Resource":"arn:aws"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []Kind{Identity, Trust, Resource} {
			doc, err := Parse(text, kind)
			if err != nil {
				if _, ok := errors.AsType[*Malformed](err); !ok {
					t.Fatalf("%T: %v", err, err)
				}
				continue
			}
			for _, s := range doc.Statements {
				if got := text[s.Start:s.End]; got[0] != '{' || got[len(got)-1] != '}' {
					t.Fatalf("statement stands at %q", got)
				}
			}
			ctx := Context{}
			ctx.Set("aws:username", "bob")
			doc.Decide(&Request{Action: "s3:ListBucket", Resource: "arn:aws:s3:::b", Context: ctx, Principal: Principal{Account: "1"}})
		}
	})
}
