// Package policy is the language of IAM policies: it parses and checks
// documents the way IAM does, and decides requests with them.
//
// It is pure. A Document is immutable once parsed and safe for concurrent
// use; parsing compiles it, so callers keep documents rather than texts.
//
// The language is described in
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies.html
package policy

// Kind tells what a document is for, which decides what it must and must not
// contain.
type Kind uint8

const (
	// Identity policies hang on users, groups and roles, are permissions
	// boundaries, or narrow a session. They name resources, not principals.
	Identity Kind = iota
	// Trust policies say who may assume a role. They name principals, not
	// resources.
	Trust
	// Resource policies hang on a resource, such as a repository. They name
	// principals; naming resources is up to the service.
	Resource
)

// Effect is what a statement or a document says of a request.
type Effect uint8

// A document that has nothing to say of a request is NoMatch, which is an
// implicit deny unless another document allows.
const (
	NoMatch Effect = iota
	Allow
	Deny
)

func (e Effect) String() string {
	switch e {
	case Allow:
		return "Allow"
	case Deny:
		return "Deny"
	case NoMatch:
	}
	return "NoMatch"
}

// Document is a parsed policy.
type Document struct {
	Version    string
	ID         string
	Statements []Statement

	text string
}

// Text is the document as it was parsed.
func (d *Document) Text() string { return d.text }

// Statement is one statement of a document.
type Statement struct {
	Sid    string
	Effect Effect

	// Of each pair one is set at most.
	Action, NotAction       []string
	Resource, NotResource   []string
	Principal, NotPrincipal *Principals
	// Keys are the condition keys that the statement asks for, and those of
	// the variables in it, as they are written.
	Keys []string

	// Start and End are where the statement stands in the text, in bytes.
	Start, End int

	misspelt   bool // the effect
	actions    []glob
	resources  []resource
	conditions []condition
}

// Principals is the content of a Principal or NotPrincipal element.
type Principals struct {
	// Any is set by "*", and by {"AWS": "*"}.
	Any bool
	// AWS holds account ids, ARNs of accounts, users, roles and sessions, and
	// the unique ids of deleted principals.
	AWS           []string
	Service       []string
	Federated     []string
	CanonicalUser []string
}

// Malformed is a document's error, in IAM's words. It is answered as
// MalformedPolicyDocument.
type Malformed struct{ Message string }

func (e *Malformed) Error() string { return e.Message }

func malformed(msg string) error { return &Malformed{msg} }
