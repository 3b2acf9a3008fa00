package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// free are the actions that need no permission of the caller's, or that STS
// decides itself because the role's trust policy has a say.
var free = map[string]bool{
	"sts:GetCallerIdentity": true,
	"sts:GetSessionToken":   true,
	"sts:AssumeRole":        true,

	"sts:AssumeRoleWithWebIdentity": true,
}

// Authorize returns nil when the caller of c may do action on every one of
// resources (ARNs, or "*"), and a *model.Denied that names the first that it
// may not. Conditions are condition keys beyond those that follow from c;
// those of multivalued keys are separated by commas. Any other error is internal.
func (d *Directory) Authorize(ctx context.Context, c *api.Call, action string, resources []string, conditions map[string]string) error {
	d.used.note(c, action)
	if c.Identity.Root || c.Identity.Unsigned || free[action] {
		return nil
	}
	set, req, err := d.prepare(ctx, c, action, conditions)
	if err != nil {
		return err
	}
	tagged := asksForResourceTags(set)
	for _, r := range resources {
		req.Resource = r
		req.Context.Set("aws:ResourceAccount", c.Account)
		if tagged {
			if err := d.addResourceTags(ctx, req, conditions); err != nil {
				return err
			}
		}
		if res := policy.Evaluate(set, req); !res.Allowed {
			return d.denial(c, req, res)
		}
	}
	return nil
}

// AuthorizeResource is Authorize for one resource that has a policy of its
// own (text, which may be empty) and belongs to the account owner.
func (d *Directory) AuthorizeResource(ctx context.Context, c *api.Call, action, resource, owner, text string, conditions map[string]string) error {
	d.used.note(c, action)
	if c.Identity.Root && c.Account == owner {
		return nil
	}
	set, req, err := d.prepare(ctx, c, action, conditions)
	if err != nil {
		return err
	}
	req.Resource, set.Owner = resource, owner
	if c.Identity.Anonymous {
		set.Owner = "" // there is no policy of his own to ask besides
	}
	if text != "" {
		doc, err := d.docs.parse(text, policy.Resource)
		if err != nil {
			return fmt.Errorf("policy of %s: %w", resource, err)
		}
		set.Resource = &policy.Named{Document: doc}
	}
	req.Context.Set("aws:ResourceAccount", owner)
	if asksForResourceTags(set) {
		if err := d.addResourceTags(ctx, req, conditions); err != nil {
			return err
		}
	}
	if res := policy.Evaluate(set, req); !res.Allowed {
		return d.denial(c, req, res)
	}
	return nil
}

// AuthorizeService asks whether the policy of a resource lets an AWS service in,
// which acts for an account's resource: nil, or a *model.Denied. The policy may
// name one of accounts, which are AWS's own, in the service's stead.
func (d *Directory) AuthorizeService(_ context.Context, service, sourceAccount, sourceARN string, accounts []string, action, resource, text string, conditions map[string]string) error {
	denied := &model.Denied{Action: action, Resource: resource, Reason: "because no resource-based policy allows the " + action + " action"}
	if text == "" {
		return denied
	}
	doc, err := d.docs.parse(text, policy.Resource)
	if err != nil {
		return fmt.Errorf("policy of %s: %w", resource, err)
	}
	principals := []policy.Principal{{Service: service}}
	for _, a := range accounts {
		principals = append(principals, policy.Principal{ARN: "arn:aws:iam::" + a + ":root", Account: a})
	}
	allowed := false
	for i, p := range principals {
		req := &policy.Request{Action: action, Resource: resource, Principal: p, Context: policy.Context{}}
		req.Context.Set("aws:SecureTransport", "true")
		req.Context.Set("aws:ViaAWSService", "false")
		if i == 0 {
			req.Context.Set("aws:PrincipalIsAWSService", "true")
			req.Context.Set("aws:PrincipalServiceName", service)
			req.Context.Set("aws:SourceAccount", sourceAccount)
			if sourceARN != "" {
				req.Context.Set("aws:SourceArn", sourceARN)
			}
		} else {
			req.Context.Set("aws:PrincipalAccount", p.Account)
			req.Context.Set("aws:PrincipalArn", p.ARN)
		}
		addConditions(req.Context, conditions)
		switch res := policy.Evaluate(&policy.Set{Resource: &policy.Named{Document: doc}}, req); {
		case res.Explicit:
			denied.Reason = res.Reason(action)
			return denied
		case res.Allowed:
			allowed = true
		}
	}
	if !allowed {
		return denied
	}
	return nil
}

// prepare collects the caller's policies and the request's context.
func (d *Directory) prepare(ctx context.Context, c *api.Call, action string, conditions map[string]string) (*policy.Set, *policy.Request, error) {
	set := &policy.Set{}
	req := &policy.Request{Action: action, Context: policy.Context{}}
	if err := d.addPrincipal(ctx, c, set, req); err != nil {
		return nil, nil, err
	}
	if action == "iam:ChangePassword" || action == "iam:GetAccountPasswordPolicy" {
		if err := d.addOwnPassword(ctx, c.Account, set); err != nil {
			return nil, nil, err
		}
	}
	addCall(req.Context, c, d.Session(c.Identity.AccessKeyID))
	addConditions(req.Context, conditions)
	return set, req, nil
}

