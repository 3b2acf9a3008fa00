package memory_test

import (
	"testing"

	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T, history int) store.Store {
		s := memory.WithHistory(history)
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}
