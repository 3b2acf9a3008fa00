package execution

import (
	"strings"
	"testing"
)

func FuzzParseSecret(f *testing.F) {
	for _, s := range []string{"name", "arn:aws:secretsmanager:us-east-1:1:secret:n-abcdef", "arn:aws:secretsmanager:us-east-1:1:secret:n-abcdef:k:s:v", "arn:a:b:c:d:e:f:g:h:i:j", "::::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		in, key, err := parseSecret(s)
		if err == nil && (!strings.HasPrefix(s, in.ID) || !strings.Contains(s, key)) {
			t.Fatalf("%q: %v, %q", s, in, key)
		}
	})
}

func FuzzPickKey(f *testing.F) {
	f.Add(`{"a":"b"}`, "a")
	f.Add(`{"a":{"b":1}}`, "a")
	f.Add(`[]`, "")
	f.Fuzz(func(_ *testing.T, text, key string) { _, _ = pickKey(text, key) })
}
