package iam

import (
	"net/url"
	"slices"
	"strings"

	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy/managed"
)

// encoded is a document as outputs carry it, percent-encoded by RFC 3986.
func encoded(doc string) *string {
	return new(strings.ReplaceAll(url.QueryEscape(doc), "+", "%20"))
}

func tagList(tags model.Tags) []iam.Tag {
	out := make([]iam.Tag, 0, len(tags))
	for k, v := range tags {
		out = append(out, iam.Tag{Key: &k, Value: &v})
	}
	slices.SortFunc(out, func(a, b iam.Tag) int { return strings.Compare(*a.Key, *b.Key) })
	return out
}

// listedUser is a user as lists show it; describedUser adds what only
// CreateUser and GetUser tell.
func listedUser(u *model.User) iam.User {
	return iam.User{
		Arn: &u.ARN, CreateDate: &u.CreateDate, Path: &u.Path, UserId: &u.ID, UserName: &u.Name,
	}
}

func describedUser(u *model.User) *iam.User {
	out := listedUser(u)
	out.PermissionsBoundary = boundaryOf(u.PermissionsBoundary)
	if len(u.Tags) > 0 {
		out.Tags = tagList(u.Tags)
	}
	return &out
}

func describedGroup(g *model.Group) iam.Group {
	return iam.Group{Arn: &g.ARN, CreateDate: &g.CreateDate, GroupId: &g.ID, GroupName: &g.Name, Path: &g.Path}
}

// listedRole is a role as lists show it; describedRole adds what only
// CreateRole and GetRole tell.
func listedRole(r *model.Role) iam.Role {
	out := iam.Role{
		Arn: &r.ARN, AssumeRolePolicyDocument: encoded(r.TrustPolicy), CreateDate: &r.CreateDate,
		MaxSessionDuration: new(int32(r.MaxSessionDuration)),
		Path:               &r.Path, RoleId: &r.ID, RoleName: &r.Name,
	}
	if r.Description != "" {
		out.Description = &r.Description
	}
	return out
}

func describedRole(r *model.Role) *iam.Role {
	out := listedRole(r)
	out.PermissionsBoundary = boundaryOf(r.PermissionsBoundary)
	if len(r.Tags) > 0 {
		out.Tags = tagList(r.Tags)
	}
	return &out
}

// describedProfile is an instance profile with its role, if it has one.
func describedProfile(p *model.InstanceProfile, role *model.Role) iam.InstanceProfile {
	out := iam.InstanceProfile{
		Arn: &p.ARN, CreateDate: &p.CreateDate, InstanceProfileId: &p.ID, InstanceProfileName: &p.Name,
		Path: &p.Path, Roles: []iam.Role{},
	}
	if len(p.Tags) > 0 {
		out.Tags = tagList(p.Tags)
	}
	if role != nil {
		out.Roles = []iam.Role{listedRole(role)}
	}
	return out
}

func listedPolicy(p *model.Policy) iam.Policy {
	return iam.Policy{
		Arn: &p.ARN, PolicyId: &p.ID, PolicyName: &p.Name, Path: &p.Path,
		AttachmentCount: new(int32(p.Attachments)), PermissionsBoundaryUsageCount: new(int32(p.Boundaries)),
		DefaultVersionId: &p.DefaultVersion, IsAttachable: new(true),
		CreateDate: &p.CreateDate, UpdateDate: &p.UpdateDate,
	}
}

func describedPolicy(p *model.Policy) *iam.Policy {
	out := listedPolicy(p)
	if p.Description != "" {
		out.Description = &p.Description
	}
	out.Tags = tagList(p.Tags)
	return &out
}

// managedPolicy gives an AWS managed policy the form of a customer's.
func managedPolicy(p *managed.Policy, attachments, boundaries int) *model.Policy {
	return &model.Policy{
		Name: p.Name, Path: p.Path, ID: p.ID, ARN: p.ARN, Description: p.Description,
		DefaultVersion: p.Version, CreateDate: p.Created, UpdateDate: p.Updated,
		Versions:    []model.PolicyVersion{{ID: p.Version, Document: p.Document, CreateDate: p.Updated}},
		Attachments: attachments, Boundaries: boundaries,
	}
}
