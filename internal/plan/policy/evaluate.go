package policy

import "strings"

// Request is what a policy is asked about.
type Request struct {
	// Action such as "ecs:RunTask"; its case does not matter.
	Action string
	// Resource is an ARN, or "*" for actions that name none.
	Resource  string
	Principal Principal
	Context   Context

	lower string
}

func (r *Request) action() string {
	if r.lower == "" {
		r.lower = strings.ToLower(r.Action)
	}
	return r.lower
}

// Matches tells whether the statement speaks of the request.
func (s *Statement) Matches(r *Request) bool {
	_, ok := s.matches(r)
	return ok
}

func (s *Statement) matches(r *Request) (grant, bool) {
	action := r.action()
	hit := false
	for i := range s.actions {
		if s.actions[i].match(action) {
			hit = true
			break
		}
	}
	if hit != (s.NotAction == nil) {
		return noGrant, false
	}
	if len(s.resources) > 0 {
		hit = false
		for i := range s.resources {
			if s.resources[i].match(r.Resource, r.Context) {
				hit = true
				break
			}
		}
		if hit != (s.NotResource == nil) {
			return noGrant, false
		}
	}
	g := directGrant
	if s.Principal != nil {
		if g = s.Principal.match(&r.Principal); g == noGrant {
			return noGrant, false
		}
	} else if s.NotPrincipal != nil && s.NotPrincipal.match(&r.Principal) != noGrant {
		return noGrant, false
	}
	for i := range s.conditions {
		if !s.conditions[i].holds(r.Context) {
			return noGrant, false
		}
	}
	return g, true
}

// Decide is what the document says of the request: a matching Deny wins over
// any Allow, whatever the order. The statement is one that decided, nil on
// NoMatch.
func (d *Document) Decide(r *Request) (Effect, *Statement) {
	e, s, _ := d.decide(r)
	return e, s
}

func (d *Document) decide(r *Request) (Effect, *Statement, grant) {
	var allow *Statement
	best := noGrant
	for i := range d.Statements {
		s := &d.Statements[i]
		if s.Effect == Allow && best == directGrant {
			continue
		}
		g, ok := s.matches(r)
		if !ok {
			continue
		}
		if s.Effect == Deny {
			return Deny, s, g
		}
		if g > best {
			allow, best = s, g
		}
	}
	if allow == nil {
		return NoMatch, nil, noGrant
	}
	return Allow, allow, best
}

// Named is a document with the name that messages call it by: a managed
// policy's ARN, or empty for an embedded one.
type Named struct {
	Name string
	*Document
}

// Set is all policies that bear on a principal's request.
type Set struct {
	// Identity policies of the user, its groups, or the role.
	Identity []Named
	// Boundary is the permissions boundary, nil where there is none.
	Boundary *Named
	// Session policies; where there are any, one of them must allow.
	Session []Named
	// Resource is the policy of the resource asked for, nil where there is
	// none; Owner is the account that the resource belongs to, empty for the
	// principal's own.
	Resource *Named
	Owner    string
	// Trust is set where Resource is a role's trust policy.
	Trust bool
}

// Layer is a kind of policy that a request passes.
type Layer uint8

// The layers, in the order that a refusal names them.
const (
	IdentityLayer Layer = iota
	BoundaryLayer
	SessionLayer
	ResourceLayer
	TrustLayer
)

// Result is the decision on a request.
type Result struct {
	Allowed bool
	// Explicit: a statement denied it; otherwise nothing allowed it.
	Explicit bool
	// Layer that refused, and the Name of the policy with an explicit deny.
	Layer  Layer
	Policy string
	// Statements that decided, with the documents they stand in.
	Matched []Match
}

// Match is a statement that spoke of a request.
type Match struct {
	Named
	Statement *Statement
	Layer     Layer
}

// Evaluate decides a request: an explicit deny anywhere refuses; otherwise
// the identity policies, the boundary and the session policies must all
// allow, or the resource's policy must. See
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
func Evaluate(set *Set, r *Request) Result {
	var res Result
	resourceLayer := ResourceLayer
	if set.Trust {
		resourceLayer = TrustLayer
	}
	deny := func(layer Layer, n Named, s *Statement) Result {
		return Result{Explicit: true, Layer: layer, Policy: n.Name, Matched: []Match{{n, s, layer}}}
	}
	// allows runs one layer; true in stop means that it denied.
	allows := func(layer Layer, list []Named) (allowed, stop bool) {
		for _, n := range list {
			switch e, s := n.Decide(r); e {
			case Deny:
				res = deny(layer, n, s)
				return false, true
			case Allow:
				allowed = true
				res.Matched = append(res.Matched, Match{n, s, layer})
			case NoMatch:
			}
		}
		return allowed, false
	}
	identity, stop := allows(IdentityLayer, set.Identity)
	if stop {
		return res
	}
	boundary := true
	if set.Boundary != nil {
		if boundary, stop = allows(BoundaryLayer, []Named{*set.Boundary}); stop {
			return res
		}
	}
	session := true
	if len(set.Session) > 0 {
		if session, stop = allows(SessionLayer, set.Session); stop {
			return res
		}
	}
	granted := noGrant
	if set.Resource != nil {
		e, s, g := set.Resource.decide(r)
		switch e {
		case Deny:
			return deny(resourceLayer, *set.Resource, s)
		case Allow:
			granted = g
			res.Matched = append(res.Matched, Match{*set.Resource, s, resourceLayer})
		case NoMatch:
		}
	}
	foreign := set.Owner != "" && set.Owner != r.Principal.Account
	switch {
	case (foreign || set.Trust) && granted == noGrant:
		// Another account's resource, and any role, must let the caller in.
		res.Layer = resourceLayer
	case !foreign && granted == directGrant:
		res.Allowed = true
	case !foreign && granted == roleGrant && boundary && session:
		res.Allowed = true
	case !identity:
		res.Layer = IdentityLayer
	case !boundary:
		res.Layer = BoundaryLayer
	case !session:
		res.Layer = SessionLayer
	default:
		res.Allowed = true
	}
	return res
}

// Reason is the tail of AWS's message for a refusal: "because no
// identity-based policy allows the ecs:RunTask action".
func (r Result) Reason(action string) string {
	if r.Explicit {
		tail := "with an explicit deny in " + r.Layer.article() + r.Layer.String()
		if r.Policy != "" {
			tail += ": " + r.Policy
		}
		return tail
	}
	return "because no " + r.Layer.String() + " allows the " + action + " action"
}

func (l Layer) String() string {
	switch l {
	case IdentityLayer:
		return "identity-based policy"
	case BoundaryLayer:
		return "permissions boundary"
	case SessionLayer:
		return "session policy"
	case ResourceLayer:
		return "resource-based policy"
	case TrustLayer:
		return "role trust policy"
	}
	return "policy"
}

func (l Layer) article() string {
	switch l {
	case IdentityLayer:
		return "an "
	case TrustLayer:
		return "the "
	case BoundaryLayer, SessionLayer, ResourceLayer:
	}
	return "a "
}
