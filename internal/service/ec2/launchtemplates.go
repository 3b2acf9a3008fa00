package ec2

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

var launchTemplates = kind[model.LaunchTemplate]{
	noun: nounTemplate, table: tables.LaunchTemplates,
	id:   func(v *model.LaunchTemplate) string { return v.ID },
	tags: func(v *model.LaunchTemplate) model.Tags { return v.Tags },
	field: func(v *model.LaunchTemplate, name string) ([]string, bool) {
		switch name {
		case "create-time":
			return one(v.CreatedAt.UTC().Format(imageTime))
		case "launch-template-name":
			return one(v.Name)
		}
		return nil, false
	},
}

func templateOut(v *model.LaunchTemplate) *ec2.LaunchTemplate {
	return &ec2.LaunchTemplate{
		LaunchTemplateId: new(v.ID), LaunchTemplateName: new(v.Name), CreateTime: new(v.CreatedAt), CreatedBy: new(v.CreatedBy),
		DefaultVersionNumber: new(v.DefaultVersion), LatestVersionNumber: new(v.LatestVersion), Tags: tagsOut(v.Tags),
	}
}

// maxDescription is how long the description of a version is.
const maxDescription = 255

// templateData checks and encodes what a template is to hold.
func templateData(in *ec2.RequestLaunchTemplateData, description *string) ([]byte, error) {
	if utf8.RuneCountInString(deref(description)) > maxDescription {
		return nil, invalidValue("The version description exceeds the maximum length of %d characters.", maxDescription)
	}
	b, err := instances.Encode(in)
	if err != nil {
		return nil, err
	}
	_, err = instances.Decode(b)
	return b, answer(err)
}

