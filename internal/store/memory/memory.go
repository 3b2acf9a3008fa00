// Package memory is a store that keeps nothing: for tests, and for a server
// that is to forget.
package memory

import (
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/local"
)

// New makes an empty store.
func New() store.Store { return WithHistory(0) }

// WithHistory makes an empty store that keeps as many commits for watchers;
// 0 means the default.
func WithHistory(commits int) store.Store {
	return local.New(local.Config{Log: nothing{}, History: commits})
}

// nothing is a log that takes every write for durable.
type nothing struct{}

var _ local.Log = nothing{}

func (nothing) Write([]local.Change, uint64) error { return nil }
func (nothing) Close() error                       { return nil }
