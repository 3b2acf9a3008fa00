package sts

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/sts"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// Limits of AssumeRole. A session that is assumed from another role's lasts
// an hour at most.
const (
	defaultDuration = time.Hour
	chainedDuration = time.Hour
)

// AssumeRole makes credentials of a role for a caller that the role trusts.
func (s *Service) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput) (*sts.AssumeRoleOutput, error) {
	c := api.CallFrom(ctx)
	if _, _, _, ok := model.IAMNameOf(*in.RoleArn, "role"); !ok {
		return nil, validation("%s is invalid", *in.RoleArn)
	}
	mfa, err := s.mfa(ctx, c, in.SerialNumber, in.TokenCode)
	if err != nil {
		return nil, err
	}
	if c.Identity.Root && !s.rootMayAssume {
		return nil, denied("Roles may not be assumed by root accounts.")
	}
	caller := s.directory.Session(c.Identity.AccessKeyID)
	tags, transitive, err := sessionTags(caller, in.Tags, in.TransitiveTagKeys)
	if err != nil {
		return nil, err
	}
	role, err := s.directory.Role(ctx, *in.RoleArn)
	if errors.Is(err, store.ErrNotFound) {
		return nil, refusal(c, &model.Denied{Action: "sts:AssumeRole", Resource: *in.RoleArn})
	}
	if err != nil {
		return nil, err
	}
	if err := s.authorize(ctx, c, role, in, mfa); err != nil {
		return nil, err
	}
	duration := defaultDuration
	if in.DurationSeconds != nil {
		duration = time.Duration(*in.DurationSeconds) * time.Second
	}
	chained := c.Identity.RoleARN != ""
	switch {
	case duration > time.Duration(role.MaxSessionDuration)*time.Second:
		return nil, validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	case chained && duration > chainedDuration:
		return nil, validation("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	session := model.NewRoleSession(role, *in.RoleSessionName)
	session.Tags, session.TransitiveTags = tags, transitive
	session.Chained = chained
	session.SourceIdentity = str(in.SourceIdentity)
	if caller != nil && caller.SourceIdentity != "" {
		session.SourceIdentity = caller.SourceIdentity
	}
	if err := s.narrow(ctx, &session, in.Policy, in.PolicyArns); err != nil {
		return nil, err
	}
	credentials, err := s.mint(&session, duration)
	if err != nil {
		return nil, err
	}
	out := &sts.AssumeRoleOutput{
		Credentials:      credentials,
		AssumedRoleUser:  &sts.AssumedRoleUser{Arn: &session.ARN, AssumedRoleId: &session.UserID},
		PackedPolicySize: packedSize(&session),
	}
	if session.SourceIdentity != "" {
		out.SourceIdentity = &session.SourceIdentity
	}
	return out, nil
}

// authorize checks the permission to assume the role, and those to set tags
// and a source identity where the request does.
func (s *Service) authorize(ctx context.Context, c *api.Call, role *model.Role, in *sts.AssumeRoleInput, mfa bool) error {
	conditions := map[string]string{"sts:RoleSessionName": *in.RoleSessionName}
	if in.ExternalId != nil {
		conditions["sts:ExternalId"] = *in.ExternalId
	}
	if in.SourceIdentity != nil {
		conditions["sts:SourceIdentity"] = *in.SourceIdentity
	}
	if mfa {
		conditions["aws:MultiFactorAuthPresent"], conditions["aws:MultiFactorAuthAge"] = "true", "0"
	}
	if in.DurationSeconds != nil {
		conditions["sts:DurationSeconds"] = strconv.Itoa(int(*in.DurationSeconds))
	}
	for _, t := range in.Tags {
		conditions["aws:RequestTag/"+str(t.Key)] = str(t.Value)
	}
	actions := []string{"sts:AssumeRole"}
	if len(in.Tags) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if in.SourceIdentity != nil {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	for _, a := range actions {
		err := s.directory.AuthorizeAssume(ctx, c, a, role, conditions)
		if d, ok := errors.AsType[*model.Denied](err); ok {
			return refusal(c, d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func refusal(c *api.Call, d *model.Denied) error {
	reason := d.Reason
	if reason != "" {
		reason = " " + reason
	}
	return denied("User: %s is not authorized to perform: %s on resource: %s%s", c.Identity.ARN, d.Action, d.Resource, reason)
}

// sessionTags are the session's tags: those of the request, and the caller's
// transitive ones, which a request may not set anew.
func sessionTags(caller *model.Session, list []sts.Tag, transitive []string) (model.Tags, []string, error) {
	tags := model.Tags{}
	for _, t := range list {
		k := str(t.Key)
		if hasTag(tags, k) {
			return nil, nil, api.NewFault("InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			return nil, nil, api.NewFault("InvalidParameterValue", "One or more tags provided have reserved prefix aws:")
		}
		tags[k] = str(t.Value)
	}
	for _, k := range transitive {
		if !hasTag(tags, k) {
			return nil, nil, api.NewFault("InvalidParameterValue", "The specified transitive tag key must be included in the requested tags.")
		}
	}
	keys := slices.Clone(transitive)
	if caller != nil {
		for _, k := range caller.TransitiveTags {
			if hasTag(tags, k) {
				return nil, nil, api.NewFault("InvalidParameterValue", "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
			}
			tags[k] = caller.Tags[k]
			keys = append(keys, k)
		}
	}
	return tags, keys, nil
}

func hasTag(tags model.Tags, key string) bool {
	for k := range maps.Keys(tags) {
		if strings.EqualFold(k, key) {
			return true
		}
	}
	return false
}
