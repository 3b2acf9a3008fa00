package fargate

import (
	"testing"

	"roadstead.dev/internal/model/acs"
)

// Only this server's own registries get a token.
func TestTokensStayWithThisServer(t *testing.T) {
	const host = "000000000000.dkr.ecr.us-east-1.localhost"
	for _, image := range []string{
		host + ".example.com:4566/web", "example.com/" + host + ":4566/web", "docker.io/library/nginx", "localhost:4566/web",
	} {
		if auth, err := (&Images{}).ForImage(t.Context(), &acs.Task{}, &acs.Container{Image: image}); auth != nil || err != nil {
			t.Errorf("%s: %v, %v", image, auth, err)
		}
	}
	for _, image := range []string{host + ":4566/web:1", host + ":9999/web:1", host + "/web:1"} {
		if _, err := (&Images{}).ForImage(t.Context(), &acs.Task{}, &acs.Container{Image: image}); err == nil {
			t.Errorf("%s: pulled without an execution role", image)
		}
	}
}
