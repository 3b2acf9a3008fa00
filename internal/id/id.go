// Package id makes the random identifiers that AWS's resources carry.
package id

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"time"
)

// Hex is n random lowercase hexadecimal digits: ECS task ids have 32, EC2
// resource ids 17 behind their prefix.
func Hex(n int) string {
	b := make([]byte, (n+1)/2)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b)[:n]
}

// Resource is an EC2-style id: prefix, a dash and 17 hexadecimal digits.
func Resource(prefix string) string { return prefix + "-" + Hex(17) }

// Upper is n random characters of A to Z and 2 to 7, as in IAM's unique ids.
func Upper(n int) string {
	b := make([]byte, n*5/8+1)
	_, _ = rand.Read(b)
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)[:n]
}

// UUID is a random (version 4) UUID.
func UUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Newest is a random id in the form of a UUID that sorts before those of
// earlier milliseconds.
func Newest(now time.Time) string {
	left := uint64(1<<48-1) - uint64(now.UnixMilli())&(1<<48-1)
	h := fmt.Sprintf("%012x", left)
	return h[:8] + "-" + h[8:] + UUID()[13:]
}
