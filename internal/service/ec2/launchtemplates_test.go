package ec2_test

import (
	"testing"

	api2 "roadstead.dev/internal/api/ec2"
)

func (w *world) template(name string, data *api2.RequestLaunchTemplateData) string {
	w.Helper()
	return *must[*api2.CreateLaunchTemplateOutput](w)(w.CreateLaunchTemplate(w.ctx, &api2.CreateLaunchTemplateInput{LaunchTemplateName: &name, LaunchTemplateData: data})).LaunchTemplate.LaunchTemplateId
}

func TestLaunchTemplateVersions(t *testing.T) {
	w := newWorld(t)
	tid := w.template("web", &api2.RequestLaunchTemplateData{
		ImageId: new("resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"), InstanceType: "t3.micro", EbsOptimized: new(false),
		MetadataOptions:   &api2.LaunchTemplateInstanceMetadataOptionsRequest{HttpTokens: "required"},
		TagSpecifications: []api2.LaunchTemplateTagSpecificationRequest{{ResourceType: "instance", Tags: []api2.Tag{{Key: new("a"), Value: new("")}}}},
	})
	add := func(source *string, data *api2.RequestLaunchTemplateData) *api2.LaunchTemplateVersion {
		t.Helper()
		return must[*api2.CreateLaunchTemplateVersionOutput](t)(w.CreateLaunchTemplateVersion(w.ctx, &api2.CreateLaunchTemplateVersionInput{
			LaunchTemplateName: new("web"), SourceVersion: source, LaunchTemplateData: data, ClientToken: new("t" + string(data.InstanceType)), VersionDescription: new("d"),
		})).LaunchTemplateVersion
	}
	two := add(new("1"), &api2.RequestLaunchTemplateData{InstanceType: "t3.small"})
	if d := two.LaunchTemplateData; *two.VersionNumber != 2 || *two.DefaultVersion || d.InstanceType != "t3.small" || d.ImageId == nil || *d.EbsOptimized || d.MetadataOptions.HttpTokens != "required" || *d.TagSpecifications[0].Tags[0].Value != "" {
		t.Errorf("version 2 is %+v", two)
	}
	if again := add(new("1"), &api2.RequestLaunchTemplateData{InstanceType: "t3.small"}); *again.VersionNumber != 2 {
		t.Errorf("the same request made version %d", *again.VersionNumber)
	}
	three := add(nil, &api2.RequestLaunchTemplateData{InstanceType: "t3.large"})
	if three.LaunchTemplateData.ImageId != nil {
		t.Errorf("version 3 is %+v", three)
	}
	numbers := func(in api2.DescribeLaunchTemplateVersionsInput) (out []int64) {
		t.Helper()
		if in.LaunchTemplateId == nil && len(in.Versions) == 0 || in.MinVersion != nil {
			in.LaunchTemplateId = &tid
		}
		for {
			got := must[*api2.DescribeLaunchTemplateVersionsOutput](t)(w.DescribeLaunchTemplateVersions(w.ctx, &in))
			for _, v := range got.LaunchTemplateVersions {
				out = append(out, *v.VersionNumber)
			}
			if in.NextToken = got.NextToken; in.NextToken == nil {
				return out
			}
		}
	}
	same := func(what string, got []int64, want ...int64) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
	}
	same("all", numbers(api2.DescribeLaunchTemplateVersionsInput{}), 3, 2, 1)
	same("pages", numbers(api2.DescribeLaunchTemplateVersionsInput{MaxResults: new(int32(1))}), 3, 2, 1)
	same("latest", numbers(api2.DescribeLaunchTemplateVersionsInput{Versions: []string{"$Latest", "$Default"}}), 3, 1)
	same("a range", numbers(api2.DescribeLaunchTemplateVersionsInput{MinVersion: new("2"), MaxVersion: new("2")}), 2)
	same("by type", numbers(api2.DescribeLaunchTemplateVersionsInput{Filters: filter("instance-type", "t3.small")}), 2)
	same("the default", numbers(api2.DescribeLaunchTemplateVersionsInput{Filters: filter("is-default-version", "true")}), 1)
	resolved := must[*api2.DescribeLaunchTemplateVersionsOutput](t)(w.DescribeLaunchTemplateVersions(w.ctx, &api2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &tid, Versions: []string{"1"}, ResolveAlias: new(true)})).LaunchTemplateVersions[0]
	if id := *resolved.LaunchTemplateData.ImageId; id[:4] != "ami-" {
		t.Errorf("resolved to %s", id)
	}

	must[*api2.ModifyLaunchTemplateOutput](t)(w.ModifyLaunchTemplate(w.ctx, &api2.ModifyLaunchTemplateInput{LaunchTemplateId: &tid, DefaultVersion: new("2")}))
	deleted := must[*api2.DeleteLaunchTemplateVersionsOutput](t)(w.DeleteLaunchTemplateVersions(w.ctx, &api2.DeleteLaunchTemplateVersionsInput{LaunchTemplateId: &tid, Versions: []string{"3", "2", "9"}}))
	if len(deleted.SuccessfullyDeletedLaunchTemplateVersions) != 1 || len(deleted.UnsuccessfullyDeletedLaunchTemplateVersions) != 2 || deleted.UnsuccessfullyDeletedLaunchTemplateVersions[1].ResponseError.Code != "launchTemplateVersionDoesNotExist" {
		t.Errorf("deleted %+v", deleted)
	}
	if four := add(nil, &api2.RequestLaunchTemplateData{InstanceType: "t3.nano"}); *four.VersionNumber != 4 {
		t.Errorf("number %d is used again", *four.VersionNumber)
	}
	got := must[*api2.DescribeLaunchTemplatesOutput](t)(w.DescribeLaunchTemplates(w.ctx, &api2.DescribeLaunchTemplatesInput{LaunchTemplateNames: []string{"web"}})).LaunchTemplates
	if len(got) != 1 || *got[0].DefaultVersionNumber != 2 || *got[0].LatestVersionNumber != 4 {
		t.Errorf("template %+v", got)
	}
	// The default version launches, with what the request says over it.
	i := w.run(func(in *api2.RunInstancesInput) {
		in.ImageId, in.InstanceType, in.LaunchTemplate = nil, "", &api2.LaunchTemplateSpecification{LaunchTemplateName: new("web")}
		in.TagSpecifications = []api2.TagSpecification{{ResourceType: "instance", Tags: []api2.Tag{{Key: new("b"), Value: new("1")}}}}
	}).Instances[0]
	if i.InstanceType != "t3.small" || len(i.Tags) != 4 {
		t.Errorf("launched %s with %+v", i.InstanceType, i.Tags)
	}
	data := must[*api2.GetLaunchTemplateDataOutput](t)(w.GetLaunchTemplateData(w.ctx, &api2.GetLaunchTemplateDataInput{InstanceId: i.InstanceId})).LaunchTemplateData
	if data.InstanceType != "t3.small" || len(data.TagSpecifications[0].Tags) != 2 || *data.NetworkInterfaces[0].SubnetId != *i.SubnetId {
		t.Errorf("data %+v", data)
	}
	must[*api2.DeleteLaunchTemplateOutput](t)(w.DeleteLaunchTemplate(w.ctx, &api2.DeleteLaunchTemplateInput{LaunchTemplateName: new("web")}))
	w.template("web", &api2.RequestLaunchTemplateData{InstanceType: "t3.micro"})
}

