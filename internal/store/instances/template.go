package instances

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Versions by name.
const (
	Latest  = "$Latest"
	Default = "$Default"
)

// Template is a launch template by its id or its name, of which one is empty.
func Template(ctx context.Context, s store.Store, at Place, id, name string) (store.Row[model.LaunchTemplate], error) {
	no := refuse("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID "+id+", does not exist.")
	switch {
	case id != "" && name != "":
		return store.Row[model.LaunchTemplate]{}, refuse("InvalidParameterCombination", "Specify either a launch template ID or a launch template name, but not both.")
	case id == "" && name == "":
		return store.Row[model.LaunchTemplate]{}, refuse("MissingParameter", "Either the launch template ID or the launch template name must be specified.")
	case name != "":
		no = refuse("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name "+name+", does not exist.")
		row, err := tables.LaunchTemplateNames.Get(ctx, s, at.Account, at.Region, name)
		if errors.Is(err, store.ErrNotFound) {
			return store.Row[model.LaunchTemplate]{}, no
		}
		if err != nil {
			return store.Row[model.LaunchTemplate]{}, err
		}
		id = *row.V
	case !strings.HasPrefix(id, "lt-"):
		return store.Row[model.LaunchTemplate]{}, refuse("InvalidLaunchTemplateId.Malformed", "The specified launch template ID is not valid: "+id)
	}
	row, err := tables.LaunchTemplates.Get(ctx, s, at.Account, at.Region, id)
	if errors.Is(err, store.ErrNotFound) {
		err = no
	}
	return row, err
}

// Version is a template's version: a number, $Latest, or $Default, which an
// empty one is, too.
func Version(ctx context.Context, s store.Store, at Place, template *model.LaunchTemplate, version string) (store.Row[model.LaunchTemplateVersion], error) {
	var n int64
	switch version {
	case "", Default:
		n = template.DefaultVersion
	case Latest:
		n = template.LatestVersion
	default:
		var err error
		if n, err = strconv.ParseInt(version, 10, 64); err != nil || n < 1 {
			return store.Row[model.LaunchTemplateVersion]{}, invalid("Invalid launch template version: either '$Default', '$Latest', or a numeric version are allowed.")
		}
	}
	row, err := tables.LaunchTemplateVersions.Get(ctx, s, at.Account, at.Region, model.LaunchTemplateVersionID(template.ID, n))
	if errors.Is(err, store.ErrNotFound) {
		err = refuse("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version "+strconv.FormatInt(n, 10)+" for the launch template with ID "+template.ID+".")
	}
	return row, err
}

// From notes in the spec which version of a template it was resolved from.
func (s *Spec) From(v *model.LaunchTemplateVersion) {
	s.Template.LaunchTemplateID, s.Template.LaunchTemplateVersion = v.TemplateID, v.Version
	if s.Tags = maps.Clone(s.Tags); s.Tags == nil {
		s.Tags = model.Tags{}
	}
	s.Tags["aws:ec2launchtemplate:id"] = v.TemplateID
	s.Tags["aws:ec2launchtemplate:version"] = strconv.FormatInt(v.Version, 10)
}
