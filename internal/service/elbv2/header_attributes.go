package elbv2

import (
	"slices"
	"strings"
)

// maxFieldName bounds the name that a header is given.
const maxFieldName = 40

// takenFields are headers that say something else.
var takenFields = []string{
	"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect", "keep-alive", "proxy-connection",
	"cookie", "authorization", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "x-amzn-trace-id",
}

// fieldName holds for the names that a header which tells of TLS can be given.
func fieldName(v string) bool {
	name := strings.ReplaceAll(strings.ToLower(v), "_", "-")
	return v != "" && len(v) <= maxFieldName && strings.Trim(v, alphanumeric+"-_") == "" &&
		!slices.Contains(takenFields, name) && !strings.HasPrefix(name, "x-amzn-oidc-")
}

// secureListenerAttributes are those that HTTPS listeners have beside those of
// HTTP ones: what the headers are called that tell of TLS.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/header-modification.html
var secureListenerAttributes = func() []attribute {
	var out []attribute
	for _, name := range []string{
		"X-Amzn-Mtls-Clientcert", "X-Amzn-Mtls-Clientcert-Issuer", "X-Amzn-Mtls-Clientcert-Leaf", "X-Amzn-Mtls-Clientcert-Serial-Number",
		"X-Amzn-Mtls-Clientcert-Subject", "X-Amzn-Mtls-Clientcert-Validity", "X-Amzn-Tls-Cipher-Suite", "X-Amzn-Tls-Version",
	} {
		key := "routing.http.request." + strings.ReplaceAll(strings.ToLower(name), "-", "_") + ".header_name"
		out = append(out, attribute{key, name, fieldName})
	}
	return append(out, listenerAttributes...)
}()

// namesApart refuses two headers of one name.
func namesApart(known []attribute, set map[string]string) error {
	seen := map[string]string{}
	var twice error
	attributes(known, set, func(k, v string) {
		if !strings.HasSuffix(k, ".header_name") {
			return
		}
		name := strings.ReplaceAll(strings.ToLower(v), "_", "-")
		if other, taken := seen[name]; taken {
			twice = invalid("Listener attributes '%s' and '%s' cannot have the same value '%s'", other, k, v)
		}
		seen[name] = k
	})
	return twice
}
