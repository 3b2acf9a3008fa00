package model

import (
	"testing"
	"time"
)

// TestMFACode checks the last six digits of RFC 6238's table for SHA-1.
func TestMFACode(t *testing.T) {
	seed := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		if got := MFACode(seed, MFAStep(time.Unix(at, 0))); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
}

func TestMFACodesServeOnce(t *testing.T) {
	d := &MFADevice{Seed: []byte("12345678901234567890")}
	now := time.Unix(1234567890, 0)
	code := MFACode(d.Seed, MFAStep(now))
	step, ok := d.Step(code, now)
	if !ok || step != MFAStep(now) {
		t.Fatalf("step %d, %v", step, ok)
	}
	d.LastStep = step
	if _, ok := d.Step(code, now); ok {
		t.Error("a code served twice")
	}
	if _, ok := d.Step(MFACode(d.Seed, step+1), now); !ok {
		t.Error("a clock that is half a minute ahead was refused")
	}
	if _, ok := d.Step(MFACode(d.Seed, step+2), now); ok {
		t.Error("a code of the next minute was taken")
	}
	if _, ok := d.Steps(code, MFACode(d.Seed, step+1), now); !ok {
		t.Error("two codes in a row were refused")
	}
	if _, ok := d.Steps(code, code, now); ok {
		t.Error("one code was taken for two")
	}
}
