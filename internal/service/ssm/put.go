package ssm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/machineimage"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// Sizes of values in bytes.
	maxStandard = 4096
	maxAdvanced = 8192

	maxLevels   = 15
	maxName     = 1011 // of the whole ARN
	maxVersions = 100
	maxTags     = 50

	// defaultKey is what SecureStrings are said to be encrypted with.
	defaultKey = "alias/aws/ssm"
	textType   = "text"
	imageType  = "aws:ec2:image"
)

var nameForm = regexp.MustCompile(`^[a-zA-Z0-9_.\-/]+$`)

// wellFormed tells whether a name has allowed characters only, and no empty
// part in its path but a last one.
func wellFormed(name string) bool {
	return nameForm.MatchString(name) && !strings.Contains(name, "//")
}

// checkName checks the name of a parameter that is put.
func checkName(c *api.Call, name string) error {
	bare := strings.ToLower(strings.TrimPrefix(name, "/"))
	levels := strings.Count(strings.Trim(name, "/"), "/") + 1
	switch {
	case strings.HasPrefix(strings.ToLower(name), "/aws") && levels > 1:
		return api.NewFault("AccessDeniedException", "No access to reserved parameter name: %s.", name)
	case levels == 1 && (strings.HasPrefix(bare, "aws") || strings.HasPrefix(bare, "ssm")):
		return invalid(`Parameter name: can't be prefixed with "aws" or "ssm" (case-insensitive).`)
	case !wellFormed(name), strings.HasPrefix(bare, "ssm"), strings.HasSuffix(name, "/"):
		return invalid(`Parameter name: can't be prefixed with "ssm" (case-insensitive). If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_`)
	case levels > 1 && !strings.HasPrefix(name, "/"):
		return invalid("Parameter name must be a fully qualified name.")
	case levels > maxLevels:
		return ssm.NewHierarchyLevelLimitExceededException("A hierarchy can have a maximum of %d levels. For more information, see Requirements and constraints for parameter names in the AWS Systems Manager User Guide.", maxLevels)
	case len(model.ParameterARN(c.Region, c.Account, name)) > maxName:
		return invalid("The parameter name is too long: with its ARN it can have up to %d characters.", maxName)
	}
	return nil
}