func TestLaunchTemplateErrors(t *testing.T) {
	w := newWorld(t)
	tid := w.template("web", &api2.RequestLaunchTemplateData{InstanceType: "t3.micro"})
	create := func(name string, data *api2.RequestLaunchTemplateData) error {
		_, err := w.CreateLaunchTemplate(w.ctx, &api2.CreateLaunchTemplateInput{LaunchTemplateName: &name, LaunchTemplateData: data})
		return err
	}
	versions := func(in *api2.DescribeLaunchTemplateVersionsInput) error {
		_, err := w.DescribeLaunchTemplateVersions(w.ctx, in)
		return err
	}
	_, noDefault := w.ModifyLaunchTemplate(w.ctx, &api2.ModifyLaunchTemplateInput{LaunchTemplateId: &tid})
	_, noImage := w.tryRun(func(in *api2.RunInstancesInput) {
		in.ImageId, in.LaunchTemplate = nil, &api2.LaunchTemplateSpecification{LaunchTemplateId: &tid}
	})
	tests := map[string]struct {
		err           error
		code, message string
	}{
		"name in use":       {create("web", &api2.RequestLaunchTemplateData{InstanceType: "t3.micro"}), "InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use."},
		"nothing in it":     {create("x", &api2.RequestLaunchTemplateData{KeyName: new("")}), "MissingParameter", ""},
		"what nobody does":  {create("x", &api2.RequestLaunchTemplateData{KernelId: new("aki-1")}), "UnsupportedOperation", "The requested operation is not supported: KernelId"},
		"bad user data":     {create("x", &api2.RequestLaunchTemplateData{UserData: new("%")}), "InvalidParameterValue", "Invalid BASE64 encoding of user data."},
		"names no image":    {noImage, "MissingParameter", "The request must contain the parameter ImageId"},
		"no id":             {versions(&api2.DescribeLaunchTemplateVersionsInput{}), "MissingParameter", ""},
		"both":              {versions(&api2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &tid, LaunchTemplateName: new("web")}), "InvalidParameterCombination", ""},
		"a bad id":          {versions(&api2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: new("x")}), "InvalidLaunchTemplateId.Malformed", ""},
		"another id":        {versions(&api2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: new("lt-0")}), "InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID lt-0, does not exist."},
		"another version":   {versions(&api2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &tid, Versions: []string{"5"}}), "InvalidLaunchTemplateId.VersionNotFound", ""},
		"a bad version":     {versions(&api2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &tid, Versions: []string{"x"}}), "InvalidParameterValue", ""},
		"without a default": {noDefault, "MissingParameter", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { fails(t, tt.err, tt.code, tt.message) })
	}
}
