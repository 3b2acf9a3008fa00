package tables

import (
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// IAM's records are global: their keys have no region, and the id is the name
// in lower case unless the model says otherwise.
var (
	Users = store.NewTable[model.User]("iam", "User").
		WithIndex("policy", func(u *model.User) []string { return u.Attached }).
		WithIndex("boundary", func(u *model.User) []string { return one(u.PermissionsBoundary) }).
		WithIndex("group", func(u *model.User) []string { return u.Groups })

	Groups = store.NewTable[model.Group]("iam", "Group").
		WithIndex("policy", func(g *model.Group) []string { return g.Attached })

	Roles = store.NewTable[model.Role]("iam", "Role").
		WithIndex("policy", func(r *model.Role) []string { return r.Attached }).
		WithIndex("boundary", func(r *model.Role) []string { return one(r.PermissionsBoundary) })

	InstanceProfiles = store.NewTable[model.InstanceProfile]("iam", "InstanceProfile")

	Policies = store.NewTable[model.Policy]("iam", "Policy")

	AccessKeys = store.NewTable[model.AccessKey]("iam", "AccessKey")

	OIDCProviders = store.NewTable[model.OIDCProvider]("iam", "OIDCProvider")

	SAMLProviders = store.NewTable[model.SAMLProvider]("iam", "SAMLProvider")

	MFADevices = store.NewTable[model.MFADevice]("iam", "MFADevice")

	ServerCertificates = store.NewTable[model.ServerCertificate]("iam", "ServerCertificate")

	PasswordPolicies = store.NewTable[model.PasswordPolicy]("iam", "PasswordPolicy")

	IAMLastUsed = store.NewTable[model.IAMLastUsed]("iam", "LastUsed")

	AccountAliases = store.NewTable[model.AccountAlias]("iam", "AccountAlias")

	ServiceLinkedRoleDeletions = store.NewTable[model.ServiceLinkedRoleDeletion]("iam", "ServiceLinkedRoleDeletion")

	TokenKeys = store.NewTable[model.TokenKey]("sts", "TokenKey")
)

// one lists a value that may be absent.
func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
