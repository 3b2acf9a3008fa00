package resourcegroupstaggingapi

import (
	"context"
	"strings"

	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// iamSource lists what AWS lists of IAM: all that can be tagged but users and
// roles.
// https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/supported-services.html
var iamSource = source{
	list: []lister{
		fromGlobal(tables.InstanceProfiles, func(v *model.InstanceProfile) model.Tags { return v.Tags }, func(r store.Row[model.InstanceProfile]) string { return r.V.ARN }),
		fromGlobal(tables.MFADevices, func(v *model.MFADevice) model.Tags { return v.Tags }, func(r store.Row[model.MFADevice]) string { return r.V.Serial }),
		fromGlobal(tables.SAMLProviders, func(v *model.SAMLProvider) model.Tags { return v.Tags }, func(r store.Row[model.SAMLProvider]) string { return r.V.ARN }),
		fromGlobal(tables.ServerCertificates, func(v *model.ServerCertificate) model.Tags { return v.Tags }, func(r store.Row[model.ServerCertificate]) string { return r.V.ARN }),
		fromGlobal(tables.OIDCProviders, func(v *model.OIDCProvider) model.Tags { return v.Tags }, func(r store.Row[model.OIDCProvider]) string { return r.V.ARN }),
		fromGlobal(tables.Policies, func(v *model.Policy) model.Tags { return v.Tags }, func(r store.Row[model.Policy]) string { return r.V.ARN }),
	},
	tag: func(ctx context.Context, ops Operations, arn model.ARN, tags map[string]string) error {
		kind, name := iamName(arn)
		list := tagList[iam.Tag](tags)
		switch kind {
		case "user":
			return does(ops.Invoke(ctx, "iam", "TagUser", &iam.TagUserInput{UserName: &name, Tags: list}))
		case "role":
			return does(ops.Invoke(ctx, "iam", "TagRole", &iam.TagRoleInput{RoleName: &name, Tags: list}))
		case "policy":
			return does(ops.Invoke(ctx, "iam", "TagPolicy", &iam.TagPolicyInput{PolicyArn: new(arn.String()), Tags: list}))
		case "instance-profile":
			return does(ops.Invoke(ctx, "iam", "TagInstanceProfile", &iam.TagInstanceProfileInput{InstanceProfileName: &name, Tags: list}))
		case "oidc-provider":
			return does(ops.Invoke(ctx, "iam", "TagOpenIDConnectProvider", &iam.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: new(arn.String()), Tags: list}))
		case "mfa":
			return does(ops.Invoke(ctx, "iam", "TagMFADevice", &iam.TagMFADeviceInput{SerialNumber: new(arn.String()), Tags: list}))
		case "saml-provider":
			return does(ops.Invoke(ctx, "iam", "TagSAMLProvider", &iam.TagSAMLProviderInput{SAMLProviderArn: new(arn.String()), Tags: list}))
		case "server-certificate":
			return does(ops.Invoke(ctx, "iam", "TagServerCertificate", &iam.TagServerCertificateInput{ServerCertificateName: &name, Tags: list}))
		}
		return errType
	},
	untag: func(ctx context.Context, ops Operations, arn model.ARN, keys []string) error {
		kind, name := iamName(arn)
		switch kind {
		case "user":
			return does(ops.Invoke(ctx, "iam", "UntagUser", &iam.UntagUserInput{UserName: &name, TagKeys: keys}))
		case "role":
			return does(ops.Invoke(ctx, "iam", "UntagRole", &iam.UntagRoleInput{RoleName: &name, TagKeys: keys}))
		case "policy":
			return does(ops.Invoke(ctx, "iam", "UntagPolicy", &iam.UntagPolicyInput{PolicyArn: new(arn.String()), TagKeys: keys}))
		case "instance-profile":
			return does(ops.Invoke(ctx, "iam", "UntagInstanceProfile", &iam.UntagInstanceProfileInput{InstanceProfileName: &name, TagKeys: keys}))
		case "oidc-provider":
			return does(ops.Invoke(ctx, "iam", "UntagOpenIDConnectProvider", &iam.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: new(arn.String()), TagKeys: keys}))
		case "mfa":
			return does(ops.Invoke(ctx, "iam", "UntagMFADevice", &iam.UntagMFADeviceInput{SerialNumber: new(arn.String()), TagKeys: keys}))
		case "saml-provider":
			return does(ops.Invoke(ctx, "iam", "UntagSAMLProvider", &iam.UntagSAMLProviderInput{SAMLProviderArn: new(arn.String()), TagKeys: keys}))
		case "server-certificate":
			return does(ops.Invoke(ctx, "iam", "UntagServerCertificate", &iam.UntagServerCertificateInput{ServerCertificateName: &name, TagKeys: keys}))
		}
		return errType
	},
}

// iamName is the type and, behind the path, the name of an IAM resource.
func iamName(arn model.ARN) (kind, name string) {
	kind, rest, _ := strings.Cut(arn.Resource, "/")
	return kind, rest[strings.LastIndexByte(rest, '/')+1:]
}
