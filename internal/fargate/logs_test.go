package fargate

import (
	"strings"
	"testing"

	"roadstead.dev/internal/node"
)

// Options that say where an event begins are understood before anything runs.
func TestLogOptionsAreChecked(t *testing.T) {
	for options, want := range map[[2]string]string{
		{"^a", "%Y"}: "at the same time",
		{"(", ""}:    "could not parse multiline pattern",
	} {
		_, err := (&Logs{}).Open(t.Context(), node.LogTarget{
			Driver: "awslogs", TaskArn: "arn:aws:ecs:us-east-1:000000000000:task/c/1",
			Options: map[string]string{"awslogs-multiline-pattern": options[0], "awslogs-datetime-format": options[1]},
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", options, err)
		}
	}
}
