package checksum

import (
	"encoding/hex"
	"io"
	"testing"
)

// The check values of each algorithm's definition.
func TestChecksums(t *testing.T) {
	for name, want := range map[string]string{
		CRC32: "cbf43926", CRC32C: "e3069283", CRC64NVME: "ae8b14860a799888",
		SHA1: "f7c3bc1d808e04732adf679965ccc34ca7ae3441", SHA256: "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
	} {
		h := New(name)
		io.WriteString(h, "123456789")
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if !Valid(name, Encode(h)) || Valid(name, "AA==") || Valid(name, "") {
			t.Errorf("%s: what is valid", name)
		}
	}
	if New("MD5") != nil || Size("") != 0 || Valid("", "") {
		t.Error("an unknown algorithm is known")
	}
}
