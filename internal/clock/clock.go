// Package clock is the time that the rest of Roadstead sees.
package clock

import (
	"context"
	"time"
)

// Clock tells the time and wakes its callers. Inside testing/synctest the
// real clock is a fake one, so most tests need no other.
type Clock interface {
	Now() time.Time
	// NewTimer fires once after d.
	NewTimer(d time.Duration) *time.Timer
}

// System is the machine's clock.
type System struct{}

var _ Clock = System{}

// Now is the current time in UTC, without a monotonic reading's surprises in
// stored records: those are made by rounding to milliseconds at the writer.
func (System) Now() time.Time { return time.Now().UTC() }

// NewTimer fires once after d.
func (System) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// Sleep waits for d and reports false when ctx ended first.
func Sleep(ctx context.Context, c Clock, d time.Duration) bool {
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
