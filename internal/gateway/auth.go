package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/sigv4"
	"roadstead.dev/internal/model"
)

// rootKey is the access key and the secret that LoopbackRootKey accepts.
const rootKey = "test"

// caller is who a verified signature belongs to.
type caller struct {
	identity api.Identity
	account  string
	region   string
}

// authenticate verifies the signature of a request for svc.
func (g *Gateway) authenticate(ctx context.Context, rt *mounted, op *api.Operation, r *request) (caller, error) {
	sig, err := sigv4.Parse(r.http.Header, r.query)
	if err != nil {
		if rt.dialect.s3 && r.query.Has("AWSAccessKeyId") {
			return caller{}, &api.Fault{Code: "InvalidRequest", Message: "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."}
		}
		if errors.Is(err, sigv4.ErrMissing) && op.Unsigned {
			if rt.policies != nil {
				return caller{identity: api.Identity{Anonymous: true}, region: defaultRegion}, nil
			}
			return caller{api.Identity{Unsigned: true}, g.cfg.Account, defaultRegion}, nil
		}
		return caller{}, signatureFault(&rt.dialect, err)
	}
	if err := sig.Check(rt.api.SigningName, r.received); err != nil {
		return caller{}, signatureFault(&rt.dialect, err)
	}
	secret, identity, account, err := g.lookup(ctx, r.http, sig.AccessKeyID, sig.SessionToken)
	if err != nil {
		return caller{}, signatureFault(&rt.dialect, err)
	}
	signed := sigv4.Request{
		Method: r.http.Method, Path: r.path, RawQuery: r.http.URL.RawQuery, Host: r.http.Host,
		Header: r.http.Header, ContentLength: r.http.ContentLength, Body: r.raw,
		TransferEncoding: r.http.TransferEncoding,
	}
	if r.stream != nil {
		// The body is checked against it as it comes.
		err = sig.VerifyHead(&signed, secret, r.payload)
	} else {
		err = sig.Verify(&signed, secret)
	}
	if err != nil {
		return caller{}, signatureFault(&rt.dialect, err)
	}
	identity.AccessKeyID = sig.AccessKeyID
	return caller{identity, account, sig.Scope.Region}, nil
}

// defaultRegion is the region of calls that name none: unsigned ones.
const defaultRegion = "us-east-1"

func (g *Gateway) lookup(ctx context.Context, r *http.Request, key, token string) (string, api.Identity, string, error) {
	if g.cfg.LoopbackRootKey && key == rootKey {
		if foreignPage(r) {
			return "", api.Identity{}, "", errForeignPage
		}
		account := g.cfg.Account
		return rootKey, api.Identity{ARN: "arn:aws:iam::" + account + ":root", UserID: account, Root: true}, account, nil
	}
	return g.cfg.Credentials.Lookup(ctx, key, token)
}

// signatureFault words what is wrong with a signature.
func signatureFault(d *dialect, err error) error {
	if e, ok := errors.AsType[*sigv4.Incomplete](err); ok {
		return with(d.incomplete, e.Message)
	}
	if e, ok := errors.AsType[*sigv4.ScopeError](err); ok {
		return with(d.badScope, e.Message)
	}
	if e, ok := errors.AsType[*sigv4.TimeError](err); ok {
		if e.Presigned {
			return new(d.presignedPast)
		}
		if d.outOfTime.Message != "" {
			return new(d.outOfTime)
		}
		return with(d.outOfTime, e.Error())
	}
	if _, ok := errors.AsType[*sigv4.ErrPayload](err); ok {
		if d.badPayload.Code != "" {
			return new(d.badPayload)
		}
		return new(d.badSignature)
	}
	switch {
	case errors.Is(err, errForeignPage):
		return with(d.denied, err.Error())
	case errors.Is(err, sigv4.ErrMissing):
		return new(d.missing)
	case errors.Is(err, sigv4.ErrMismatch):
		return new(d.badSignature)
	case errors.Is(err, model.ErrUnknownAccessKey):
		return new(d.unknownKey)
	case errors.Is(err, model.ErrSecurityToken):
		return new(d.badToken)
	case errors.Is(err, model.ErrExpiredToken):
		return new(d.expiredToken)
	}
	return err
}

