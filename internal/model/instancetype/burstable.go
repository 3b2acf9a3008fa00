package instancetype

// burstable are the burstable types: vCPUs, cores, MiB, interfaces, addresses
// of each, GHz, the network's performance with its baseline and peak in
// Gbit/s, and EBS's baseline and maximum in Mbit/s and operations a second.
var burstable = []family{
	{name: "t2", arch: x8664, maker: "Intel", xen: true, burstable: true, sizes: []size{
		{"nano", 1, 1, 512, 2, 2, 2.4, "Low to Moderate", 0.032, 0.512, ebs{}},
		{"micro", 1, 1, 1024, 2, 2, 2.5, "Low to Moderate", 0.064, 1.024, ebs{}},
		{"small", 1, 1, 2048, 3, 4, 2.5, "Low to Moderate", 0.128, 1.024, ebs{}},
		{"medium", 2, 2, 4096, 3, 6, 2.3, "Low to Moderate", 0.256, 1.024, ebs{}},
		{"large", 2, 2, 8192, 3, 12, 2.3, "Low to Moderate", 0.512, 1.024, ebs{}},
		{"xlarge", 4, 4, 16384, 3, 15, 2.3, "Moderate", 0.75, 1.024, ebs{}},
		{"2xlarge", 8, 8, 32768, 3, 15, 2.3, "Moderate", 1, 1.024, ebs{}},
	}},
	{name: "t3", arch: x8664, maker: "Intel", burstable: true, sizes: []size{
		{"nano", 2, 1, 512, 2, 2, 2.5, "Up to 5 Gigabit", 0.032, 5, ebs{43, 250, 2085, 11800}},
		{"micro", 2, 1, 1024, 2, 2, 2.5, "Up to 5 Gigabit", 0.064, 5, ebs{87, 500, 2085, 11800}},
		{"small", 2, 1, 2048, 3, 4, 2.5, "Up to 5 Gigabit", 0.128, 5, ebs{174, 1000, 2085, 11800}},
		{"medium", 2, 1, 4096, 3, 6, 2.5, "Up to 5 Gigabit", 0.256, 5, ebs{347, 2000, 2085, 11800}},
		{"large", 2, 1, 8192, 3, 12, 2.5, "Up to 5 Gigabit", 0.512, 5, ebs{695, 4000, 2780, 15700}},
		{"xlarge", 4, 2, 16384, 4, 15, 2.5, "Up to 5 Gigabit", 1.024, 5, ebs{695, 4000, 2780, 15700}},
		{"2xlarge", 8, 4, 32768, 4, 15, 2.5, "Up to 5 Gigabit", 2.048, 5, ebs{695, 4000, 2780, 15700}},
	}},
	{name: "t3a", arch: x8664, maker: "AMD", burstable: true, sizes: []size{
		{"nano", 2, 1, 512, 2, 2, 2.2, "Up to 5 Gigabit", 0.032, 5, ebs{45, 250, 2085, 11800}},
		{"micro", 2, 1, 1024, 2, 2, 2.2, "Up to 5 Gigabit", 0.064, 5, ebs{90, 500, 2085, 11800}},
		{"small", 2, 1, 2048, 2, 4, 2.2, "Up to 5 Gigabit", 0.128, 5, ebs{175, 1000, 2085, 11800}},
		{"medium", 2, 1, 4096, 3, 6, 2.2, "Up to 5 Gigabit", 0.256, 5, ebs{350, 2000, 2085, 11800}},
		{"large", 2, 1, 8192, 3, 12, 2.2, "Up to 5 Gigabit", 0.512, 5, ebs{695, 4000, 2780, 15700}},
		{"xlarge", 4, 2, 16384, 4, 15, 2.2, "Up to 5 Gigabit", 1.024, 5, ebs{695, 4000, 2780, 15700}},
		{"2xlarge", 8, 4, 32768, 4, 15, 2.2, "Up to 5 Gigabit", 2.048, 5, ebs{695, 4000, 2780, 15700}},
	}},
	{name: "t4g", arch: arm64, maker: "AWS", burstable: true, sizes: []size{
		{"nano", 2, 2, 512, 2, 2, 2.5, "Up to 5 Gigabit", 0.032, 5, ebs{43, 250, 2085, 11800}},
		{"micro", 2, 2, 1024, 2, 2, 2.5, "Up to 5 Gigabit", 0.064, 5, ebs{87, 500, 2085, 11800}},
		{"small", 2, 2, 2048, 3, 4, 2.5, "Up to 5 Gigabit", 0.128, 5, ebs{174, 1000, 2085, 11800}},
		{"medium", 2, 2, 4096, 3, 6, 2.5, "Up to 5 Gigabit", 0.256, 5, ebs{347, 2000, 2085, 11800}},
		{"large", 2, 2, 8192, 3, 12, 2.5, "Up to 5 Gigabit", 0.512, 5, ebs{695, 4000, 2780, 15700}},
		{"xlarge", 4, 4, 16384, 4, 15, 2.5, "Up to 5 Gigabit", 1.024, 5, ebs{695, 4000, 2780, 15700}},
		{"2xlarge", 8, 8, 32768, 4, 15, 2.5, "Up to 5 Gigabit", 2.048, 5, ebs{695, 4000, 2780, 15700}},
	}},
}
