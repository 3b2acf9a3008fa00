// Package instancetype is what AWS publishes about the types of EC2
// instances: their processors, memory and limits. It knows the families that
// people run containers on.
package instancetype

import "slices"

// Type describes a type of instance.
type Type struct {
	Name   string // m5.large
	Family string // m5
	Size   string // large
	// Architectures that the type runs.
	Architectures  []string
	Manufacturer   string // of the processor
	SustainedGHz   float64
	VCPUs          int32
	Cores          int32
	ThreadsPerCore int32
	MemoryMiB      int64
	// MaxInterfaces, and private IPv4 addresses of each of them.
	MaxInterfaces  int32
	IPv4PerDevice  int32
	Network        string // Up to 10 Gigabit
	NetworkGbps    float64
	NetworkMaxGbps float64
	// EBS is nil where the type is not optimized for EBS.
	EBS               *EBS
	CurrentGeneration bool
	Burstable         bool
	// Hypervisor is nitro or xen.
	Hypervisor string
	// BootModes in the order in which AWS tells them.
	BootModes []string
	// Placement are the strategies of placement groups.
	Placement []string
	FreeTier  bool
}

// EBS is how fast volumes are: the baseline, and the maximum of a burst.
type EBS struct {
	BaseMbps, BaseIOPS int32
	MaxMbps, MaxIOPS   int32
}

// What the tables are made of.
type (
	family struct {
		name, arch, maker                 string
		xen, previous, burstable, cluster bool
		sizes                             []size
	}
	size struct {
		name             string
		vcpus, cores     int32
		memory           int64
		interfaces, ipv4 int32
		ghz              float64
		network          string
		gbps, maxGbps    float64
		ebs              ebs
	}
	ebs struct{ baseMbps, baseIOPS, maxMbps, maxIOPS int32 }
)

const (
	x8664 = "x86_64"
	arm64 = "arm64"
)

var all, byName = build()

// All are the known types, family by family, the smallest first. The slice is
// the caller's, what its elements point to is not.
func All() []Type { return slices.Clone(all) }

// Find is the type with a name.
func Find(name string) (Type, bool) {
	i, ok := byName[name]
	if !ok {
		return Type{}, false
	}
	return all[i], true
}

func build() (list []Type, at map[string]int) {
	at = map[string]int{}
	for _, f := range slices.Concat(burstable, general, compute, memory) {
		for i := range f.sizes {
			t := f.of(&f.sizes[i])
			at[t.Name] = len(list)
			list = append(list, t)
		}
	}
	return list, at
}

func (f *family) of(s *size) Type {
	t := Type{
		Name: f.name + "." + s.name, Family: f.name, Size: s.name, Architectures: []string{f.arch}, Manufacturer: f.maker,
		SustainedGHz: s.ghz, VCPUs: s.vcpus, Cores: s.cores, ThreadsPerCore: s.vcpus / s.cores, MemoryMiB: s.memory,
		MaxInterfaces: s.interfaces, IPv4PerDevice: s.ipv4, Network: s.network, NetworkGbps: s.gbps, NetworkMaxGbps: s.maxGbps,
		CurrentGeneration: !f.previous, Burstable: f.burstable, Hypervisor: "nitro", BootModes: []string{"legacy-bios", "uefi"},
		Placement: []string{"partition", "spread"}, FreeTier: isFree(f.name, s.name),
	}
	if s.ebs != (ebs{}) {
		t.EBS = &EBS{s.ebs.baseMbps, s.ebs.baseIOPS, s.ebs.maxMbps, s.ebs.maxIOPS}
	}
	if f.cluster {
		t.Placement = []string{"cluster", "partition", "spread"}
	}
	switch {
	case f.xen:
		t.Hypervisor, t.BootModes = "xen", []string{"legacy-bios"}
		if t.VCPUs <= 2 && t.MemoryMiB <= 4096 {
			t.Architectures = []string{"i386", x8664} // t2's small sizes
		}
	case f.arch == arm64:
		t.BootModes = []string{"uefi"}
	}
	return t
}

func isFree(family, size string) bool {
	return (family == "t3" || family == "t4g") && (size == "micro" || size == "small")
}
