package model

import (
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Prefixes of IAM's unique ids; 17 characters of A-Z and 2-7 follow.
const (
	IAMUserPrefix            = "AIDA"
	IAMRolePrefix            = "AROA"
	IAMGroupPrefix           = "AGPA"
	IAMPolicyPrefix          = "ANPA"
	IAMInstanceProfilePrefix = "AIPA"
	// IAMAccessKeyPrefix begins a user's access key id, IAMSessionKeyPrefix
	// that of temporary credentials; 16 characters follow either.
	IAMAccessKeyPrefix  = "AKIA"
	IAMSessionKeyPrefix = "ASIA"
)

// Statuses of an access key.
const (
	AccessKeyActive   = "Active"
	AccessKeyInactive = "Inactive"
)

// IAMPrincipal is what users, groups and roles have in common. All of it is
// the user's spec.
type IAMPrincipal struct {
	// Name as it was given; names are unique without regard to case, and a
	// record's id is the name in lower case.
	Name string `json:"name"`
	// Path begins and ends with a slash.
	Path       string    `json:"path"`
	ID         string    `json:"id"`
	ARN        string    `json:"arn"`
	CreateDate time.Time `json:"createDate"`
	// Policies embedded in the principal: document by name.
	Policies map[string]string `json:"policies,omitempty"`
	// Attached managed policies' ARNs, in the order they were attached.
	Attached []string `json:"attached,omitempty"`
}

// User is an IAM user. Key: account, no region, lower-case name.
type User struct {
	IAMPrincipal
	// PermissionsBoundary is the ARN of a managed policy, or empty.
	PermissionsBoundary string `json:"permissionsBoundary,omitempty"`
	Tags                Tags   `json:"tags,omitzero"`
	// Groups the user is in: their record ids.
	Groups []string `json:"groups,omitempty"`
	// AccessKeys are the ids of the user's keys, two at most.
	AccessKeys []string `json:"accessKeys,omitempty"`
	// Login is the user's password, nil where it has none.
	Login *LoginProfile `json:"login,omitempty"`
	// SSHKeys are the user's, five at most.
	SSHKeys []SSHPublicKey `json:"sshKeys,omitempty"`
	// MFADevices are the record ids of those enabled for the user.
	MFADevices []string `json:"mfaDevices,omitempty"`
}

// LoginProfile is a user's password.
type LoginProfile struct {
	CreateDate time.Time `json:"createDate"`
	// ResetRequired: the user must choose another at the next sign-in.
	ResetRequired bool `json:"resetRequired,omitempty"`
	// Hash is PBKDF2 with SHA-256 of the password and Salt, Rounds times.
	Hash   []byte `json:"hash"`
	Salt   []byte `json:"salt"`
	Rounds int    `json:"rounds"`
	// Former are the hashes of earlier passwords, the newest first, with the
	// same Salt and Rounds.
	Former [][]byte `json:"former,omitempty"`
}

// OIDCProvider is an OpenID Connect identity provider. Key: account, no
// region, the URL without its scheme.
type OIDCProvider struct {
	// URL without its scheme.
	URL         string    `json:"url"`
	ARN         string    `json:"arn"`
	ClientIDs   []string  `json:"clientIds,omitempty"`
	Thumbprints []string  `json:"thumbprints,omitempty"`
	CreateDate  time.Time `json:"createDate"`
	Tags        Tags      `json:"tags,omitzero"`
}

// Group is an IAM group. Key: account, no region, lower-case name.
type Group struct {
	IAMPrincipal
	// Members counts the users whose Groups name this one.
	Members int `json:"members,omitempty"`
}

// Role is an IAM role. Key: account, no region, lower-case name.
type Role struct {
	IAMPrincipal
	Description string `json:"description,omitempty"`
	// TrustPolicy is the AssumeRolePolicyDocument.
	TrustPolicy string `json:"trustPolicy"`
	// MaxSessionDuration in seconds, 3600 to 43200.
	MaxSessionDuration  int    `json:"maxSessionDuration"`
	PermissionsBoundary string `json:"permissionsBoundary,omitempty"`
	Tags                Tags   `json:"tags,omitzero"`
	// InstanceProfiles that hold the role: their record ids.
	InstanceProfiles []string `json:"instanceProfiles,omitempty"`
	// LinkedService is the service principal that owns a service-linked role,
	// else empty.
	LinkedService string `json:"linkedService,omitempty"`
}

// InstanceProfile is an IAM instance profile. Key: account, no region,
// lower-case name.
type InstanceProfile struct {
	Name       string    `json:"name"`
	Path       string    `json:"path"`
	ID         string    `json:"id"`
	ARN        string    `json:"arn"`
	CreateDate time.Time `json:"createDate"`
	// Role is the record id of the one role the profile holds, or empty.
	Role string `json:"role,omitempty"`
	Tags Tags   `json:"tags,omitzero"`
}

// Policy is a customer managed policy. Key: account, no region, lower-case
// name.
type Policy struct {
	Name        string `json:"name"`
	Path        string `json:"path"`
	ID          string `json:"id"`
	ARN         string `json:"arn"`
	Description string `json:"description,omitempty"`
	// Versions, oldest first, five at most.
	Versions       []PolicyVersion `json:"versions"`
	DefaultVersion string          `json:"defaultVersion"`
	// LastVersion is the number of the newest version ever made.
	LastVersion int       `json:"lastVersion"`
	CreateDate  time.Time `json:"createDate"`
	UpdateDate  time.Time `json:"updateDate"`
	// Attachments and Boundaries count the principals that have the policy
	// attached or as their permissions boundary. Attaching writes both
	// records, so a policy in use cannot be deleted meanwhile.
	Attachments int  `json:"attachments,omitempty"`
	Boundaries  int  `json:"boundaries,omitempty"`
	Tags        Tags `json:"tags,omitzero"`
}

// PolicyVersion is one document of a managed policy.
type PolicyVersion struct {
	// ID is "v" and a number.
	ID         string    `json:"id"`
	Document   string    `json:"document"`
	CreateDate time.Time `json:"createDate"`
}

// Document of the default version.
func (p *Policy) Document() string {
	for i := range p.Versions {
		if p.Versions[i].ID == p.DefaultVersion {
			return p.Versions[i].Document
		}
	}
	return ""
}

// AccessKey is a user's long-term key. Key: account, no region, access key id.
type AccessKey struct {
	ID string `json:"id"`
	// Secret verifies signatures and is therefore kept as it is.
	Secret string `json:"secret"`
	// User is the record id of the owner; UserName its name.
	User     string `json:"user"`
	UserName string `json:"userName"`
	// Status is Active or Inactive.
	Status     string    `json:"status"`
	CreateDate time.Time `json:"createDate"`
}

// IAMLastUsed tells when an access key or a role last signed a request. Key:
// account, no region, the access key's or role's unique id. Written by the
// authenticator, not by IAM.
type IAMLastUsed struct {
	Time    time.Time `json:"time"`
	Service string    `json:"service,omitempty"`
	Region  string    `json:"region,omitempty"`
}

// AccountAlias is the account's one alias. Key: account, no region, "alias".
// The record "alias/<name>" under no account reserves the name.
type AccountAlias struct {
	Alias   string `json:"alias"`
	Account string `json:"account"`
}

// ServiceLinkedRoleDeletion is a deletion task. Key: account, no region, the
// task's id.
type ServiceLinkedRoleDeletion struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// Session is what temporary credentials stand for. It travels sealed inside
// the session token; no record is kept.
type Session struct {
	AccessKeyID string    `json:"k"`
	Secret      string    `json:"s"`
	Account     string    `json:"a"`
	Issued      time.Time `json:"i"`
	Expires     time.Time `json:"e"`
	// ARN of the session: an assumed role's, or the user's that
	// GetSessionToken was called by, or the account's root.
	ARN string `json:"n"`
	// UserID is AROA…:name for a role, AIDA… for a user, the account for root.
	UserID string `json:"u"`
	// Role is the record id of the assumed role, RoleID its unique id, by
	// which a role that was deleted and made again is told apart.
	Role   string `json:"r,omitempty"`
	RoleID string `json:"ri,omitempty"`
	// User is the record id of the user of a GetSessionToken or
	// GetFederationToken session.
	User string `json:"us,omitempty"`
	// Federated is the name of a GetFederationToken session.
	Federated string `json:"f,omitempty"`
	Root      bool   `json:"rt,omitempty"`
	// Policy and PolicyARNs are the session policies; where there is one, the
	// session may do no more than they allow.
	Policy     string   `json:"p,omitempty"`
	PolicyARNs []string `json:"pa,omitempty"`
	Tags       Tags     `json:"t,omitempty"`
	// TransitiveTags are the keys of Tags that a further session inherits.
	TransitiveTags []string `json:"tt,omitempty"`
	SourceIdentity string   `json:"si,omitempty"`
	// MFA: a code of an MFA device was given for the session.
	MFA bool `json:"m,omitempty"`
	// Provider is the ARN of the identity provider whose token the session was
	// made for, or empty.
	Provider string `json:"fp,omitempty"`
	// Chained: the session was itself assumed from a role's session.
	Chained bool `json:"c,omitempty"`
}

// NewRoleSession is a session of a role, without credentials yet.
func NewRoleSession(role *Role, name string) Session {
	account, _, _, _ := IAMNameOf(role.ARN, "role")
	return Session{
		Account: account,
		ARN:     AssumedRoleARN(account, role.Name, name),
		UserID:  role.ID + ":" + name,
		Role:    strings.ToLower(role.Name),
		RoleID:  role.ID,
	}
}

// TokenKey seals session tokens. Key: no account, no region, its id.
type TokenKey struct {
	ID      string    `json:"id"`
	Key     []byte    `json:"key"`
	Created time.Time `json:"created"`
}

// MakeAccessKeyID writes an access key id the way AWS does: the prefix, then
// 80 bits in base32, of which 40 are the account, so that the account can be
// read from the id alone. The lower 39 bits of random make it unique.
func MakeAccessKeyID(prefix, account string, random uint64) (string, error) {
	n, err := strconv.ParseUint(account, 10, 64)
	if err != nil || n >= 1e12 {
		return "", fmt.Errorf("account %q is not twelve digits", account)
	}
	var b [12]byte
	// One set bit, the account, and the first seven of the random bits.
	binary.BigEndian.PutUint64(b[:], 1<<63|n<<23|(random>>32&0x7f)<<16)
	copy(b[6:], binary.BigEndian.AppendUint32(nil, uint32(random)))
	return prefix + base32.StdEncoding.EncodeToString(b[:10]), nil
}

// AccountOfAccessKeyID reads the account from an access key id that
// MakeAccessKeyID wrote; false where the id has another form.
func AccountOfAccessKeyID(id string) (string, bool) {
	if len(id) != 20 {
		return "", false
	}
	b, err := base32.StdEncoding.DecodeString(id[4:])
	if err != nil {
		return "", false
	}
	n := binary.BigEndian.Uint64(b) >> 23 & (1<<40 - 1)
	if n >= 1e12 {
		return "", false
	}
	return fmt.Sprintf("%012d", n), true
}

// RoleARN names a role; path begins and ends with a slash.
func RoleARN(account, path, name string) string {
	return "arn:aws:iam::" + account + ":role" + path + name
}

// AssumedRoleARN names a session of a role; it leaves out the role's path.
func AssumedRoleARN(account, role, session string) string {
	return "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + session
}

// IAMNameOf takes the name and path from an IAM ARN's resource of the given
// type, "role/path/name" with type "role".
func IAMNameOf(arn, typ string) (account, path, name string, ok bool) {
	a, err := ParseARN(arn)
	if err != nil || a.Service != "iam" {
		return "", "", "", false
	}
	rest, ok := strings.CutPrefix(a.Resource, typ+"/")
	if !ok || rest == "" {
		return "", "", "", false
	}
	i := strings.LastIndexByte(rest, '/')
	return a.Account, "/" + rest[:i+1], rest[i+1:], rest[i+1:] != ""
}