// ownPassword is what a password policy with AllowUsersToChangePassword gives
// every user.
var ownPassword = mustParse(`{"Version":"2012-10-17","Statement":[
	{"Effect":"Allow","Action":"iam:ChangePassword","Resource":"arn:*:iam::*:user/${aws:username}"},
	{"Effect":"Allow","Action":"iam:ChangePassword","Resource":"arn:*:iam::*:user/*/${aws:username}"},
	{"Effect":"Allow","Action":"iam:GetAccountPasswordPolicy","Resource":"*"}]}`)

func (d *Directory) addOwnPassword(ctx context.Context, account string, set *policy.Set) error {
	row, err := tables.PasswordPolicies.Get(ctx, d.store, account, "", "policy")
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the password policy: %w", err)
	}
	if row.V.AllowChange {
		set.Identity = append(set.Identity, policy.Named{Document: ownPassword})
	}
	return nil
}

// addPrincipal adds the identity, boundary and session policies of the
// caller, and the keys that describe it.
func (d *Directory) addPrincipal(ctx context.Context, c *api.Call, set *policy.Set, req *policy.Request) error {
	who := &c.Identity
	if who.Anonymous {
		req.Context.Set("aws:PrincipalType", "Anonymous")
		req.Context.Set("aws:userid", "anonymous")
		return nil
	}
	req.Principal = policy.Principal{ARN: who.ARN, Role: who.RoleARN, Account: c.Account}
	req.Principal.UniqueID, _, _ = strings.Cut(who.UserID, ":")
	keys := req.Context
	keys.Set("aws:PrincipalAccount", c.Account)
	keys.Set("aws:userid", who.UserID)
	keys.Set("aws:PrincipalArn", who.ARN)
	keys.Set("aws:PrincipalType", "User")
	var err error
	switch {
	case who.RoleARN != "":
		keys.Set("aws:PrincipalArn", who.RoleARN)
		keys.Set("aws:PrincipalType", "AssumedRole")
		err = d.addRole(ctx, who.RoleARN, set, keys)
	case who.Root:
		keys.Set("aws:PrincipalType", "Account")
		set.Identity = append(set.Identity, policy.Named{Document: everything})
	default:
		name, federated := d.userOf(c)
		if federated {
			keys.Set("aws:PrincipalType", "FederatedUser")
		}
		if federated && name == "" { // root's, whom session policies alone narrow
			set.Identity = append(set.Identity, policy.Named{Document: everything})
			break
		}
		err = d.addUser(ctx, c.Account, name, !federated, set, keys)
	}
	if err != nil {
		return err
	}
	for k, v := range who.SessionTags {
		keys.Set("aws:PrincipalTag/"+k, v)
	}
	for _, p := range unpackSessionPolicies(who.SessionPolicy) {
		if strings.HasPrefix(p, "arn:") {
			n, ok, err := d.named(ctx, p)
			if err != nil {
				return err
			}
			if ok {
				set.Session = append(set.Session, n)
				continue
			}
			p = nothing
		}
		doc, err := d.docs.parse(p, policy.Identity)
		if err != nil {
			return fmt.Errorf("session policy: %w", err)
		}
		set.Session = append(set.Session, policy.Named{Document: doc})
	}
	if s := d.Session(who.AccessKeyID); s != nil && s.Federated != "" && len(set.Session) == 0 {
		// A federated user without session policies may do nothing.
		doc, err := d.docs.parse(nothing, policy.Identity)
		if err != nil {
			return err
		}
		set.Session = append(set.Session, policy.Named{Document: doc})
	}
	return nil
}

