package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// check says what IAM would refuse in a well-formed document. The order of
// the checks is IAM's: the first that fails is the one reported.
func (d *Document) check(kind Kind) error {
	if kind == Identity && d.Version != version2012 {
		return malformed(msgVersion)
	}
	for i := range d.Statements {
		if err := d.Statements[i].checkLegacy(); err != nil {
			return err
		}
	}
	sids := map[string]bool{}
	for i := range d.Statements {
		sid := d.Statements[i].Sid
		if sid != "" && sids[sid] {
			return malformed(msgSid)
		}
		sids[sid] = true
	}
	switch kind {
	case Identity:
		return d.checkIdentity()
	case Trust:
		return d.checkTrust()
	case Resource:
		return d.checkResource()
	}
	return nil
}

// checkLegacy finds what only IAM's older parser minds.
func (s *Statement) checkLegacy() error {
	if s.misspelt {
		return malformed(msgLegacy)
	}
	for _, r := range slices.Concat(s.Resource, s.NotResource) {
		p := strings.SplitN(r, ":", 6)
		if len(p) >= 4 && p[0] == "arn" && validPartition(p[1]) && (p[2] == "" || len(p) == 5 && !accountLike(p[4])) {
			return malformed(msgLegacy)
		}
	}
	for i := range s.conditions {
		if !s.conditions[i].wellTyped() {
			return malformed(msgLegacy)
		}
	}
	return nil
}

// accountLike tells whether an ARN's fifth part can be an account.
func accountLike(s string) bool {
	return s == "" || accountPattern.MatchString(s) || strings.ContainsAny(s, "*?$") && !strings.Contains(s, "/")
}

var sidPattern = regexp.MustCompile(`^[A-Za-z0-9]*$`)

func (d *Document) checkIdentity() error {
	for i := range d.Statements {
		if s := &d.Statements[i]; s.Principal != nil || s.NotPrincipal != nil {
			return malformed("Policy document should not specify a principal.")
		}
	}
	for i := range d.Statements {
		if s := &d.Statements[i]; len(s.Action) == 0 && len(s.NotAction) == 0 {
			return malformed("Policy statement must contain actions.")
		}
	}
	for i := range d.Statements {
		if s := &d.Statements[i]; len(s.Resource) == 0 && len(s.NotResource) == 0 {
			return malformed("Policy statement must contain resources.")
		}
	}
	for i := range d.Statements {
		s := &d.Statements[i]
		for _, r := range slices.Concat(s.Resource, s.NotResource) {
			if err := checkResourceName(r); err != nil {
				return err
			}
		}
	}
	if err := d.checkActions(); err != nil {
		return err
	}
	for i := range d.Statements {
		if !sidPattern.MatchString(d.Statements[i].Sid) {
			return malformed("Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*")
		}
	}
	return nil
}

// checkActions checks the form of all actions.
func (d *Document) checkActions() error {
	for i := range d.Statements {
		s := &d.Statements[i]
		for _, a := range slices.Concat(s.Action, s.NotAction) {
			if err := checkAction(a); err != nil {
				return err
			}
		}
	}
	return nil
}

var vendorPattern = regexp.MustCompile(`^[A-Za-z0-9.-]+$`)

func checkAction(a string) error {
	if a == "*" {
		return nil
	}
	vendor, name, ok := strings.Cut(a, ":")
	switch {
	case !ok:
		return malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
	case strings.Contains(name, ":"):
		return malformed("Actions/Condition can contain only one colon.")
	case !vendorPattern.MatchString(vendor):
		return malformed("Vendor " + vendor + " is not valid")
	}
	return nil
}

// iamPaths are what a resource of IAM's own may begin with.
var iamPaths = []string{
	"user/", "federated-user/", "role/", "group/", "instance-profile/", "mfa/", "server-certificate/",
	"policy/", "sms-mfa/", "saml-provider/", "oidc-provider/", "report/", "access-report/",
}