// CreateLaunchTemplate makes a template with its first version.
func (s *Service) CreateLaunchTemplate(ctx context.Context, in *ec2.CreateLaunchTemplateInput) (*ec2.CreateLaunchTemplateOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.Operator != nil {
		return nil, unsupported("templates of service providers")
	}
	data, err := templateData(in.LaunchTemplateData, in.VersionDescription)
	if err != nil {
		return nil, err
	}
	if string(data) == "{}" {
		return nil, required("LaunchTemplateData")
	}
	tags, err := tagsFor(typeTemplate, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	name := deref(in.LaunchTemplateName)
	v := &model.LaunchTemplate{
		ID: id.Resource("lt"), Name: name, CreatedBy: call.Identity.ARN, CreatedAt: call.Time,
		DefaultVersion: 1, LatestVersion: 1, LastVersion: 1, Tags: tags,
	}
	v, err = once(ctx, s, call, launchTemplates, v, in.ClientToken, in, func(tx *store.Txn) error {
		_, err := tables.LaunchTemplateNames.Get(ctx, s.store, call.Account, call.Region, name)
		if err == nil {
			return api.NewFault("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		tables.LaunchTemplateNames.Create(tx, call.Account, call.Region, name, &v.ID)
		putVersion(tx, call, v.ID, 1, data, in.VersionDescription)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &ec2.CreateLaunchTemplateOutput{LaunchTemplate: templateOut(v)}, nil
}

func putVersion(tx *store.Txn, call *api.Call, templateID string, n int64, data []byte, description *string) *model.LaunchTemplateVersion {
	v := &model.LaunchTemplateVersion{
		TemplateID: templateID, Version: n, Description: deref(description), CreatedBy: call.Identity.ARN, CreatedAt: call.Time, Data: data,
	}
	tables.LaunchTemplateVersions.Create(tx, call.Account, call.Region, model.LaunchTemplateVersionID(templateID, n), v)
	return v
}

// template finds a template by its id or name.
func (s *Service) template(ctx context.Context, call *api.Call, tid, name *string) (store.Row[model.LaunchTemplate], error) {
	row, err := instances.Template(ctx, s.store, placeOf(call), deref(tid), deref(name))
	return row, answer(err)
}

func (s *Service) version(ctx context.Context, call *api.Call, t *model.LaunchTemplate, version string) (store.Row[model.LaunchTemplateVersion], error) {
	row, err := instances.Version(ctx, s.store, placeOf(call), t, version)
	return row, answer(err)
}

// CreateLaunchTemplateVersion adds a version, which has what it does not say
// from the source version, if there is one.
func (s *Service) CreateLaunchTemplateVersion(ctx context.Context, in *ec2.CreateLaunchTemplateVersionInput) (*ec2.CreateLaunchTemplateVersionOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	data, err := templateData(in.LaunchTemplateData, in.VersionDescription)
	if err != nil {
		return nil, err
	}
	var t *model.LaunchTemplate
	var v *model.LaunchTemplateVersion
	err = retry(func() error {
		row, err := s.template(ctx, call, in.LaunchTemplateId, in.LaunchTemplateName)
		if err != nil {
			return err
		}
		t = row.Copy()
		whole := data
		if in.SourceVersion != nil {
			source, err := s.version(ctx, call, t, *in.SourceVersion)
			if err != nil {
				return err
			}
			if whole, err = over(source.V.Data, data); err != nil {
				return err
			}
		}
		if string(whole) == "{}" {
			return required("LaunchTemplateData")
		}
		tx := store.NewTxn()
		t.LastVersion++
		t.LatestVersion = t.LastVersion
		err = s.claimToken(ctx, call, tx, in.ClientToken, in, model.LaunchTemplateVersionID(t.ID, t.LastVersion), func(had string) (bool, error) {
			_, err := tables.LaunchTemplateVersions.Get(ctx, s.store, call.Account, call.Region, had)
			if errors.Is(err, store.ErrNotFound) {
				return false, nil
			}
			return err == nil, err
		})
		if err != nil {
			return err
		}
		v = putVersion(tx, call, t.ID, t.LastVersion, whole, in.VersionDescription)
		tables.LaunchTemplates.Replace(tx, row, t)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	if had, ok := errors.AsType[*earlier](err); ok {
		var row store.Row[model.LaunchTemplateVersion]
		row, err = tables.LaunchTemplateVersions.Get(ctx, s.store, call.Account, call.Region, had.id)
		v = row.V
	}
	if err != nil {
		return nil, err
	}
	out, err := s.versionOut(ctx, call, t, v, deref(in.ResolveAlias))
	return &ec2.CreateLaunchTemplateVersionOutput{LaunchTemplateVersion: out}, err
}

// over is launch data with the parameters of other data in place of its own.
func over(under, data []byte) ([]byte, error) {
	var a, b map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(under, &a), json.Unmarshal(data, &b)); err != nil {
		return nil, err
	}
	maps.Copy(a, b)
	return json.Marshal(a)
}

// ModifyLaunchTemplate sets the default version.
func (s *Service) ModifyLaunchTemplate(ctx context.Context, in *ec2.ModifyLaunchTemplateInput) (*ec2.ModifyLaunchTemplateOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	var t *model.LaunchTemplate
	err = retry(func() error {
		row, err := s.template(ctx, call, in.LaunchTemplateId, in.LaunchTemplateName)
		if err != nil {
			return err
		}
		if in.DefaultVersion == nil {
			return required("DefaultVersion")
		}
		version, err := s.version(ctx, call, row.V, *in.DefaultVersion)
		if err != nil {
			return err
		}
		t = row.Copy()
		t.DefaultVersion = version.V.Version
		tx := store.NewTxn()
		tables.LaunchTemplateVersions.Check(tx, version)
		tables.LaunchTemplates.Replace(tx, row, t)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ec2.ModifyLaunchTemplateOutput{LaunchTemplate: templateOut(t)}, nil
}

func (s *Service) versionsOf(ctx context.Context, call *api.Call, templateID string) ([]store.Row[model.LaunchTemplateVersion], error) {
	return tables.LaunchTemplateVersions.List(ctx, s.store, store.Query{Account: call.Account, Region: call.Region, Prefix: templateID + "/"})
}

// DeleteLaunchTemplate removes a template with all versions. Instances that
// were launched from it stay.
func (s *Service) DeleteLaunchTemplate(ctx context.Context, in *ec2.DeleteLaunchTemplateInput) (*ec2.DeleteLaunchTemplateOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	var t *model.LaunchTemplate
	err = retry(func() error {
		row, err := s.template(ctx, call, in.LaunchTemplateId, in.LaunchTemplateName)
		if err != nil {
			return err
		}
		versions, err := s.versionsOf(ctx, call, row.V.ID)
		if err != nil {
			return err
		}
		t = row.V
		tx := store.NewTxn()
		tables.LaunchTemplates.Delete(tx, row)
		tables.LaunchTemplateNames.Erase(tx, call.Account, call.Region, t.Name)
		for _, v := range versions {
			tables.LaunchTemplateVersions.Erase(tx, call.Account, call.Region, v.Key.ID)
		}
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DeleteLaunchTemplateOutput{LaunchTemplate: templateOut(t)}, nil
}

// DeleteLaunchTemplateVersions removes versions but the default one.
func (s *Service) DeleteLaunchTemplateVersions(ctx context.Context, in *ec2.DeleteLaunchTemplateVersionsInput) (*ec2.DeleteLaunchTemplateVersionsOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	out := &ec2.DeleteLaunchTemplateVersionsOutput{
		SuccessfullyDeletedLaunchTemplateVersions:   []ec2.DeleteLaunchTemplateVersionsResponseSuccessItem{},
		UnsuccessfullyDeletedLaunchTemplateVersions: []ec2.DeleteLaunchTemplateVersionsResponseErrorItem{},
	}
	for _, text := range in.Versions {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return nil, invalidValue("Invalid launch template version: only numeric versions can be deleted.")
		}
		t, code, err := s.deleteVersion(ctx, call, in, n)
		if err != nil {
			return nil, err
		}
		if code == "" {
			out.SuccessfullyDeletedLaunchTemplateVersions = append(out.SuccessfullyDeletedLaunchTemplateVersions,
				ec2.DeleteLaunchTemplateVersionsResponseSuccessItem{LaunchTemplateId: new(t.ID), LaunchTemplateName: new(t.Name), VersionNumber: new(n)})
			continue
		}
		message := "The version " + text + " of the launch template " + t.ID + " does not exist."
		if code == ec2.LaunchTemplateErrorCodeUnexpectedError {
			message = "The default version of the launch template " + t.ID + " cannot be deleted."
		}
		out.UnsuccessfullyDeletedLaunchTemplateVersions = append(out.UnsuccessfullyDeletedLaunchTemplateVersions, ec2.DeleteLaunchTemplateVersionsResponseErrorItem{
			LaunchTemplateId: new(t.ID), LaunchTemplateName: new(t.Name), VersionNumber: new(n), ResponseError: &ec2.ResponseError{Code: code, Message: new(message)},
		})
	}
	return out, nil
}

func (s *Service) deleteVersion(ctx context.Context, call *api.Call, in *ec2.DeleteLaunchTemplateVersionsInput, n int64) (t *model.LaunchTemplate, code ec2.LaunchTemplateErrorCode, err error) {
	err = retry(func() error {
		row, err := s.template(ctx, call, in.LaunchTemplateId, in.LaunchTemplateName)
		if err != nil {
			return err
		}
		versions, err := s.versionsOf(ctx, call, row.V.ID)
		if err != nil {
			return err
		}
		t = row.Copy()
		i := slices.IndexFunc(versions, func(v store.Row[model.LaunchTemplateVersion]) bool { return v.V.Version == n })
		switch {
		case i < 0:
			code = ec2.LaunchTemplateErrorCodeLaunchTemplateVersionDoesNotExist
			return nil
		case n == t.DefaultVersion:
			code = ec2.LaunchTemplateErrorCodeUnexpectedError
			return nil
		}
		tx := store.NewTxn()
		tables.LaunchTemplateVersions.Delete(tx, versions[i])
		versions = slices.Delete(versions, i, i+1)
		t.LatestVersion = versions[len(versions)-1].V.Version
		tables.LaunchTemplates.Replace(tx, row, t)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	return t, code, err
}
