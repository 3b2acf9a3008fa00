package iam

import (
	"context"
	"reflect"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/tables"
)

// ScopeOf names the resource an operation acts on: what it makes, or the
// record that its input names. Lists act on all resources of a type.
func (s *Service) ScopeOf(ctx context.Context, op *api.Operation, in any) ([]string, map[string]string) {
	f := fields{reflect.ValueOf(in).Elem()}
	conditions := map[string]string{}
	arn := s.scope(ctx, op.Name, f, conditions)
	if arn == "" {
		return nil, nil
	}
	if b := f.str("PermissionsBoundary"); b != "" {
		conditions["iam:PermissionsBoundary"] = b
	}
	if strings.HasPrefix(op.Name, "Attach") || strings.HasPrefix(op.Name, "Detach") {
		conditions["iam:PolicyARN"] = f.str("PolicyArn")
	}
	f.tags(conditions)
	return []string{arn}, conditions
}

// fields reads members of an input by name.
type fields struct{ v reflect.Value }

func (f fields) str(name string) string {
	if v := f.v.FieldByName(name); v.IsValid() {
		if p, ok := reflect.TypeAssert[*string](v); ok {
			return str(p)
		}
	}
	return ""
}

// tags adds the request's tags to conditions.
func (f fields) tags(conditions map[string]string) {
	if v := f.v.FieldByName("Tags"); v.IsValid() {
		if list, ok := reflect.TypeAssert[[]iam.Tag](v); ok {
			for _, t := range list {
				conditions["aws:RequestTag/"+str(t.Key)] = str(t.Value)
			}
		}
	}
	if v := f.v.FieldByName("TagKeys"); v.IsValid() {
		if list, ok := reflect.TypeAssert[[]string](v); ok {
			conditions["aws:TagKeys"] = strings.Join(list, ",")
		}
	}
}

func (s *Service) scope(ctx context.Context, op string, f fields, conditions map[string]string) string {
	c := api.CallFrom(ctx)
	switch op {
	case "ListUsers":
		return arnOf(c.Account, "user", "/", "")
	case "ListRoles":
		return arnOf(c.Account, "role", "/", "")
	case "ListGroups":
		return arnOf(c.Account, "group", "/", "")
	case "ListInstanceProfiles":
		return arnOf(c.Account, "instance-profile", "/", "")
	case "ListPolicies":
		return "policy path /"
	case "ListServerCertificates":
		return arnOf(c.Account, "server-certificate", "/", "")
	case "ListVirtualMFADevices":
		return arnOf(c.Account, "mfa", "/", "")
	case "ListSAMLProviders":
		return arnOf(c.Account, "saml-provider", "/", "")
	case "ListOpenIDConnectProviders":
		return arnOf(c.Account, "oidc-provider", "/", "")
	case "CreateVirtualMFADevice":
		return arnOf(c.Account, "mfa", pathOf(new(f.str("Path"))), f.str("VirtualMFADeviceName"))
	case "CreateSAMLProvider":
		return arnOf(c.Account, "saml-provider", "/", f.str("Name"))
	case "ChangePassword":
		return c.Identity.ARN
	case "CreatePolicy":
		return arnOf(c.Account, "policy", pathOf(new(f.str("Path"))), f.str("PolicyName"))
	case "SimulatePrincipalPolicy", "GetContextKeysForPrincipalPolicy":
		return f.str("PolicySourceArn")
	case "CreateServiceLinkedRole":
		service := f.str("AWSServiceName")
		conditions["iam:AWSServiceName"] = service
		return arnOf(c.Account, "role", "/aws-service-role/"+service+"/", linkedRoles[service].name)
	}
	path := ""
	if strings.HasPrefix(op, "Create") || op == "UploadServerCertificate" {
		path = pathOf(new(f.str("Path")))
	}
	tagsOf := func(tags model.Tags) {
		for k, v := range tags {
			conditions["aws:ResourceTag/"+k] = v
			conditions["iam:ResourceTag/"+k] = v
		}
	}
	switch {
	case f.str("InstanceProfileName") != "":
		name := f.str("InstanceProfileName")
		if row, err := tables.InstanceProfiles.Get(ctx, s.store, c.Account, "", key(name)); err == nil && path == "" {
			tagsOf(row.V.Tags)
			return row.V.ARN
		}
		return arnOf(c.Account, "instance-profile", pathOf(&path), name)
	case f.str("GroupName") != "":
		name := f.str("GroupName")
		if row, err := tables.Groups.Get(ctx, s.store, c.Account, "", key(name)); err == nil && path == "" {
			return row.V.ARN
		}
		return arnOf(c.Account, "group", pathOf(&path), name)
	case f.str("RoleName") != "":
		name := f.str("RoleName")
		if row, err := tables.Roles.Get(ctx, s.store, c.Account, "", key(name)); err == nil && path == "" {
			tagsOf(row.V.Tags)
			if b := row.V.PermissionsBoundary; b != "" {
				conditions["iam:PermissionsBoundary"] = b
			}
			return row.V.ARN
		}
		return arnOf(c.Account, "role", pathOf(&path), name)
	case f.v.FieldByName("UserName").IsValid():
		name := f.str("UserName")
		if name == "" {
			_, _, name, _ = model.IAMNameOf(c.Identity.ARN, "user")
		}
		if row, err := tables.Users.Get(ctx, s.store, c.Account, "", key(name)); err == nil && path == "" {
			tagsOf(row.V.Tags)
			if b := row.V.PermissionsBoundary; b != "" {
				conditions["iam:PermissionsBoundary"] = b
			}
			return row.V.ARN
		}
		return arnOf(c.Account, "user", pathOf(&path), name)
	case f.str("ServerCertificateName") != "":
		name := f.str("ServerCertificateName")
		if row, err := tables.ServerCertificates.Get(ctx, s.store, c.Account, "", key(name)); err == nil && path == "" {
			tagsOf(row.V.Tags)
			return row.V.ARN
		}
		return arnOf(c.Account, "server-certificate", pathOf(&path), name)
	case f.str("SAMLProviderArn") != "":
		if row, err := s.samlProvider(ctx, f.str("SAMLProviderArn")); err == nil {
			tagsOf(row.V.Tags)
		}
		return f.str("SAMLProviderArn")
	case f.str("SerialNumber") != "":
		if row, err := s.mfaDevice(ctx, f.str("SerialNumber")); err == nil {
			tagsOf(row.V.Tags)
		}
		return f.str("SerialNumber")
	case f.str("OpenIDConnectProviderArn") != "":
		if row, err := s.oidcProvider(ctx, f.str("OpenIDConnectProviderArn")); err == nil {
			tagsOf(row.V.Tags)
		}
		return f.str("OpenIDConnectProviderArn")
	case op == "CreateOpenIDConnectProvider":
		return arnOf(c.Account, "oidc-provider", "/", withoutScheme(f.str("Url")))
	case f.str("PolicyArn") != "":
		if row, err := s.customerPolicy(ctx, f.str("PolicyArn")); err == nil {
			tagsOf(row.V.Tags)
		}
		return f.str("PolicyArn")
	}
	return ""
}
