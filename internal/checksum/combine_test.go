package checksum

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestCombine(t *testing.T) {
	sum := func(algorithm string, b []byte) []byte {
		h := New(algorithm)
		h.Write(b)
		return h.Sum(nil)
	}
	rapid.Check(t, func(t *rapid.T) {
		algorithm := rapid.SampledFrom([]string{CRC32, CRC32C, CRC64NVME}).Draw(t, "algorithm")
		a, b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "a"), rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "b")
		got := Combine(algorithm, sum(algorithm, a), sum(algorithm, b), int64(len(b)))
		if want := sum(algorithm, append(bytes.Clone(a), b...)); !bytes.Equal(got, want) {
			t.Fatalf("%s: %x, want %x", algorithm, got, want)
		}
	})
	if Combinable(SHA1) || !Combinable(CRC64NVME) {
		t.Error("what can be combined")
	}
}