// PutParameter implements ssm.Handler.
func (s *Service) PutParameter(ctx context.Context, in *ssm.PutParameterInput) (*ssm.PutParameterOutput, error) {
	c := api.CallFrom(ctx)
	if err := checkPut(c, in); err != nil {
		return nil, err
	}
	for {
		old, err := tables.Parameters.Get(ctx, s.Store, c.Account, c.Region, *in.Name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("read parameter: %w", err)
		}
		var next *model.Parameter
		if err != nil {
			if in.Type == "" {
				return nil, invalid("A parameter type is required when you create a parameter.")
			}
			next = &model.Parameter{Name: *in.Name, Oldest: 1, Tags: model.Tags{}}
			for _, t := range in.Tags {
				next.Tags[str(t.Key)] = str(t.Value)
			}
			next.Tags = next.Tags.Initial()
		} else {
			if !isTrue(in.Overwrite) {
				return nil, ssm.NewParameterAlreadyExists("The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
			}
			next = old.Copy()
		}
		tx := store.NewTxn()
		if err := makeRoom(tx, old.Key, next); err != nil {
			return nil, err
		}
		if next.Latest, err = s.version(c, in, next.Latest); err != nil {
			return nil, err
		}
		tables.ParameterVersions.Put(tx, c.Account, c.Region, model.ParameterVersionID(next.Name, next.Latest.Version), &next.Latest)
		if old.V != nil {
			tables.Parameters.Replace(tx, old, next)
		} else {
			tables.Parameters.Create(tx, c.Account, c.Region, next.Name, next)
		}
		switch _, err := tx.Commit(ctx, s.Store); {
		case err == nil:
			return &ssm.PutParameterOutput{Version: &next.Latest.Version, Tier: ssm.ParameterTier(next.Latest.Tier)}, nil
		case !errors.Is(err, store.ErrConflict):
			return nil, fmt.Errorf("write parameter: %w", err)
		}
	}
}

// checkPut checks what a PutParameter says by itself.
func checkPut(c *api.Call, in *ssm.PutParameterInput) error {
	if *in.Value == "" {
		return invalid("1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length greater than or equal to 1.")
	}
	if isTrue(in.Overwrite) && len(in.Tags) > 0 {
		return invalid("Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource.")
	}
	if err := checkDataType(c, in); err != nil {
		return err
	}
	if in.KeyId != nil && in.Type != "" && in.Type != ssm.ParameterTypeSecureString {
		return invalid("KeyId is not supported for the parameter type %s: only SecureString parameters are encrypted.", in.Type)
	}
	if !noPolicies(str(in.Policies)) {
		return ssm.NewInvalidPolicyTypeException("Parameter policies are not supported.")
	}
	if len(in.Tags) > maxTags {
		return ssm.NewTooManyTagsError("")
	}
	return checkName(c, *in.Name)
}

var imageID = regexp.MustCompile(`^ami-[0-9a-f]{8}([0-9a-f]{9})?$`)

// checkDataType checks a value by the type of its data. AWS looks for an image
// after it has answered; here there is nothing to wait for.
func checkDataType(c *api.Call, in *ssm.PutParameterInput) error {
	switch d := str(in.DataType); d {
	case "", textType:
	case imageType:
		if in.Type != "" && in.Type != ssm.ParameterTypeString {
			return invalid("The data type %s is only supported for parameters of the type String.", imageType)
		}
		if !imageID.MatchString(*in.Value) {
			return invalid("The parameter value does not meet the format of the data type %s: ami-12345abcdeEXAMPLE.", imageType)
		}
		if _, ok := machineimage.Find(c.Region, *in.Value); !ok {
			return invalid("The image %s does not exist or is not available to the account.", *in.Value)
		}
	default:
		return invalid("The following data type is not supported: %s (Data type names are all lowercase.)", d)
	}
	return nil
}

// noPolicies tells whether the text is empty, or a JSON list without a policy.
func noPolicies(text string) bool {
	if strings.TrimSpace(text) == "" {
		return true
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return false
	}
	return !slices.ContainsFunc(list, func(p map[string]any) bool { return len(p) > 0 })
}

// makeRoom removes the oldest version where one more would be too many.
func makeRoom(tx *store.Txn, key store.Key, p *model.Parameter) error {
	if p.Latest.Version-p.Oldest+1 < maxVersions {
		return nil
	}
	if len(labelsOf(p, p.Oldest)) > 0 {
		return ssm.NewParameterMaxVersionLimitExceeded("You attempted to create a new version of %s by calling the PutParameter API with the overwrite flag. Version %d, the oldest version, can't be deleted because it has a label associated with it. Move the label to another version of the parameter, and try again.", p.Name, p.Oldest)
	}
	tables.ParameterVersions.Erase(tx, key.Account, key.Region, model.ParameterVersionID(p.Name, p.Oldest))
	p.Oldest++
	return nil
}

// version is the version that follows old, which is zero for a new parameter.
// What a request leaves out stays as it was.
func (s *Service) version(c *api.Call, in *ssm.PutParameterInput, old model.ParameterVersion) (model.ParameterVersion, error) {
	v := old
	v.Version++
	v.ModifiedAt, v.ModifiedBy = c.Time.UTC().Truncate(time.Millisecond), c.Identity.ARN
	if in.Type != "" {
		v.Type = string(in.Type)
	}
	if in.Description != nil {
		v.Description = *in.Description
	}
	if in.AllowedPattern != nil {
		v.AllowedPattern = *in.AllowedPattern
	}
	if v.DataType = str(in.DataType); v.DataType == "" {
		v.DataType = cmp.Or(old.DataType, textType)
	}
	if v.AllowedPattern != "" {
		pattern, err := regexp.Compile(v.AllowedPattern)
		if err != nil {
			return v, ssm.NewInvalidAllowedPatternException("The request does not meet the regular expression requirement: %s", v.AllowedPattern)
		}
		if !pattern.MatchString(*in.Value) {
			return v, ssm.NewParameterPatternMismatchException("Parameter value, cannot be validated against allowedPattern: %s", v.AllowedPattern)
		}
	}
	var err error
	if v.Tier, err = tier(string(in.Tier), old.Tier, len(*in.Value)); err != nil {
		return v, err
	}
	v.Value = *in.Value
	switch {
	case v.Type != model.ParameterSecureString:
		v.KeyID = ""
		return v, nil
	case in.KeyId != nil:
		v.KeyID = *in.KeyId
	case v.KeyID == "":
		v.KeyID = defaultKey
	}
	v.Value = s.Key.Seal(model.ParameterARN(c.Region, c.Account, *in.Name), []byte(*in.Value))
	return v, nil
}

// tier decides a version's tier: the one asked for, where the value fits and
// the parameter is not in a higher one already.
func tier(asked, old string, size int) (string, error) {
	const standard, advanced = string(ssm.ParameterTierStandard), string(ssm.ParameterTierAdvanced)
	if asked == standard && old == advanced {
		return "", invalid("This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter tier to the standard-parameter tier. If necessary, you can delete the advanced parameter and recreate it as a standard parameter. Be aware that standard parameters have a value limit of %d characters.", maxStandard)
	}
	got := standard
	if asked == advanced || old == advanced || asked == string(ssm.ParameterTierIntelligentTiering) && size > maxStandard {
		got = advanced
	}
	if got == standard && size > maxStandard {
		return "", invalid("Standard tier parameters support a maximum parameter value of %d characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html", maxStandard)
	}
	if size > maxAdvanced {
		return "", invalid("Advanced tier parameters support a maximum parameter value of %d characters.", maxAdvanced)
	}
	return got, nil
}

// DeleteParameter implements ssm.Handler.
func (s *Service) DeleteParameter(ctx context.Context, in *ssm.DeleteParameterInput) (*ssm.DeleteParameterOutput, error) {
	if err := s.remove(ctx, *in.Name); err != nil {
		return nil, err
	}
	return &ssm.DeleteParameterOutput{}, nil
}

// DeleteParameters implements ssm.Handler.
func (s *Service) DeleteParameters(ctx context.Context, in *ssm.DeleteParametersInput) (*ssm.DeleteParametersOutput, error) {
	out := &ssm.DeleteParametersOutput{DeletedParameters: []string{}, InvalidParameters: []string{}}
	for _, name := range in.Names {
		switch err := s.remove(ctx, name); {
		case errors.Is(err, errNotFound):
			out.InvalidParameters = append(out.InvalidParameters, name)
		case err != nil:
			return nil, err
		default:
			out.DeletedParameters = append(out.DeletedParameters, name)
		}
	}
	return out, nil
}

// remove deletes a parameter with its versions.
func (s *Service) remove(ctx context.Context, name string) error {
	for {
		row, err := s.find(ctx, refer(api.CallFrom(ctx), name))
		if err != nil {
			return err
		}
		tx := store.NewTxn()
		for v := row.V.Oldest; v <= row.V.Latest.Version; v++ {
			tables.ParameterVersions.Erase(tx, row.Key.Account, row.Key.Region, model.ParameterVersionID(row.V.Name, v))
		}
		tables.Parameters.Delete(tx, row)
		switch _, err := tx.Commit(ctx, s.Store); {
		case err == nil:
			return nil
		case !errors.Is(err, store.ErrConflict):
			return fmt.Errorf("delete parameter: %w", err)
		}
	}
}
