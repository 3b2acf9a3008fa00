package model

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238's, and what authenticator programs speak
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"time"
)

// MFADevice is a virtual MFA device. Key: account, no region, path and name.
type MFADevice struct {
	// Serial is the device's ARN.
	Serial string `json:"serial"`
	// Seed verifies codes and is therefore kept as it is.
	Seed []byte `json:"seed"`
	// User is the record id of whom the device is enabled for, or empty, and
	// EnableDate since when.
	User       string    `json:"user,omitempty"`
	EnableDate time.Time `json:"enableDate,omitzero"`
	// LastStep is the newest step whose code was used: a code serves once.
	LastStep int64 `json:"lastStep,omitempty"`
	Tags     Tags  `json:"tags,omitzero"`
}

const (
	// mfaPeriod is how long a code is shown, in seconds.
	mfaPeriod = 30
	// mfaSkew is how many steps a device's clock may be off, either way.
	mfaSkew = 1
)

// MFACode is the code of six digits that a seed gives at a step: RFC 6238.
func MFACode(seed []byte, step int64) string {
	h := hmac.New(sha1.New, seed)
	_ = binary.Write(h, binary.BigEndian, step) // never fails
	sum := h.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0xf:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1e6)
}

// MFAStep is the number of the period that t is in.
func MFAStep(t time.Time) int64 { return t.Unix() / mfaPeriod }

// Step is the step around now whose code it is and that is newer than all
// that were used; false where there is none.
func (d *MFADevice) Step(code string, now time.Time) (step int64, ok bool) {
	for n := MFAStep(now) - mfaSkew; n <= MFAStep(now)+mfaSkew; n++ {
		if n > d.LastStep && subtle.ConstantTimeCompare([]byte(MFACode(d.Seed, n)), []byte(code)) == 1 {
			return n, true
		}
	}
	return 0, false
}

// Steps finds two codes that follow each other, as enabling a device asks for,
// and tells the later one's step. Devices that were set up slowly are behind:
// the search goes some minutes back.
func (d *MFADevice) Steps(first, second string, now time.Time) (step int64, ok bool) {
	const back = 10
	for n := MFAStep(now) - back; n <= MFAStep(now)+mfaSkew; n++ {
		if MFACode(d.Seed, n) == first && MFACode(d.Seed, n+1) == second {
			return n + 1, true
		}
	}
	return 0, false
}
