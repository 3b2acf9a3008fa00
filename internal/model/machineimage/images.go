// Package machineimage is the list of public machine images: Amazon Linux and
// Amazon ECS's, under the names that AWS gives them. An image's id follows
// from its region and name.
package machineimage

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// Owners of the images, both of whom answer to the alias amazon.
const (
	OwnerAmazonLinux = "137112412989"
	OwnerECS         = "591542846629"
	OwnerAlias       = "amazon"
)

// Architectures, as EC2 names them.
const (
	X8664 = "x86_64"
	ARM64 = "arm64"
)

// Image is an Amazon machine image that all accounts may use.
type Image struct {
	ID           string // ami-
	Name         string
	Description  string
	Owner        string
	Architecture string
	CreatedAt    time.Time
	// SnapshotID, VolumeSize (in GiB) and VolumeType are the root volume's.
	SnapshotID string
	VolumeSize int32
	VolumeType string
	// BootMode is uefi, uefi-preferred, or empty for the default.
	BootMode string
	// IMDSv2 is set when instances answer metadata requests of version 2 only.
	IMDSv2 bool
	// ECS is set for images with an ECS agent.
	ECS *ECS
}

// ECS is what Amazon ECS says of its images.
type ECS struct {
	OS             string // Amazon Linux 2023
	ImageVersion   string // 2023.0.20260918
	SourceImage    string
	AgentVersion   string
	RuntimeVersion string
}

// release is a date on which all images were made anew.
type release struct {
	date   time.Time
	ecs    string // 20260918
	al2023 string // 2023.12.20260917.1
	al2    string // 20260917.1
	agent  string
	docker string
}

// releases are the known ones, the latest first.
var releases = []release{
	{time.Date(2026, 9, 18, 18, 30, 0, 0, time.UTC), "20260918", "2023.12.20260917.1", "20260917.1", "1.106.2", "25.0.16"},
	{time.Date(2026, 8, 20, 17, 15, 0, 0, time.UTC), "20260820", "2023.12.20260817.0", "20260817.0", "1.106.1", "25.0.16"},
}

// All are a region's images, the latest first.
func All(region string) []Image {
	var out []Image
	for _, r := range releases {
		for _, arch := range []string{X8664, ARM64} {
			out = append(out, r.images(region, arch)...)
		}
	}
	return out
}

// Find is a region's image with an id.
func Find(region, id string) (Image, bool) {
	all := All(region)
	i := slices.IndexFunc(all, func(m Image) bool { return m.ID == id })
	if i < 0 {
		return Image{}, false
	}
	return all[i], true
}

// images are those that one release has for an architecture.
func (r release) images(region, arch string) []Image {
	al2023Boot, al2Boot := "uefi-preferred", ""
	if arch == ARM64 {
		al2023Boot, al2Boot = "uefi", "uefi"
	}
	minimal2023 := "al2023-ami-minimal-" + r.al2023 + "-kernel-6.1-" + arch
	minimal2 := "amzn2-ami-minimal-hvm-2.0." + r.al2 + "-" + arch + "-ebs"
	list := []Image{
		{
			Name:        "al2023-ami-" + r.al2023 + "-kernel-6.1-" + arch,
			Description: "Amazon Linux 2023 AMI " + r.al2023 + " " + arch + " HVM kernel-6.1",
			Owner:       OwnerAmazonLinux, VolumeSize: 8, VolumeType: "gp3", BootMode: al2023Boot, IMDSv2: true,
		},
		{
			Name:        minimal2023,
			Description: "Amazon Linux 2023 AMI " + r.al2023 + " " + arch + " Minimal HVM kernel-6.1",
			Owner:       OwnerAmazonLinux, VolumeSize: 2, VolumeType: "gp3", BootMode: al2023Boot, IMDSv2: true,
		},
		{
			Name:        "amzn2-ami-kernel-5.10-hvm-2.0." + r.al2 + "-" + arch + "-gp2",
			Description: "Amazon Linux 2 Kernel 5.10 AMI 2.0." + r.al2 + " " + arch + " HVM gp2",
			Owner:       OwnerAmazonLinux, VolumeSize: 8, VolumeType: "gp2", BootMode: al2Boot,
		},
		{
			Name:        "amzn2-ami-hvm-2.0." + r.al2 + "-" + arch + "-gp2",
			Description: "Amazon Linux 2 AMI 2.0." + r.al2 + " " + arch + " HVM gp2",
			Owner:       OwnerAmazonLinux, VolumeSize: 8, VolumeType: "gp2", BootMode: al2Boot,
		},
		{
			Name:        "al2023-ami-ecs-hvm-2023.0." + r.ecs + "-kernel-6.1-" + arch,
			Description: "Amazon Linux AMI 2023.0." + r.ecs + " " + arch + " ECS HVM EBS",
			Owner:       OwnerECS, VolumeSize: 30, VolumeType: "gp3", BootMode: al2023Boot, IMDSv2: true,
			ECS: r.ecsOn("Amazon Linux 2023", "2023.0.", minimal2023),
		},
		{
			Name:        "amzn2-ami-ecs-hvm-2.0." + r.ecs + "-" + arch + "-ebs",
			Description: "Amazon Linux AMI 2.0." + r.ecs + " " + arch + " ECS HVM GP2",
			Owner:       OwnerECS, VolumeSize: 30, VolumeType: "gp2", BootMode: al2Boot,
			ECS: r.ecsOn("Amazon Linux 2", "2.0.", minimal2),
		},
		{
			Name:        "amzn2-ami-ecs-kernel-5.10-hvm-2.0." + r.ecs + "-" + arch + "-ebs",
			Description: "Amazon Linux AMI 2.0." + r.ecs + " Kernel 5.10 " + arch + " ECS HVM GP2",
			Owner:       OwnerECS, VolumeSize: 30, VolumeType: "gp2", BootMode: al2Boot,
			ECS: r.ecsOn("Amazon Linux 2", "2.0.", minimal2),
		},
	}
	for i := range list {
		m := &list[i]
		m.ID, m.SnapshotID = derive("ami-", region, m.Name), derive("snap-", region, m.Name)
		m.Architecture, m.CreatedAt = arch, r.date
	}
	return list
}

func (r release) ecsOn(os, prefix, source string) *ECS {
	return &ECS{OS: os, ImageVersion: prefix + r.ecs, SourceImage: source, AgentVersion: r.agent, RuntimeVersion: "Docker version " + r.docker}
}

func derive(prefix, region, name string) string {
	sum := sha256.Sum256([]byte(prefix + region + "/" + name))
	return prefix + hex.EncodeToString(sum[:])[:17]
}
