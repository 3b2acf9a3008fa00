package machineimage

import (
	"encoding/json"
	"regexp"
	"testing"
)

func TestImages(t *testing.T) {
	ids, names := map[string]bool{}, map[string]bool{}
	for _, region := range []string{"us-east-1", "eu-west-1"} {
		for _, m := range All(region) {
			if ids[m.ID] || !regexp.MustCompile(`^ami-[0-9a-f]{17}$`).MatchString(m.ID) {
				t.Errorf("id %q of %s", m.ID, m.Name)
			}
			ids[m.ID] = true
			if names[region+m.Name] {
				t.Errorf("%s is there twice", m.Name)
			}
			names[region+m.Name] = true
			if got, ok := Find(region, m.ID); !ok || got.Name != m.Name {
				t.Errorf("%s is not found by its id", m.Name)
			}
		}
	}
	if _, ok := Find("us-east-1", All("eu-west-1")[0].ID); ok {
		t.Error("an image is in two regions")
	}
}

// Every parameter leads to an image of its architecture.
func TestParameters(t *testing.T) {
	seen := map[string]string{}
	for _, p := range Parameters("us-east-1") {
		if _, twice := seen[p.Name]; twice {
			t.Errorf("%s is there twice", p.Name)
		}
		seen[p.Name] = p.Value
	}
	tests := map[string]string{
		"/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64":                `^al2023-ami-2023\.[0-9.]+-kernel-6\.1-x86_64$`,
		"/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-6.1-arm64":             `^al2023-ami-minimal-2023\.[0-9.]+-kernel-6\.1-arm64$`,
		"/aws/service/ami-amazon-linux-latest/amzn2-ami-hvm-x86_64-gp2":                        `^amzn2-ami-hvm-2\.0\.[0-9.]+-x86_64-gp2$`,
		"/aws/service/ami-amazon-linux-latest/amzn2-ami-kernel-5.10-hvm-arm64-gp2":             `^amzn2-ami-kernel-5\.10-hvm-2\.0\.[0-9.]+-arm64-gp2$`,
		"/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id":                `^al2023-ami-ecs-hvm-2023\.0\.[0-9]+-kernel-6\.1-x86_64$`,
		"/aws/service/ecs/optimized-ami/amazon-linux-2/arm64/recommended/image_id":             `^amzn2-ami-ecs-hvm-2\.0\.[0-9]+-arm64-ebs$`,
		"/aws/service/ecs/optimized-ami/amazon-linux-2/kernel-5.10/recommended/image_id":       `^amzn2-ami-ecs-kernel-5\.10-hvm-2\.0\.[0-9]+-x86_64-ebs$`,
		"/aws/service/ecs/optimized-ami/amazon-linux-2/kernel-5.10/arm64/recommended/image_id": `^amzn2-ami-ecs-kernel-5\.10-hvm-2\.0\.[0-9]+-arm64-ebs$`,
	}
	for name, want := range tests {
		m, ok := Find("us-east-1", seen[name])
		if !ok || !regexp.MustCompile(want).MatchString(m.Name) {
			t.Errorf("%s is %q, %s", name, seen[name], m.Name)
		}
	}
	var of struct {
		ImageID string `json:"image_id"`
		Name    string `json:"image_name"`
	}
	const recommended = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended"
	if err := json.Unmarshal([]byte(seen[recommended]), &of); err != nil || of.ImageID != seen[recommended+"/image_id"] || of.Name != seen[recommended+"/image_name"] {
		t.Errorf("%s is %s: %v", recommended, seen[recommended], err)
	}
}
