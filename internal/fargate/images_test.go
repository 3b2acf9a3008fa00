package fargate

import (
	"testing"

	"roadstead.dev/internal/model/acs"
)

// Only this server's own registries get a token: another port of the machine
// may be anybody's.
func TestTokensStayWithThisServer(t *testing.T) {
	const host = "000000000000.dkr.ecr.us-east-1.localhost"
	for image, own := range map[string]bool{
		host + ":4566/web:1":                true,
		host + ":9999/web:1":                false,
		host + "/web:1":                     false,
		host + ".example.com:4566/web":      false,
		"example.com/" + host + ":4566/web": false,
		"docker.io/library/nginx":           false,
	} {
		i := &Images{Port: "4566"}
		if i.own(image) != own {
			t.Errorf("%s: own is %v", image, !own)
		}
		if own {
			continue
		}
		if auth, err := i.ForImage(t.Context(), &acs.Task{}, &acs.Container{Image: image}); auth != nil || err != nil {
			t.Errorf("%s: %v, %v", image, auth, err)
		}
	}
	if !(&Images{Port: "80"}).own(host + "/web:1") {
		t.Error("the default port's registry is not this server's")
	}
}
