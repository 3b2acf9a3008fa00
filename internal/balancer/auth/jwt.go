package auth

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"

	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/model"
)

// JWT lets those pass who show a JSON web token in their Authorization header.
type JWT struct {
	Issuer, Endpoint string
	Claims           []model.JWTClaim

	client *Client
}

var _ l7.Guard = (*JWT)(nil)

// NewJWT completes j.
func NewJWT(j JWT, client *Client) *JWT {
	j.client = client
	return &j
}

const actionValidate = "jwt-validation"

// Check lets a request pass whose token is valid, with its token as it is.
func (j *JWT) Check(ctx context.Context, v *l7.Visit) l7.Verdict {
	if status, reason := j.check(ctx, v); status != 0 {
		return l7.Verdict{Action: actionValidate, Status: status, Reason: reason}
	}
	return l7.Verdict{Action: actionValidate}
}

// Reasons why a token is refused.
const (
	jwtNoHeader  = "JWTHeaderNotPresent"
	jwtFormat    = "JWTRequestFormatInvalid"
	jwtSignature = "JWTSignatureValidationFailed"
	jwtNoClaim   = "JWTClaimNotPresent"
	jwtClaimType = "JWTClaimFormatInvalid"
	jwtClaim     = "JWTClaimValueInvalid"
	jwksFailed   = "JWKSRequestFailed"
	jwksTimeout  = "JWKSRequestTimeout"
	jwksSize     = "JWKSResponseSizeExceeded"
	jwksInvalid  = "JWKSResponseInvalid"
)

func (j *JWT) check(ctx context.Context, v *l7.Visit) (status int, reason string) {
	const refused = http.StatusUnauthorized
	header, ok := v.Field("authorization")
	if header == "" {
		return refused, jwtNoHeader
	}
	scheme, raw, found := strings.Cut(header, " ")
	if !ok || !found || !strings.EqualFold(scheme, "Bearer") {
		return refused, jwtFormat
	}
	t, err := parseToken(strings.TrimSpace(raw))
	if err != nil || t.header.text("alg") != "RS256" || t.header["crit"] != nil {
		return refused, jwtFormat
	}
	// The issuer is looked at first, so that nobody else's tokens make the load
	// balancer ask for keys.
	if t.claims.text("iss") != j.Issuer {
		if t.claims["iss"] == nil {
			return refused, jwtNoClaim
		}
		return refused, jwtClaim
	}
	keys, reason := j.client.keysOf(ctx, j.Endpoint, t.header.text("kid"))
	if reason != "" {
		return http.StatusInternalServerError, reason
	}
	sum := sha256.Sum256([]byte(t.signed))
	if !slices.ContainsFunc(keys, func(k *rsa.PublicKey) bool {
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], t.signature) == nil
	}) {
		return refused, jwtSignature
	}
	if reason := j.checkTimes(t.claims); reason != "" {
		return refused, reason
	}
	for _, want := range j.Claims {
		if reason := checkClaim(t.claims, want); reason != "" {
			return refused, reason
		}
	}
	return 0, ""
}

func (j *JWT) checkTimes(c claims) string {
	now := j.client.cfg.Now()
	for _, name := range []string{"exp", "nbf", "iat"} {
		at, there, err := c.time(name)
		switch {
		case err != nil:
			return jwtClaimType
		case !there && name == "exp":
			return jwtNoClaim
		case !there:
		case name == "exp" && !now.Before(at), name != "exp" && now.Before(at):
			return jwtClaim
		}
	}
	return ""
}

// checkClaim compares a claim with what an action asks for: each of the values.
func checkClaim(c claims, want model.JWTClaim) string {
	v, there := c[want.Name]
	if !there {
		return jwtNoClaim
	}
	var got []string
	switch want.Format {
	case model.JWTClaimArray:
		list, ok := v.([]any)
		if !ok {
			return jwtClaimType
		}
		for _, x := range list {
			s, ok := x.(string)
			if !ok {
				return jwtClaimType
			}
			got = append(got, s)
		}
	default:
		s, ok := v.(string)
		if !ok {
			return jwtClaimType
		}
		got = []string{s}
		if want.Format == model.JWTClaimSpaces {
			got = strings.Fields(s)
		}
	}
	for _, w := range want.Values {
		if !slices.Contains(got, w) {
			return jwtClaim
		}
	}
	return ""
}
