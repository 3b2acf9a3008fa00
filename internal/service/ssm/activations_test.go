package ssm

import (
	"strings"
	"testing"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ssm"
)

func TestActivationsAreRefused(t *testing.T) {
	f := newFixture(t)
	_, err := f.CreateActivation(f.ctx, &ssm.CreateActivationInput{IamRole: new("r")})
	if api.Code(err) != "ValidationException" || !strings.Contains(err.Error(), "ECS_EXTERNAL=true") {
		t.Errorf("got %v", err)
	}
}
