package sts_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/sts"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func TestMFA(t *testing.T) {
	b := newBench(t, false)
	ctx := b.asUser(t, mayAssume)
	serial := "arn:aws:iam::" + account + ":mfa/phone"
	seed := []byte("12345678901234567890")
	tx := store.NewTxn()
	u := &model.User{MFADevices: []string{"phone"}}
	u.IAMPrincipal = model.IAMPrincipal{
		Name: "bob", Path: "/", ID: "AIDABOB", ARN: "arn:aws:iam::" + account + ":user/bob",
		Policies: map[string]string{"p": doc(mayAssume)},
	}
	tables.Users.Put(tx, account, "", "bob", u)
	tables.MFADevices.Put(tx, account, "", "phone", &model.MFADevice{Serial: serial, Seed: seed, User: "bob"})
	if _, err := tx.Commit(t.Context(), b.store); err != nil {
		t.Fatal(err)
	}
	role := b.addRole(t, account, "web", trustAccount+`,"Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`)
	assume := func(ctx context.Context, code string) (*sts.AssumeRoleOutput, error) {
		in := &sts.AssumeRoleInput{RoleArn: &role.ARN, RoleSessionName: new("me")}
		if code != "" {
			in.SerialNumber, in.TokenCode = &serial, &code
		}
		return b.AssumeRole(ctx, in)
	}
	wants := func(err error, code, message string) {
		t.Helper()
		if api.Code(err) != code || !strings.Contains(err.Error(), message) {
			t.Errorf("%v, want %s: %s", err, code, message)
		}
	}
	_, err := assume(ctx, "")
	wants(err, "AccessDenied", "is not authorized to perform: sts:AssumeRole")
	_, err = assume(ctx, "000000")
	wants(err, "AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.")
	_, err = b.GetSessionToken(ctx, &sts.GetSessionTokenInput{SerialNumber: &serial})
	wants(err, "AccessDenied", "must provide both MFA serial number and one time pass code")
	_, err = b.GetSessionToken(ctx, &sts.GetSessionTokenInput{SerialNumber: new(serial + "x"), TokenCode: new("000000")})
	wants(err, "AccessDenied", "unable to validate MFA code")

	step := model.MFAStep(time.Now())
	first := model.MFACode(seed, step)
	if _, err := assume(ctx, first); err != nil {
		t.Fatal(err)
	}
	_, err = assume(ctx, first)
	wants(err, "AccessDenied", "invalid MFA one time pass code")
	// A session that was made with a code needs none to assume the role.
	session, err := b.GetSessionToken(ctx, &sts.GetSessionTokenInput{SerialNumber: &serial, TokenCode: new(model.MFACode(seed, step+1))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := assume(b.asSession(t, session.Credentials), ""); err != nil {
		t.Error(err)
	}
	plain, err := b.GetSessionToken(ctx, &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = assume(b.asSession(t, plain.Credentials), "")
	wants(err, "AccessDenied", "is not authorized to perform: sts:AssumeRole")
}

func TestDecodeAuthorizationMessage(t *testing.T) {
	b := newBench(t, false)
	ctx := b.asUser(t, "")
	err := b.directory.Authorize(ctx, api.CallFrom(ctx), "ec2:RunInstances", []string{"*"}, nil)
	denied := err.(*model.Denied) //nolint:errorlint,forcetypeassert // it is the plain error
	out, err := b.DecodeAuthorizationMessage(ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: &denied.Encoded})
	if err != nil || !json.Valid([]byte(*out.DecodedMessage)) || !strings.Contains(*out.DecodedMessage, `"action":"ec2:RunInstances"`) {
		t.Errorf("%v %v", out, err)
	}
	_, err = b.DecodeAuthorizationMessage(ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: new("x")})
	if api.Code(err) != "InvalidAuthorizationMessageException" {
		t.Error(err)
	}
}

// issuer is an identity provider that serves its keys over TLS.
type issuer struct {
	*httptest.Server
	key    *rsa.PrivateKey
	served int
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	mux := http.NewServeMux()
	i.Server = httptest.NewTLSServer(mux)
	t.Cleanup(i.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.served++
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	})
	return i
}

func (i *issuer) thumbprint() string {
	sum := sha1.Sum(i.Certificate().Raw)
	return hex.EncodeToString(sum[:])
}

