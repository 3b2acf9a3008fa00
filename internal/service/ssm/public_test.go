package ssm

import (
	"encoding/json"
	"strings"
	"testing"

	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/model/machineimage"
)

func TestPublicParameters(t *testing.T) {
	f := newFixture(t)
	get := func(name string) *ssm.Parameter {
		t.Helper()
		out, err := f.GetParameter(f.ctx, &ssm.GetParameterInput{Name: &name})
		if err != nil {
			t.Fatal(name, err)
		}
		return out.Parameter
	}
	recommended := get("/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended")
	var image struct {
		ID string `json:"image_id"`
	}
	if err := json.Unmarshal([]byte(*recommended.Value), &image); err != nil {
		t.Fatal(err)
	}
	id := get("/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id")
	if *id.Value != image.ID || *id.DataType != "aws:ec2:image" || *id.ARN != "arn:aws:ssm:eu-west-1::parameter/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id" {
		t.Errorf("%+v", id)
	}
	if _, ok := machineimage.Find(region, *id.Value); !ok {
		t.Errorf("there is no image %s", *id.Value)
	}
	if p := get(*id.ARN + ":1"); *p.Value != image.ID || *p.Selector != ":1" {
		t.Errorf("by ARN and version: %+v", p)
	}
	if p := get("/aws/service/global-infrastructure/regions/eu-west-1/longName"); *p.Value != "Europe (Ireland)" {
		t.Errorf("%s", *p.Value)
	}
	// A parameter of one's own may name a public image.
	f.mustPut("mine", image.ID, func(in *ssm.PutParameterInput) { in.DataType = new("aws:ec2:image") })

	for _, name := range []string{"/aws/service/none", *id.ARN + "x"} {
		_, err := f.GetParameter(f.ctx, &ssm.GetParameterInput{Name: &name})
		wantError(t, err, "ParameterNotFound", "")
	}
	_, err := f.GetParameter(f.ctx, &ssm.GetParameterInput{Name: new("/aws/service/global-infrastructure/regions/eu-west-1:2")})
	wantError(t, err, "ParameterVersionNotFound", "could not find version 2")

	// Pages hold all of a path, once each.
	seen := map[string]bool{}
	in := &ssm.GetParametersByPathInput{Path: new("/aws/service/global-infrastructure/regions"), MaxResults: new(int32(10))}
	for {
		out, err := f.GetParametersByPath(f.ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range out.Parameters {
			if seen[*p.Name] || strings.Count(*p.Name, "/") != 5 {
				t.Errorf("%s", *p.Name)
			}
			seen[*p.Name] = true
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if len(seen) != len(regionNames) {
		t.Errorf("%d regions, want %d", len(seen), len(regionNames))
	}
	// A token of one path opens no other.
	first, err := f.GetParametersByPath(f.ctx, &ssm.GetParametersByPathInput{Path: in.Path})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.GetParametersByPath(f.ctx, &ssm.GetParametersByPathInput{Path: new("/aws/service/ecs"), NextToken: first.NextToken})
	wantError(t, err, "InvalidNextToken", "")

	for _, name := range []string{"/aws/service/mine", "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended"} {
		_, err := f.put(name, "v")
		wantError(t, err, "AccessDeniedException", "No access to reserved parameter name")
		_, err = f.DeleteParameter(f.ctx, &ssm.DeleteParameterInput{Name: &name})
		wantError(t, err, "ParameterNotFound", "")
	}
}
