package policy

import (
	"slices"
	"strings"
)

// Principal is who asks, as Principal elements see it.
type Principal struct {
	// ARN of the user, the session or the account's root.
	ARN string
	// Role is the ARN of the role behind an assumed role's session.
	Role    string
	Account string
	// UniqueID is AIDA… or AROA…, without a session's name.
	UniqueID string
	// Service is a service principal, "ecs-tasks.amazonaws.com"; the other
	// fields are empty then.
	Service string
	// Federated is an identity provider's ARN or name.
	Federated string
}

// grant is how exactly a Principal element names a principal, which decides
// what an allow in a resource's policy is worth.
type grant uint8

const (
	noGrant grant = iota
	// accountGrant: by its account, which delegates to identity policies.
	accountGrant
	// roleGrant: by the role of the session.
	roleGrant
	// directGrant: by the user's or session's own name, as anyone, or as a
	// service.
	directGrant
)

func directly(named bool) grant {
	if named {
		return directGrant
	}
	return noGrant
}

// match tells how p names who.
func (p *Principals) match(who *Principal) grant {
	if who.Service != "" {
		return directly(slices.Contains(p.Service, who.Service))
	}
	if who.Federated != "" {
		return directly(slices.Contains(p.Federated, who.Federated))
	}
	if p.Any {
		return directGrant
	}
	if who.ARN == "" {
		return noGrant // anonymous
	}
	best := noGrant
	for _, a := range p.AWS {
		g := noGrant
		switch {
		case a == who.Account, strings.HasSuffix(a, "::"+who.Account+":root"):
			g = accountGrant
			if strings.HasSuffix(who.ARN, ":root") {
				g = directGrant
			}
		case a == who.ARN:
			g = directGrant
		case who.Role != "" && a == who.Role:
			g = roleGrant
		case who.UniqueID != "" && a == who.UniqueID:
			g = directGrant
			if who.Role != "" {
				g = roleGrant
			}
		}
		best = max(best, g)
	}
	return best
}
