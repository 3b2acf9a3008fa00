package secretsmanager

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/model"
)

// ScopeOf implements api.ResourceScoper: operations act on the secret that
// they name. The condition keys are those of
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecretsmanager.html
// whose values are known here.
func (s *Service) ScopeOf(ctx context.Context, _ *api.Operation, in any) ([]string, map[string]string) {
	c := api.CallFrom(ctx)
	keys := requested(in)
	if create, ok := in.(*secretsmanager.CreateSecretInput); ok {
		keys["secretsmanager:Name"] = *create.Name
		// What the suffix will be is not known yet; policies end in a wildcard.
		return []string{model.MakeARN("secretsmanager", c.Region, c.Account, "secret:"+*create.Name+"-??????")}, keys
	}
	id := field(in, "SecretId")
	if id == "" {
		return nil, keys
	}
	keys["secretsmanager:SecretId"] = id
	row, err := s.read(ctx, id)
	if err == nil {
		keys["secretsmanager:SecretId"] = row.V.ARN
		for k, v := range row.V.Tags {
			keys["aws:ResourceTag/"+k] = v
			keys["secretsmanager:ResourceTag/"+k] = v
		}
		return []string{row.V.ARN}, keys
	}
	if strings.HasPrefix(id, "arn:") {
		return []string{id}, keys
	}
	return []string{model.MakeARN("secretsmanager", c.Region, c.Account, "secret:"+id)}, keys
}

// requested are the condition keys that follow from the request alone.
func requested(in any) map[string]string {
	keys := map[string]string{}
	set := func(key, value string) {
		if value != "" {
			keys["secretsmanager:"+key] = value
		}
	}
	set("Description", field(in, "Description"))
	set("KmsKeyId", field(in, "KmsKeyId"))
	var tags []secretsmanager.Tag
	switch in := in.(type) {
	case *secretsmanager.GetSecretValueInput:
		set("VersionId", str(in.VersionId))
		stage := str(in.VersionStage)
		if stage == "" && in.VersionId == nil {
			stage = model.StageCurrent
		}
		set("VersionStage", stage)
	case *secretsmanager.UpdateSecretVersionStageInput:
		set("VersionStage", *in.VersionStage)
	case *secretsmanager.DeleteSecretInput:
		set("ForceDeleteWithoutRecovery", strconv.FormatBool(isTrue(in.ForceDeleteWithoutRecovery)))
		if in.RecoveryWindowInDays != nil {
			set("RecoveryWindowInDays", fmt.Sprint(*in.RecoveryWindowInDays))
		}
	case *secretsmanager.PutResourcePolicyInput:
		set("BlockPublicPolicy", strconv.FormatBool(isTrue(in.BlockPublicPolicy)))
	case *secretsmanager.UntagResourceInput:
		keys["aws:TagKeys"] = strings.Join(in.TagKeys, ",")
	case *secretsmanager.CreateSecretInput:
		tags = in.Tags
	case *secretsmanager.TagResourceInput:
		tags = in.Tags
	}
	for _, t := range tags {
		keys["aws:RequestTag/"+str(t.Key)] = str(t.Value)
	}
	return keys
}

// field is the string in a field of a generated input, "" where there is none.
func field(in any, name string) string {
	f := reflect.ValueOf(in).Elem().FieldByName(name)
	if !f.IsValid() {
		return ""
	}
	p, _ := reflect.TypeAssert[*string](f)
	return str(p)
}