// nothing allows nothing: it stands for a session policy that is gone.
const nothing = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"*","Resource":"*"}}`

// everything is what root's own policies would say.
var everything = mustParse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)

func mustParse(text string) *policy.Document {
	d, err := policy.Parse(text, policy.Identity)
	if err != nil {
		panic(err)
	}
	return d
}

// userOf is the record id of the user behind the caller.
func (d *Directory) userOf(c *api.Call) (name string, federated bool) {
	if s := d.Session(c.Identity.AccessKeyID); s != nil {
		return s.User, s.Federated != ""
	}
	_, _, name, _ = model.IAMNameOf(c.Identity.ARN, "user")
	return strings.ToLower(name), false
}

func (d *Directory) addRole(ctx context.Context, arn string, set *policy.Set, keys policy.Context) error {
	role, err := d.Role(ctx, arn)
	if errors.Is(err, store.ErrNotFound) {
		return nil // deleted meanwhile: no policies, hence nothing allowed
	}
	if err != nil {
		return err
	}
	for k, v := range role.Tags {
		keys.Set("aws:PrincipalTag/"+k, v)
	}
	if err := d.addIdentity(ctx, &role.IAMPrincipal, set); err != nil {
		return err
	}
	return d.addBoundary(ctx, role.PermissionsBoundary, set)
}

func (d *Directory) addUser(ctx context.Context, account, id string, named bool, set *policy.Set, keys policy.Context) error {
	row, err := tables.Users.Get(ctx, d.store, account, "", id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read user: %w", err)
	}
	user := row.V
	if named {
		keys.Set("aws:username", user.Name)
	}
	for k, v := range user.Tags {
		keys.Set("aws:PrincipalTag/"+k, v)
	}
	if err := d.addIdentity(ctx, &user.IAMPrincipal, set); err != nil {
		return err
	}
	for _, g := range user.Groups {
		group, err := tables.Groups.Get(ctx, d.store, account, "", g)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read group: %w", err)
		}
		if err := d.addIdentity(ctx, &group.V.IAMPrincipal, set); err != nil {
			return err
		}
	}
	return d.addBoundary(ctx, user.PermissionsBoundary, set)
}

func (d *Directory) addIdentity(ctx context.Context, p *model.IAMPrincipal, set *policy.Set) error {
	for name, text := range p.Policies {
		doc, err := d.docs.parse(text, policy.Identity)
		if err != nil {
			return fmt.Errorf("policy %s of %s: %w", name, p.ARN, err)
		}
		set.Identity = append(set.Identity, policy.Named{Document: doc})
	}
	for _, arn := range p.Attached {
		n, ok, err := d.named(ctx, arn)
		if err != nil {
			return err
		}
		if ok {
			set.Identity = append(set.Identity, n)
		}
	}
	return nil
}

func (d *Directory) addBoundary(ctx context.Context, arn string, set *policy.Set) error {
	if arn == "" {
		return nil
	}
	n, ok, err := d.named(ctx, arn)
	if err != nil {
		return err
	}
	if !ok {
		doc, err := d.docs.parse(nothing, policy.Identity)
		if err != nil {
			return err
		}
		n = policy.Named{Name: arn, Document: doc}
	}
	set.Boundary = &n
	return nil
}

// addCall adds the keys that follow from the request itself.
func addCall(keys policy.Context, c *api.Call, s *model.Session) {
	if c.SourceIP != "" {
		keys.Set("aws:SourceIp", c.SourceIP)
	}
	keys.Set("aws:SecureTransport", strconv.FormatBool(c.Secure))
	keys.Set("aws:CurrentTime", c.Time.UTC().Format(time.RFC3339))
	keys.Set("aws:EpochTime", strconv.FormatInt(c.Time.Unix(), 10))
	keys.Set("aws:ViaAWSService", "false")
	keys.Set("aws:PrincipalIsAWSService", "false")
	if c.Region != "" {
		keys.Set("aws:RequestedRegion", c.Region)
	}
	if c.UserAgent != "" {
		keys.Set("aws:UserAgent", c.UserAgent)
	}
	if s != nil {
		keys.Set("aws:TokenIssueTime", s.Issued.UTC().Format(time.RFC3339))
		keys.Set("aws:MultiFactorAuthPresent", strconv.FormatBool(s.MFA))
		if s.MFA {
			keys.Set("aws:MultiFactorAuthAge", strconv.FormatInt(int64(c.Time.Sub(s.Issued)/time.Second), 10))
		}
		if s.Provider != "" {
			keys.Set("aws:FederatedProvider", s.Provider)
		}
		if s.SourceIdentity != "" {
			keys.Set("aws:SourceIdentity", s.SourceIdentity)
		}
	}
}

// multivalued are the keys with several values, which commas separate where they
// are one text.
var multivalued = map[string]bool{
	"aws:tagkeys": true, "acm:domainnames": true,
	"elasticloadbalancing:listenerprotocol": true, "elasticloadbalancing:securitygroup": true,
	"elasticloadbalancing:securitypolicy": true, "elasticloadbalancing:subnet": true,
}

// addConditions adds an operation's own keys, and aws:TagKeys where they hold
// request tags but not their keys.
func addConditions(keys policy.Context, conditions map[string]string) {
	const requestTag = "aws:requesttag/"
	var tags []string
	for k, v := range conditions {
		if multivalued[strings.ToLower(k)] {
			if v != "" {
				keys.Set(k, strings.Split(v, ",")...)
			}
			continue
		}
		keys.Set(k, v)
		if len(k) > len(requestTag) && strings.EqualFold(k[:len(requestTag)], requestTag) {
			tags = append(tags, k[len(requestTag):])
		}
	}
	if _, ok := keys["aws:tagkeys"]; !ok && len(tags) > 0 {
		slices.Sort(tags)
		keys.Set("aws:TagKeys", tags...)
	}
}
