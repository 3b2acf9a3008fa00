package machineimage

import (
	"encoding/json"
	"strings"
	"time"
)

// Parameter is one of the public parameters of Systems Manager that name the
// images.
type Parameter struct {
	Name  string
	Value string
	// DataType is text or aws:ec2:image.
	DataType   string
	Version    int64
	ModifiedAt time.Time
}

// Parameters are a region's public parameters of the images, below
// /aws/service/ecs/optimized-ami and /aws/service/ami-amazon-linux-latest.
func Parameters(region string) []Parameter {
	var out []Parameter
	for n, r := range releases {
		for _, arch := range []string{X8664, ARM64} {
			for _, m := range r.images(region, arch) {
				switch {
				case m.ECS != nil:
					out = append(out, m.ecsParameters(n == 0)...)
				case n == 0:
					out = append(out, m.latest()...)
				}
			}
		}
	}
	return out
}

// ecsParameters are those of an image by its name, and by what recommends it
// when it is the newest.
func (m Image) ecsParameters(newest bool) []Parameter {
	folder := "/aws/service/ecs/optimized-ami/amazon-linux-2023"
	if strings.HasPrefix(m.Name, "amzn2-") {
		folder = "/aws/service/ecs/optimized-ami/amazon-linux-2"
	}
	if strings.Contains(m.Name, "-kernel-5.10-") {
		folder += "/kernel-5.10"
	}
	if m.Architecture == ARM64 {
		folder += "/arm64"
	}
	names := []string{m.Name}
	if newest {
		names = append(names, "recommended")
	}
	version, err := json.Marshal(map[string]any{
		"ecs_agent_version": m.ECS.AgentVersion, "ecs_runtime_version": m.ECS.RuntimeVersion,
		"image_id": m.ID, "image_name": m.Name, "image_version": m.ECS.ImageVersion,
		"os": m.ECS.OS, "schema_version": 1, "source_image_name": m.ECS.SourceImage,
	})
	if err != nil {
		panic("machineimage: " + err.Error()) // strings and a number always encode
	}
	var out []Parameter
	add := func(name, value, dataType string) {
		out = append(out, Parameter{Name: name, Value: value, DataType: dataType, Version: 1, ModifiedAt: m.CreatedAt})
	}
	for _, name := range names {
		path := folder + "/" + name
		add(path, string(version), "text")
		add(path+"/ecs_agent_version", m.ECS.AgentVersion, "text")
		add(path+"/ecs_runtime_version", m.ECS.RuntimeVersion, "text")
		add(path+"/image_id", m.ID, "aws:ec2:image")
		add(path+"/image_name", m.Name, "text")
		add(path+"/image_version", m.ECS.ImageVersion, "text")
		add(path+"/os", m.ECS.OS, "text")
		add(path+"/schema_version", "1", "text")
		add(path+"/source_image_name", m.ECS.SourceImage, "text")
	}
	return out
}

// latest are the parameters that name a newest plain image.
func (m Image) latest() []Parameter {
	var names []string
	switch {
	case strings.HasPrefix(m.Name, "al2023-ami-minimal-"):
		names = []string{"al2023-ami-minimal-kernel-default-", "al2023-ami-minimal-kernel-6.1-"}
	case strings.HasPrefix(m.Name, "al2023-ami-"):
		names = []string{"al2023-ami-kernel-default-", "al2023-ami-kernel-6.1-"}
	case strings.HasPrefix(m.Name, "amzn2-ami-kernel-5.10-hvm-"):
		names = []string{"amzn2-ami-kernel-5.10-hvm-"}
	case strings.HasPrefix(m.Name, "amzn2-ami-hvm-"):
		names = []string{"amzn2-ami-hvm-"}
	}
	var out []Parameter
	for _, name := range names {
		name = "/aws/service/ami-amazon-linux-latest/" + name + m.Architecture
		if strings.HasPrefix(m.Name, "amzn2-") {
			name += "-gp2"
		}
		out = append(out, Parameter{Name: name, Value: m.ID, DataType: "aws:ec2:image", Version: 1, ModifiedAt: m.CreatedAt})
	}
	return out
}