func checkResourceName(r string) error {
	if r == "*" {
		return nil
	}
	if strings.HasPrefix(r, "${") && strings.HasSuffix(r, "}") {
		return nil
	}
	p := strings.SplitN(r, ":", 6)
	if len(p) < 2 {
		return malformed(fmt.Sprintf(`Resource %s must be in ARN format or "*".`, r))
	}
	for n := len(p); len(p) < 6; n++ {
		p = append(p, "*")
	}
	if !validPartition(p[1]) {
		return malformed(fmt.Sprintf(`Partition "%s" is not valid for resource "arn:%s".`, p[1], strings.Join(p[1:], ":")))
	}
	if strings.Count(r, ":") == 1 || strings.ContainsAny(p[2], "*?") && strings.Count(r, ":") < 5 {
		return malformed("Resource vendor must be fully qualified and cannot contain regexes.")
	}
	switch region := p[3]; {
	case p[2] == "iam" && region != "" && region != "*":
		return malformed("IAM resource " + r + " cannot contain region information.")
	case p[2] == "s3" && region != "" && region != "*":
		return malformed("Resource " + r + " can not contain region information.")
	}
	if p[2] == "iam" && !iamPath(p[5]) {
		return malformed(`IAM resource path must either be "*" or start with ` + strings.Join(iamPaths, ", ") + ".")
	}
	return nil
}

func iamPath(s string) bool {
	if s == "root" || strings.ContainsAny(s[:min(1, len(s))], "*?$") {
		return true
	}
	for _, p := range iamPaths {
		if strings.HasPrefix(s, p) {
			return true
		}
		// A wildcard may stand in the type's own name.
		if i := strings.IndexAny(s, "*?"); i >= 0 && i < len(p) && strings.HasPrefix(p, s[:i]) {
			return true
		}
	}
	return false
}

func validPartition(p string) bool {
	switch p {
	case "aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc", "*":
		return true
	}
	return strings.HasPrefix(p, "${") || strings.HasPrefix(p, "aws") && strings.HasSuffix(p, "*")
}

// trustActions are what a trust policy may allow, in lower case.
var trustActions = map[string]bool{
	"sts:assumerole": true, "sts:assumerolewithwebidentity": true, "sts:assumerolewithsaml": true,
	"sts:tagsession": true, "sts:setsourceidentity": true, "sts:setcontext": true, "sts:*": true,
	"sts:assumerole*": true,
}

var (
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	// principalPattern is what an AWS principal's ARN looks like.
	principalPattern = regexp.MustCompile(`^arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:(root|user/.+|role/.+|assumed-role/[^/]+/.+|federated-user/.+)$`)
	uniqueIDPattern  = regexp.MustCompile(`^A(IDA|ROA)[A-Z0-9]{12,124}$`)
	servicePattern   = regexp.MustCompile(`^[a-z0-9.-]+\.(amazonaws\.com(\.cn)?|amazon\.com|aws\.internal|aws\.dev|amazon-analytics-reports\.com)$`)
)

func (d *Document) checkTrust() error {
	for i := range d.Statements {
		s := &d.Statements[i]
		switch {
		case s.NotPrincipal != nil:
			return malformed("AssumeRole policy must not contain NotPrincipal field.")
		case s.Principal == nil:
			return malformed("Missing required field Principal")
		case s.Resource != nil:
			return malformed("Has prohibited field Resource")
		case s.NotResource != nil:
			return malformed("Has prohibited field NotResource")
		case len(s.Action) == 0 && s.NotAction == nil:
			return malformed("Missing required field Action")
		case s.NotAction != nil:
			return malformed("AssumeRole policy may only specify STS AssumeRole actions.")
		}
		for _, a := range s.Action {
			if !trustActions[strings.ToLower(a)] {
				return malformed("AssumeRole policy may only specify STS AssumeRole actions.")
			}
		}
		if err := s.Principal.check(); err != nil {
			return err
		}
	}
	return nil
}

func (p *Principals) check() error {
	for _, a := range p.AWS {
		if !accountPattern.MatchString(a) && !uniqueIDPattern.MatchString(a) && (!principalPattern.MatchString(a) || strings.ContainsAny(a, "*?")) {
			return InvalidPrincipal("AWS", a)
		}
	}
	for _, s := range p.Service {
		if !servicePattern.MatchString(s) {
			return InvalidPrincipal("SERVICE", s)
		}
	}
	return nil
}

// InvalidPrincipal is the error for a principal that cannot be: typ is AWS,
// SERVICE or FEDERATED.
func InvalidPrincipal(typ, value string) error {
	return malformed(fmt.Sprintf(`Invalid principal in policy: "%s":"%s"`, typ, value))
}

func (d *Document) checkResource() error {
	for i := range d.Statements {
		s := &d.Statements[i]
		if s.Principal == nil && s.NotPrincipal == nil {
			return malformed("Missing required field Principal")
		}
		if len(s.Action) == 0 && len(s.NotAction) == 0 {
			return malformed("Missing required field Action")
		}
	}
	return d.checkActions()
}