func (i *issuer) token(t *testing.T, key *rsa.PrivateKey, change func(*jwt.Claims)) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := jwt.Claims{
		Issuer: i.URL, Subject: "system:serviceaccount:default:web", Audience: jwt.Audience{"sts.amazonaws.com"},
		Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}
	if change != nil {
		change(&c)
	}
	text, err := jwt.Signed(signer).Claims(c).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAssumeRoleWithWebIdentity(t *testing.T) {
	b := newBench(t, false)
	i, stranger := newIssuer(t), newIssuer(t)
	host := strings.TrimPrefix(i.URL, "https://")
	provider := &model.OIDCProvider{
		URL: host, ARN: "arn:aws:iam::" + account + ":oidc-provider/" + host, ClientIDs: []string{"sts.amazonaws.com"},
		Thumbprints: []string{strings.ToUpper(i.thumbprint())},
	}
	strangerHost := strings.TrimPrefix(stranger.URL, "https://")
	tx := store.NewTxn()
	tables.OIDCProviders.Put(tx, account, "", host, provider)
	tables.OIDCProviders.Put(tx, account, "", strangerHost, &model.OIDCProvider{
		URL: strangerHost, ARN: "arn:aws:iam::" + account + ":oidc-provider/" + strangerHost, ClientIDs: []string{"sts.amazonaws.com"},
		Thumbprints: []string{strings.Repeat("0", 40)},
	})
	if _, err := tx.Commit(t.Context(), b.store); err != nil {
		t.Fatal(err)
	}
	role := b.addRole(t, account, "web", `"Effect":"Allow","Principal":{"Federated":"`+provider.ARN+`"},"Action":"sts:AssumeRoleWithWebIdentity",`+
		`"Condition":{"StringEquals":{"`+host+`:aud":"sts.amazonaws.com"},"StringLike":{"`+host+`:sub":"system:serviceaccount:default:*"}}`)
	unsigned := as(t, account, api.Identity{Unsigned: true})
	assume := func(token string) (*sts.AssumeRoleWithWebIdentityOutput, error) {
		return b.AssumeRoleWithWebIdentity(unsigned, &sts.AssumeRoleWithWebIdentityInput{RoleArn: &role.ARN, RoleSessionName: new("pod"), WebIdentityToken: &token})
	}
	out, err := assume(i.token(t, i.key, nil))
	if err != nil {
		t.Fatal(err)
	}
	if *out.AssumedRoleUser.Arn != "arn:aws:sts::123456789012:assumed-role/web/pod" || *out.SubjectFromWebIdentityToken != "system:serviceaccount:default:web" || *out.Audience != "sts.amazonaws.com" {
		t.Errorf("%+v", out)
	}
	who, err := b.GetCallerIdentity(b.asSession(t, out.Credentials), &sts.GetCallerIdentityInput{})
	if err != nil || *who.Arn != *out.AssumedRoleUser.Arn {
		t.Errorf("%v %v", who, err)
	}
	if _, err := assume(i.token(t, i.key, nil)); err != nil || i.served != 1 {
		t.Errorf("the keys were fetched %d times: %v", i.served, err)
	}
	for name, c := range map[string]struct{ token, code, message string }{
		"no token":         {"xxxx", "InvalidIdentityToken", "not a valid JWT"},
		"another's key":    {i.token(t, stranger.key, nil), "InvalidIdentityToken", "Couldn't verify the token's signature"},
		"another audience": {i.token(t, i.key, func(c *jwt.Claims) { c.Audience = jwt.Audience{"x"} }), "InvalidIdentityToken", "Incorrect token audience"},
		"another issuer":   {i.token(t, i.key, func(c *jwt.Claims) { c.Issuer = "https://none.test" }), "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://none.test"},
		"expired":          {i.token(t, i.key, func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(time.Now().Add(-time.Minute)) }), "ExpiredTokenException", "Token expired: current date/time"},
		"another subject":  {i.token(t, i.key, func(c *jwt.Claims) { c.Subject = "system:serviceaccount:kube-system:web" }), "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		"no thumbprint":    {stranger.token(t, stranger.key, nil), "InvalidIdentityToken", "Couldn't retrieve verification key"},
		"no signature":     {unsignedToken(i.token(t, i.key, nil)), "InvalidIdentityToken", "not a valid JWT"},
	} {
		_, err := assume(c.token)
		if api.Code(err) != c.code || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v, want %s: %s", name, err, c.code, c.message)
		}
	}
	_, err = b.AssumeRoleWithWebIdentity(unsigned, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: new("arn:aws:iam::" + account + ":role/none"), RoleSessionName: new("pod"), WebIdentityToken: new(i.token(t, i.key, nil)),
	})
	if api.Code(err) != "AccessDenied" {
		t.Error(err)
	}
}

// unsignedToken says of a token that it needs no signature.
func unsignedToken(token string) string {
	parts := strings.Split(token, ".")
	return "eyJhbGciOiJub25lIn0." + parts[1] + "."
}
