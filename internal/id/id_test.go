package id

import (
	"regexp"
	"testing"
	"time"
)

func TestNewest(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	last := ""
	for _, later := range []time.Duration{24 * 365 * 100 * time.Hour, time.Hour, time.Second, time.Millisecond, 0, -24 * 365 * 50 * time.Hour} {
		id := Newest(at.Add(later))
		if !form.MatchString(id) || id <= last {
			t.Errorf("%s after %s", id, last)
		}
		last = id
	}
	if again := Newest(at); again == Newest(at) {
		t.Error("twice the same id")
	}
}
