package ecs

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Documents verifies instance identity documents.
type Documents interface {
	// VerifyIdentityDocument tells whether the signature is this server's, of
	// this document.
	VerifyIdentityDocument(document, signature string) bool
}

// identityDocument is what an instance's identity document tells.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html
type identityDocument struct {
	InstanceID string `json:"instanceId"`
	AccountID  string `json:"accountId"`
	Region     string `json:"region"`
}

// errIdentity is what a registration hears that does not prove which instance
// it comes from.
func errIdentity(why string) error {
	return ecs.NewClientException("The instance identity document could not be verified: %s.", why)
}

// machine is the EC2 instance that registers; nil is a machine of the user's,
// which sends no document.
func (s *Service) machine(ctx context.Context, sc scope, in *ecs.RegisterContainerInstanceInput) (*model.Instance, error) {
	text := strings.TrimSpace(val(in.InstanceIdentityDocument))
	if text == "" {
		return nil, nil //nolint:nilnil // there is no instance
	}
	var doc identityDocument
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, errIdentity("it is not JSON")
	}
	if doc.InstanceID == "" {
		return nil, nil //nolint:nilnil // an agent off EC2 sends {}
	}
	switch {
	case doc.AccountID != "" && doc.AccountID != sc.account:
		return nil, errIdentity("it is of account " + doc.AccountID)
	case doc.Region != "" && doc.Region != sc.region:
		return nil, errIdentity("it is of region " + doc.Region)
	}
	row, err := tables.Instances.Get(ctx, s.store, sc.account, sc.region, doc.InstanceID)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, model.ErrName) {
		return nil, errIdentity("there is no instance " + doc.InstanceID)
	}
	if err != nil {
		return nil, err
	}
	if st := row.V.Status.State; st == model.InstanceShuttingDown || st == model.InstanceTerminated {
		return nil, errIdentity("instance " + doc.InstanceID + " is " + st)
	}
	if s.documents != nil && s.documents.VerifyIdentityDocument(text, val(in.InstanceIdentityDocumentSignature)) {
		return row.V, nil
	}
	mine, err := s.callsAs(ctx, sc, row.V)
	if err == nil && !mine {
		err = errIdentity("neither its signature nor the credentials of the request are those of instance " + doc.InstanceID)
	}
	return row.V, err
}

// callsAs tells whether the caller has the credentials of an instance's
// profile: a session of the profile's role that is named for the instance.
func (s *Service) callsAs(ctx context.Context, sc scope, i *model.Instance) (bool, error) {
	who := sc.call.Identity
	if who.RoleARN == "" || i.Spec.ProfileARN == "" || !strings.HasSuffix(who.ARN, "/"+i.ID) {
		return false, nil
	}
	name := i.Spec.ProfileARN[strings.LastIndexByte(i.Spec.ProfileARN, '/')+1:]
	profile, err := tables.InstanceProfiles.Get(ctx, s.store, sc.account, "", strings.ToLower(name))
	if errors.Is(err, store.ErrNotFound) || err == nil && profile.V.Role == "" {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	role, err := tables.Roles.Get(ctx, s.store, sc.account, "", profile.V.Role)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && role.V.ARN == who.RoleARN, err
}

// speaksFor tells whether the caller is the agent of a container instance: he
// who registered it, or who has its EC2 instance's credentials.
func (s *Service) speaksFor(ctx context.Context, sc scope, i *model.ContainerInstance) (bool, error) {
	if i.AgentID == sc.call.Identity.UserID && i.AgentID != "" {
		return true, nil
	}
	if i.EC2InstanceID == "" {
		return false, nil
	}
	row, err := tables.Instances.Get(ctx, s.store, sc.account, sc.region, i.EC2InstanceID)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return s.callsAs(ctx, sc, row.V)
}

// SpeaksFor tells whether the caller of ctx is the agent of the container
// instance: for the agent's connections, which are no operations.
func (s *Service) SpeaksFor(ctx context.Context, i *model.ContainerInstance) (bool, error) {
	return s.speaksFor(ctx, scopeOf(ctx), i)
}
