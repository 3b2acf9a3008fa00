package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/store"
)

// CannotAssume is the error of a service that may not assume a role, or of a
// role that does not exist.
type CannotAssume struct {
	Role    string // ARN
	Service string
	// Exists tells whether there is such a role at all.
	Exists bool
}

func (e *CannotAssume) Error() string {
	if !e.Exists {
		return "role " + e.Role + " does not exist"
	}
	return "role " + e.Role + " does not trust " + e.Service
}

// AuthorizeAssume decides whether the caller may do action (sts:AssumeRole,
// sts:TagSession or sts:SetSourceIdentity) on a role, by the role's trust
// policy and the caller's own. It returns a *model.Denied when not.
func (d *Directory) AuthorizeAssume(ctx context.Context, c *api.Call, action string, role *model.Role, conditions map[string]string) error {
	account, _, _, _ := model.IAMNameOf(role.ARN, "role")
	set, req, err := d.prepare(ctx, c, action, conditions)
	if err != nil {
		return err
	}
	for k, v := range role.Tags {
		req.Context.Set("aws:ResourceTag/"+k, v)
		req.Context.Set("iam:ResourceTag/"+k, v)
	}
	doc, err := d.docs.parse(role.TrustPolicy, policy.Trust)
	if err != nil {
		return fmt.Errorf("trust policy of %s: %w", role.ARN, err)
	}
	set.Trust, set.Owner, set.Resource = true, account, &policy.Named{Document: doc}
	req.Resource = role.ARN
	if res := policy.Evaluate(set, req); !res.Allowed {
		denied := &model.Denied{Action: action, Resource: role.ARN, Reason: res.Reason(action)}
		if res.Layer == policy.TrustLayer && !res.Explicit {
			denied.Reason = "" // AWS does not tell strangers about trust policies
		}
		return denied
	}
	return nil
}

// AuthorizeWebIdentity decides by a role's trust policy whether who holds a
// verified token may assume it. It returns a *model.Denied when not.
func (d *Directory) AuthorizeWebIdentity(ctx context.Context, c *api.Call, role *model.Role, who *WebIdentity, conditions map[string]string) error {
	doc, err := d.docs.parse(role.TrustPolicy, policy.Trust)
	if err != nil {
		return fmt.Errorf("trust policy of %s: %w", role.ARN, err)
	}
	req := &policy.Request{
		Action: "sts:AssumeRoleWithWebIdentity", Resource: role.ARN,
		Principal: policy.Principal{Federated: who.Provider.ARN}, Context: policy.Context{},
	}
	addCall(req.Context, c, nil)
	addConditions(req.Context, conditions)
	req.Context.Set("aws:FederatedProvider", who.Provider.ARN)
	req.Context.Set(who.Issuer+":aud", who.Audience)
	req.Context.Set(who.Issuer+":sub", who.Subject)
	if len(who.AMR) > 0 {
		req.Context.Set(who.Issuer+":amr", who.AMR...)
	}
	for k, v := range role.Tags {
		req.Context.Set("aws:ResourceTag/"+k, v)
		req.Context.Set("iam:ResourceTag/"+k, v)
	}
	if effect, _ := doc.Decide(req); effect != policy.Allow {
		return &model.Denied{Action: req.Action, Resource: role.ARN}
	}
	return nil
}

// Trusts tells whether a role's trust policy lets a service assume it.
// Conditions hold what the service says of itself: aws:SourceArn and
// aws:SourceAccount.
func (d *Directory) Trusts(role *model.Role, service string, conditions map[string]string) (bool, error) {
	doc, err := d.docs.parse(role.TrustPolicy, policy.Trust)
	if err != nil {
		return false, fmt.Errorf("trust policy of %s: %w", role.ARN, err)
	}
	req := &policy.Request{
		Action: "sts:AssumeRole", Resource: role.ARN,
		Principal: policy.Principal{Service: service},
		Context:   policy.Context{},
	}
	now := d.clock.Now()
	req.Context.Set("aws:CurrentTime", now.UTC().Format(time.RFC3339))
	req.Context.Set("aws:PrincipalIsAWSService", "true")
	req.Context.Set("aws:PrincipalServiceName", service)
	addConditions(req.Context, conditions)
	effect, _ := doc.Decide(req)
	return effect == policy.Allow, nil
}

// MintRoleSession makes credentials of a role for a service that runs
// something on the user's behalf. It fails with a *CannotAssume when the role
// is not there or does not trust the service. Conditions may be nil; they
// hold aws:SourceArn and aws:SourceAccount.
func (d *Directory) MintRoleSession(ctx context.Context, roleARN, sessionName, service string, duration time.Duration, conditions map[string]string) (Credentials, error) {
	role, err := d.Role(ctx, roleARN)
	if errors.Is(err, store.ErrNotFound) {
		return Credentials{}, &CannotAssume{Role: roleARN, Service: service}
	}
	if err != nil {
		return Credentials{}, err
	}
	ok, err := d.Trusts(role, service, conditions)
	if err != nil {
		return Credentials{}, err
	}
	if !ok {
		return Credentials{}, &CannotAssume{Role: roleARN, Service: service, Exists: true}
	}
	s := model.NewRoleSession(role, sessionName)
	token, err := d.Mint(&s, duration)
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{s.AccessKeyID, s.Secret, token, s.Expires}, nil
}