// open lists the actions that need no permission.
var open = map[string]bool{
	"sts:GetCallerIdentity": true,
	"sts:GetSessionToken":   true,
}

// authorize asks for the operation's own permission.
func (g *Gateway) authorize(ctx context.Context, rt *mounted, c *api.Call, op *api.Operation, in any) error {
	action := op.Action()
	if rt.actions != nil {
		action = rt.actions.ActionOf(op, in)
	}
	if action == "" || open[action] || rt.policies == nil && (c.Identity.Root || c.Identity.Unsigned) {
		return nil
	}
	resources := []string{"*"}
	var conditions map[string]string
	if rt.scoper != nil {
		arns, conds := rt.scoper.ScopeOf(ctx, op, in)
		if len(arns) > 0 {
			resources = arns
		}
		conditions = conds
	}
	conditions = addRequestTags(conditions, in)
	err := g.permit(ctx, rt, c, action, resources, conditions)
	return deniedFault(&rt.dialect, c, err)
}

// permit asks the caller's policies, together with those of the resources
// where the service's have any.
func (g *Gateway) permit(ctx context.Context, rt *mounted, c *api.Call, action string, resources []string, conditions map[string]string) error {
	plain := resources
	if rt.policies != nil {
		plain = nil
		for _, r := range resources {
			if !strings.HasPrefix(r, "arn:") {
				plain = append(plain, r)
				continue
			}
			text, owner, err := rt.policies.PolicyOf(ctx, r)
			if err != nil {
				return err
			}
			if text == "" && owner == c.Account && !c.Identity.Anonymous {
				plain = append(plain, r)
				continue
			}
			weigher, ok := g.cfg.Authorizer.(ResourceAuthorizer)
			if !ok {
				return &model.Denied{Action: action, Resource: r, Reason: "because no resource-based policy allows the " + action + " action"}
			}
			if err := weigher.AuthorizeResource(ctx, c, action, r, owner, text, conditions); err != nil {
				return err
			}
		}
	}
	if len(plain) > 0 && c.Identity.Anonymous {
		return &model.Denied{Action: action, Resource: plain[0], Reason: "because no resource-based policy allows the " + action + " action"}
	}
	if len(plain) == 0 || c.Identity.Root || c.Identity.Unsigned {
		return nil
	}
	return g.cfg.Authorizer.Authorize(ctx, c, action, plain, conditions)
}

// authorizer makes the Call's Authorize, for the permissions that a handler
// asks for beyond the operation's own.
func (g *Gateway) authorizer(rt *mounted, c *api.Call) api.Authorizer {
	return func(ctx context.Context, action, resource string, conditions map[string]string) error {
		if c.Identity.Root && rt.policies == nil {
			return nil
		}
		err := g.permit(ctx, rt, c, action, []string{resource}, conditions)
		return deniedFault(&rt.dialect, c, err)
	}
}

// deniedFault words a denial as IAM does.
func deniedFault(d *dialect, c *api.Call, err error) error {
	denied, ok := errors.AsType[*model.Denied](err)
	if !ok {
		return err
	}
	if d.s3 {
		return s3Denied(d, c, denied)
	}
	message := "User: " + c.Identity.ARN + " is not authorized to perform: " + denied.Action
	if denied.Resource != "*" || d.anywhere {
		message += " on resource: " + denied.Resource
	}
	message += " " + denied.Reason
	if d.denied.Code == "UnauthorizedOperation" {
		message = "You are not authorized to perform this operation. " + message
		if denied.Encoded != "" {
			message += ". Encoded authorization failure message: " + denied.Encoded
		}
	}
	return with(d.denied, message)
}
