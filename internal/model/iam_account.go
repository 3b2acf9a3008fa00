package model

import "time"

// Prefixes of more of IAM's unique ids.
const (
	IAMServerCertificatePrefix = "ASCA"
	IAMPublicKeyPrefix         = "APKA"
)

// PasswordPolicy is what an account asks of its users' passwords. Key:
// account, no region, "policy".
type PasswordPolicy struct {
	MinimumLength int  `json:"minimumLength"`
	Symbols       bool `json:"symbols,omitempty"`
	Numbers       bool `json:"numbers,omitempty"`
	Uppercase     bool `json:"uppercase,omitempty"`
	Lowercase     bool `json:"lowercase,omitempty"`
	// AllowChange lets every user change its own password.
	AllowChange bool `json:"allowChange,omitempty"`
	// MaxAge in days; 0 where passwords do not expire.
	MaxAge int `json:"maxAge,omitempty"`
	// ReusePrevention is how many of a user's passwords may not come again.
	ReusePrevention int   `json:"reusePrevention,omitempty"`
	HardExpiry      *bool `json:"hardExpiry,omitempty"`
}

// ServerCertificate is an X.509 certificate with its key. Key: account, no
// region, lower-case name.
type ServerCertificate struct {
	Name string `json:"name"`
	Path string `json:"path"`
	ID   string `json:"id"`
	ARN  string `json:"arn"`
	// Body and Chain in PEM, as they were uploaded; Chain may be empty.
	Body  string `json:"body"`
	Chain string `json:"chain,omitempty"`
	// Key is the private key in PEM, encrypted by the server's key for the
	// certificate's ID.
	Key        string    `json:"key"`
	UploadDate time.Time `json:"uploadDate"`
	Expiration time.Time `json:"expiration"`
	Tags       Tags      `json:"tags,omitzero"`
}

// SSHPublicKey is a user's key for Git over SSH.
type SSHPublicKey struct {
	ID string `json:"id"`
	// Key is in the form of authorized_keys, without a comment.
	Key         string    `json:"key"`
	Fingerprint string    `json:"fingerprint"`
	Status      string    `json:"status"`
	UploadDate  time.Time `json:"uploadDate"`
}

// SAMLProvider is a SAML identity provider. Key: account, no region, the name.
type SAMLProvider struct {
	Name       string    `json:"name"`
	ARN        string    `json:"arn"`
	UUID       string    `json:"uuid"`
	Metadata   string    `json:"metadata"`
	CreateDate time.Time `json:"createDate"`
	ValidUntil time.Time `json:"validUntil"`
	Tags       Tags      `json:"tags,omitzero"`
}
