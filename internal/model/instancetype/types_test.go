package instancetype

import (
	"slices"
	"strings"
	"testing"
)

// A few rows as AWS's own pages have them, one of each table and shape.
func TestPublished(t *testing.T) {
	for _, want := range []struct {
		name          string
		vcpus         int32
		memory        int64
		eni, ip       int32
		arch, network string
	}{
		{"t2.micro", 1, 1024, 2, 2, "x86_64", "Low to Moderate"},
		{"t3.nano", 2, 512, 2, 2, "x86_64", "Up to 5 Gigabit"},
		{"t3.large", 2, 8192, 3, 12, "x86_64", "Up to 5 Gigabit"},
		{"t4g.2xlarge", 8, 32768, 4, 15, "arm64", "Up to 5 Gigabit"},
		{"m5.large", 2, 8192, 3, 10, "x86_64", "Up to 10 Gigabit"},
		{"m5.24xlarge", 96, 393216, 15, 50, "x86_64", "25 Gigabit"},
		{"m6g.medium", 1, 4096, 2, 4, "arm64", "Up to 10 Gigabit"},
		{"m7i.48xlarge", 192, 786432, 15, 50, "x86_64", "50 Gigabit"},
		{"c5.18xlarge", 72, 147456, 15, 50, "x86_64", "25 Gigabit"},
		{"c6i.2xlarge", 8, 16384, 4, 15, "x86_64", "Up to 12.5 Gigabit"},
		{"r5.4xlarge", 16, 131072, 8, 30, "x86_64", "Up to 10 Gigabit"},
		{"r7g.16xlarge", 64, 524288, 15, 50, "arm64", "30 Gigabit"},
	} {
		got, ok := Find(want.name)
		if !ok || got.VCPUs != want.vcpus || got.MemoryMiB != want.memory || got.MaxInterfaces != want.eni || got.IPv4PerDevice != want.ip ||
			!slices.Contains(got.Architectures, want.arch) || got.Network != want.network {
			t.Errorf("%s: %+v, %v", want.name, got, ok)
		}
	}
	if _, ok := Find("m5.huge"); ok {
		t.Error("there is an m5.huge")
	}
}

// What follows from a size's name holds for every family.
func TestShapes(t *testing.T) {
	perVCPU := map[byte]int64{'m': 4096, 'c': 2048, 'r': 8192}
	for _, typ := range All() {
		if typ.VCPUs != typ.Cores*typ.ThreadsPerCore {
			t.Errorf("%s: %d vCPUs on %d cores", typ.Name, typ.VCPUs, typ.Cores)
		}
		if per, ok := perVCPU[typ.Family[0]]; ok && typ.MemoryMiB != per*int64(typ.VCPUs) {
			t.Errorf("%s: %d MiB for %d vCPUs", typ.Name, typ.MemoryMiB, typ.VCPUs)
		}
		if graviton := strings.HasSuffix(typ.Family, "g"); graviton != (typ.Architectures[0] == arm64) {
			t.Errorf("%s runs %v", typ.Name, typ.Architectures)
		}
		if typ.MaxInterfaces < 2 || typ.IPv4PerDevice < 2 || (typ.EBS == nil) != (typ.Hypervisor == "xen") {
			t.Errorf("%s: %+v", typ.Name, typ)
		}
	}
}
