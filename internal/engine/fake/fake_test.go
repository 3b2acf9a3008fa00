package fake_test

import (
	"testing"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/enginetest"
	"roadstead.dev/internal/engine/fake"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, func(*testing.T) enginetest.Harness {
		s := fake.NewState()
		return enginetest.Harness{
			Engine: fake.New(s, nil),
			Reopen: func(*testing.T) engine.Engine { return fake.New(s, nil) },
			End:    s.Exit,
		}
	})
}
