package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/model"
)

func (logsHandler) DeleteRetentionPolicy(_ context.Context, in *logs.DeleteRetentionPolicyInput) (*logs.DeleteRetentionPolicyOutput, error) {
	return nil, fmt.Errorf("key %q: %w", *in.LogGroupName, model.ErrName)
}

// A name that no record can have is the caller's mistake.
func TestNameThatNothingCanHave(t *testing.T) {
	resp, code, message := send(t, serve(t), "DeleteRetentionPolicy", `{"logGroupName":"group"}`, nil)
	if resp.StatusCode != http.StatusBadRequest || code != "InvalidParameterException" || message == "" {
		t.Errorf("%d %s %q", resp.StatusCode, code, message)
	}
}
