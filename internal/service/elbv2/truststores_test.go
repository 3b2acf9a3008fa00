package elbv2

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/objects"
	"roadstead.dev/internal/objects/objectstest"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// kept has texts in memory.
type kept struct {
	texts map[string]string
	next  int
}

func (k *kept) Put(text []byte) (string, error) {
	k.next++
	name := fmt.Sprint("content-", k.next)
	k.texts[name] = string(text)
	return name, nil
}

func (k *kept) Remove(names ...string) {
	for _, n := range names {
		delete(k.texts, n)
	}
}

func (k *kept) URL(origin, name string, expires time.Time) string {
	return fmt.Sprint(origin, "/", name, "/", expires.Unix())
}

// authority is an authority's certificate, and a list of certificates that it
// revokes.
func authority(t *testing.T, revoked ...int64) (cert, list string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Unix(2000000000, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Unix(1, 0), NextUpdate: time.Unix(2000000000, 0)}
	for _, n := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Unix(1, 0)})
	}
	crl, err := x509.CreateRevocationList(rand.Reader, l, c, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl}))
}

// vault is a world with S3 and contents.
type vault struct {
	*world
	s3   *objectstest.Memory
	kept *kept
}

func newVault(t *testing.T) *vault {
	v := &vault{world: newWorld(t), s3: &objectstest.Memory{}, kept: &kept{texts: map[string]string{}}}
	v.s.Objects, v.s.Contents = v.s3, v.kept
	v.s3.MakeBucket("trust", account, region)
	cert, list := authority(t, 7, 8)
	other, _ := authority(t)
	v.set("ca.pem", cert)
	v.set("two.pem", cert+other)
	v.set("bad.pem", "no certificate")
	v.set("ca.crl", list)
	v.set("large.pem", strings.Repeat("#\n", 1<<20))
	v.s3.Set(objects.Location{Bucket: "trust", Key: "ca.pem", Version: "v1"}, other+other+other)
	v.s3.Deny = func(_ objects.Principal, _ string, at objects.Location) bool {
		return strings.HasPrefix(at.Key, "secret")
	}
	return v
}

func (v *vault) set(key, text string) { v.s3.Set(objects.Location{Bucket: "trust", Key: key}, text) }

func (v *vault) create(name, key string, version ...string) (elbv2.TrustStore, error) {
	in := &elbv2.CreateTrustStoreInput{Name: &name, CaCertificatesBundleS3Bucket: new("trust"), CaCertificatesBundleS3Key: &key}
	if len(version) > 0 {
		in.CaCertificatesBundleS3ObjectVersion = &version[0]
	}
	out, err := v.s.CreateTrustStore(v.ctx, in)
	if err != nil {
		return elbv2.TrustStore{}, err
	}
	return out.TrustStores[0], nil
}

func TestTrustStores(t *testing.T) {
	v := newVault(t)
	for _, c := range []struct{ name, key, version, code string }{
		{"a", "none.pem", "", "CaCertificatesBundleNotFound"},
		{"a", "ca.pem", "v2", "CaCertificatesBundleNotFound"},
		{"a", "bad.pem", "", "InvalidCaCertificatesBundle"},
		{"a", "ca.crl", "", "InvalidCaCertificatesBundle"},
		{"a", "large.pem", "", "InvalidCaCertificatesBundle"},
		{"a", "secret.pem", "", "AccessDenied"},
	} {
		version := []string{c.version}
		if c.version == "" {
			version = nil
		}
		_, err := v.create(c.name, c.key, version...)
		refused(t, err, c.code, "")
	}
	_, err := v.s.CreateTrustStore(v.ctx, &elbv2.CreateTrustStoreInput{Name: new("a"), CaCertificatesBundleS3Bucket: new("none"), CaCertificatesBundleS3Key: new("ca.pem")})
	refused(t, err, "CaCertificatesBundleNotFound", "")
	a := must(v.create("a", "two.pem"))(v.world)
	id := model.TrustStoreID(*a.TrustStoreArn)
	if want := model.MakeARN("elasticloadbalancing", region, account, "truststore/a/"+id); *a.TrustStoreArn != want || len(id) != 16 {
		t.Errorf("ARN %s", *a.TrustStoreArn)
	}
	want := elbv2.TrustStore{Name: new("a"), TrustStoreArn: a.TrustStoreArn, Status: "ACTIVE", NumberOfCaCertificates: new(int32(2)), TotalRevokedEntries: new(int64(0))}
	if d := cmp.Diff(want, a); d != "" {
		t.Error(d)
	}
	_, err = v.create("a", "ca.pem")
	refused(t, err, "DuplicateTrustStoreName", "")
	b := must(v.create("b", "ca.pem", "v1"))(v.world)
	if *b.NumberOfCaCertificates != 3 {
		t.Errorf("%+v", b)
	}
	_, err = v.s.CreateTrustStore(v.ctx, &elbv2.CreateTrustStoreInput{Name: new("c"), CaCertificatesBundleS3Bucket: new("trust"), CaCertificatesBundleS3Key: new("ca.pem"), Tags: []elbv2.Tag{{Key: new("aws:x")}}})
	refused(t, err, "ValidationError", "aws:")

	describe := func(in *elbv2.DescribeTrustStoresInput) (names string) {
		for {
			out := must(v.s.DescribeTrustStores(v.ctx, in))(v.world)
			for _, s := range out.TrustStores {
				names += *s.Name
			}
			if in.Marker = out.NextMarker; in.Marker == nil {
				return names
			}
		}
	}
	if got := describe(&elbv2.DescribeTrustStoresInput{PageSize: new(int32(1))}); got != "ab" && got != "ba" {
		t.Error(got)
	}
	if got := describe(&elbv2.DescribeTrustStoresInput{Names: []string{"b", "a"}}) + describe(&elbv2.DescribeTrustStoresInput{TrustStoreArns: []string{*b.TrustStoreArn}}); got != "bab" {
		t.Error(got)
	}
	for _, in := range []*elbv2.DescribeTrustStoresInput{{Names: []string{"x"}}, {TrustStoreArns: []string{*b.TrustStoreArn + "0"}}} {
		_, err := v.s.DescribeTrustStores(v.ctx, in)
		refused(t, err, "TrustStoreNotFound", "")
	}
	for _, in := range []*elbv2.DescribeTrustStoresInput{{TrustStoreArns: []string{"x"}}, {Names: []string{"a"}, TrustStoreArns: []string{*a.TrustStoreArn}}} {
		_, err := v.s.DescribeTrustStores(v.ctx, in)
		refused(t, err, "ValidationError", "")
	}

	// What does not work leaves the trust store alone.
	modify := func(key string) (*elbv2.ModifyTrustStoreOutput, error) {
		return v.s.ModifyTrustStore(v.ctx, &elbv2.ModifyTrustStoreInput{TrustStoreArn: a.TrustStoreArn, CaCertificatesBundleS3Bucket: new("trust"), CaCertificatesBundleS3Key: &key})
	}
	_, err = modify("bad.pem")
	refused(t, err, "InvalidCaCertificatesBundle", "")
	_, err = modify("none.pem")
	refused(t, err, "CaCertificatesBundleNotFound", "")
	if got := must(modify("ca.pem"))(v.world).TrustStores[0]; *got.NumberOfCaCertificates != 1 {
		t.Errorf("%+v", got)
	}
	location := *must(v.s.GetTrustStoreCaCertificatesBundle(v.ctx, &elbv2.GetTrustStoreCaCertificatesBundleInput{TrustStoreArn: a.TrustStoreArn}))(v.world).Location
	if !strings.HasPrefix(location, "http:///content-") || !strings.HasSuffix(location, fmt.Sprint("/", 1700000000+3600)) {
		t.Error(location)
	}
	must(v.s.AddTags(v.ctx, &elbv2.AddTagsInput{ResourceArns: []string{*a.TrustStoreArn}, Tags: []elbv2.Tag{{Key: new("k"), Value: new("v")}}}))(v.world)
	if tags := must(v.s.DescribeTags(v.ctx, &elbv2.DescribeTagsInput{ResourceArns: []string{*a.TrustStoreArn}}))(v.world).TagDescriptions[0].Tags; len(tags) != 1 || *tags[0].Value != "v" {
		t.Errorf("tags %+v", tags)
	}
	for _, s := range []elbv2.TrustStore{a, b} {
		must(v.s.DeleteTrustStore(v.ctx, &elbv2.DeleteTrustStoreInput{TrustStoreArn: s.TrustStoreArn}))(v.world)
	}
	_, err = v.s.DeleteTrustStore(v.ctx, &elbv2.DeleteTrustStoreInput{TrustStoreArn: a.TrustStoreArn})
	refused(t, err, "TrustStoreNotFound", *a.TrustStoreArn)
	if len(v.kept.texts) != 0 {
		t.Errorf("left: %v", v.kept.texts)
	}
	for i := range maxTrustStores {
		must(v.create(fmt.Sprint("s", i), "ca.pem"))(v.world)
	}
	_, err = v.create("more", "ca.pem")
	refused(t, err, "TooManyTrustStores", "")
}

func TestTrustStoreRevocations(t *testing.T) {
	v := newVault(t)
	arn := must(v.create("a", "ca.pem"))(v.world).TrustStoreArn
	add := func(keys ...string) ([]elbv2.TrustStoreRevocation, error) {
		in := &elbv2.AddTrustStoreRevocationsInput{TrustStoreArn: arn}
		for _, k := range keys {
			in.RevocationContents = append(in.RevocationContents, elbv2.RevocationContent{S3Bucket: new("trust"), S3Key: &k})
		}
		out, err := v.s.AddTrustStoreRevocations(v.ctx, in)
		if err != nil {
			return nil, err
		}
		return out.TrustStoreRevocations, nil
	}
	before := len(v.kept.texts)
	for key, code := range map[string]string{"none.crl": "RevocationContentNotFound", "ca.pem": "InvalidRevocationContent", "secret.crl": "AccessDenied", "": "ValidationError"} {
		_, err := add("ca.crl", key)
		refused(t, err, code, "")
	}
	_, err := add()
	refused(t, err, "ValidationError", "")
	if len(v.kept.texts) != before {
		t.Errorf("kept of what was refused: %v", v.kept.texts)
	}
	got := must(add("ca.crl", "ca.crl"))(v.world)
	want := []elbv2.TrustStoreRevocation{
		{TrustStoreArn: arn, RevocationId: new(int64(1)), RevocationType: "CRL", NumberOfRevokedEntries: new(int64(2))},
		{TrustStoreArn: arn, RevocationId: new(int64(2)), RevocationType: "CRL", NumberOfRevokedEntries: new(int64(2))},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if s := must(v.s.DescribeTrustStores(v.ctx, &elbv2.DescribeTrustStoresInput{}))(v.world).TrustStores[0]; *s.TotalRevokedEntries != 4 {
		t.Errorf("%+v", s)
	}
	remove := func(ids ...int64) error {
		_, err := v.s.RemoveTrustStoreRevocations(v.ctx, &elbv2.RemoveTrustStoreRevocationsInput{TrustStoreArn: arn, RevocationIds: ids})
		return err
	}
	refused(t, remove(2, 3), "RevocationIdNotFound", "'3'")
	if err := remove(2, 2); err != nil {
		t.Error(err)
	}
	// An id is not used again.
	if got := must(add("ca.crl"))(v.world); *got[0].RevocationId != 3 {
		t.Errorf("%+v", got)
	}
	list := func(in *elbv2.DescribeTrustStoreRevocationsInput) (ids []int64) {
		in.TrustStoreArn = arn
		for {
			out := must(v.s.DescribeTrustStoreRevocations(v.ctx, in))(v.world)
			for _, r := range out.TrustStoreRevocations {
				ids = append(ids, *r.RevocationId)
			}
			if in.Marker = out.NextMarker; in.Marker == nil {
				return ids
			}
		}
	}
	if d := cmp.Diff([]int64{1, 3}, list(&elbv2.DescribeTrustStoreRevocationsInput{PageSize: new(int32(1))})); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]int64{3}, list(&elbv2.DescribeTrustStoreRevocationsInput{RevocationIds: []int64{3}})); d != "" {
		t.Error(d)
	}
	_, err = v.s.DescribeTrustStoreRevocations(v.ctx, &elbv2.DescribeTrustStoreRevocationsInput{TrustStoreArn: arn, RevocationIds: []int64{2}})
	refused(t, err, "RevocationIdNotFound", "")
	if l := must(v.s.GetTrustStoreRevocationContent(v.ctx, &elbv2.GetTrustStoreRevocationContentInput{TrustStoreArn: arn, RevocationId: new(int64(3))}))(v.world).Location; !strings.Contains(*l, "content-") {
		t.Error(*l)
	}
	_, err = v.s.GetTrustStoreRevocationContent(v.ctx, &elbv2.GetTrustStoreRevocationContentInput{TrustStoreArn: arn, RevocationId: new(int64(2))})
	refused(t, err, "RevocationIdNotFound", "")
	for range 28 {
		must(add("ca.crl"))(v.world)
	}
	_, err = add("ca.crl")
	refused(t, err, "TooManyTrustStoreRevocationEntries", "30")
	// The quota of entries.
	row := must(v.s.trustStore(v.ctx, *arn))(v.world)
	many := row.Copy()
	many.Revocations = []model.TrustStoreRevocation{{ID: 1, Content: many.Revocations[0].Content, Entries: 499_999}}
	v.put(func(tx *store.Txn) { tables.TrustStores.Replace(tx, row, many) })
	_, err = add("ca.crl")
	refused(t, err, "TooManyTrustStoreRevocationEntries", "500000")
	must(v.s.DeleteTrustStore(v.ctx, &elbv2.DeleteTrustStoreInput{TrustStoreArn: arn}))(v.world)
}

func TestMutualListeners(t *testing.T) {
	v := newVault(t)
	lb, group := v.loadBalancer("lb"), v.group("g")
	certificate := v.certificate("a")
	trust := must(v.create("a", "ca.pem"))(v.world).TrustStoreArn
	create := func(port int32, auth *elbv2.MutualAuthenticationAttributes) (*elbv2.Listener, error) {
		out, err := v.s.CreateListener(v.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: &lb, Port: &port, Protocol: "HTTPS", DefaultActions: forward(group), Certificates: named(certificate), MutualAuthentication: auth})
		if err != nil {
			return nil, err
		}
		return &out.Listeners[0], nil
	}
	for text, auth := range map[string]*elbv2.MutualAuthenticationAttributes{
		"must be one of":              {Mode: new("on")},
		"must be specified when":      {Mode: new("verify")},
		"can only be specified when":  {Mode: new("passthrough"), TrustStoreArn: trust},
		"can only be ignored when":    {Mode: new("off"), IgnoreClientCertificateExpiry: new(true)},
		"can only be advertised when": {Mode: new("passthrough"), AdvertiseTrustStoreCaNames: "on"},
		"is not a valid trust store":  {Mode: new("verify"), TrustStoreArn: new("x")},
		"association status":          {Mode: new("verify"), TrustStoreArn: trust, TrustStoreAssociationStatus: "active"},
	} {
		_, err := create(443, auth)
		refused(t, err, "ValidationError", text)
	}
	_, err := create(443, &elbv2.MutualAuthenticationAttributes{Mode: new("verify"), TrustStoreArn: new(*trust + "0")})
	refused(t, err, "TrustStoreNotFound", "")
	_, err = v.s.CreateListener(v.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: &lb, Port: new(int32(80)), Protocol: "HTTP", DefaultActions: forward(group), MutualAuthentication: &elbv2.MutualAuthenticationAttributes{Mode: new("verify"), TrustStoreArn: trust}})
	refused(t, err, "ValidationError", "Mutual authentication cannot be specified for HTTP listeners")

	verify := &elbv2.MutualAuthenticationAttributes{Mode: new("verify"), TrustStoreArn: trust}
	l := must(create(443, verify))(v.world)
	shown := &elbv2.MutualAuthenticationAttributes{Mode: new("verify"), TrustStoreArn: trust, IgnoreClientCertificateExpiry: new(false), AdvertiseTrustStoreCaNames: "off"}
	if d := cmp.Diff(shown, l.MutualAuthentication); d != "" {
		t.Error(d)
	}
	if again, err := create(443, verify); err != nil || *again.ListenerArn != *l.ListenerArn {
		t.Errorf("the same listener again: %v, %v", again, err)
	}
	_, err = create(443, nil)
	refused(t, err, "DuplicateListener", "")
	second := must(create(444, verify))(v.world)
	_, err = create(445, verify)
	refused(t, err, "TooManyListeners", "")
	through := must(create(445, &elbv2.MutualAuthenticationAttributes{Mode: new("passthrough")}))(v.world)
	if d := cmp.Diff(&elbv2.MutualAuthenticationAttributes{Mode: new("passthrough")}, through.MutualAuthentication); d != "" {
		t.Error(d)
	}
	var users []string
	in := &elbv2.DescribeTrustStoreAssociationsInput{TrustStoreArn: trust, PageSize: new(int32(1))}
	for {
		out := must(v.s.DescribeTrustStoreAssociations(v.ctx, in))(v.world)
		for _, a := range out.TrustStoreAssociations {
			users = append(users, *a.ResourceArn)
		}
		if in.Marker = out.NextMarker; in.Marker == nil {
			break
		}
	}
	if len(users) != 2 || strings.Join(users, " ") != *l.ListenerArn+" "+*second.ListenerArn && strings.Join(users, " ") != *second.ListenerArn+" "+*l.ListenerArn {
		t.Errorf("users %v", users)
	}
	_, err = v.s.DeleteSharedTrustStoreAssociation(v.ctx, &elbv2.DeleteSharedTrustStoreAssociationInput{TrustStoreArn: trust, ResourceArn: l.ListenerArn})
	refused(t, err, "DeleteAssociationSameAccount", "")
	_, err = v.s.DeleteSharedTrustStoreAssociation(v.ctx, &elbv2.DeleteSharedTrustStoreAssociationInput{TrustStoreArn: trust, ResourceArn: through.ListenerArn})
	refused(t, err, "AssociationNotFound", "")
	_, err = v.s.DeleteTrustStore(v.ctx, &elbv2.DeleteTrustStoreInput{TrustStoreArn: trust})
	refused(t, err, "TrustStoreInUse", "is currently in use by a listener")

	// What is not named stays, also when the trust store changes.
	modify := func(in elbv2.ModifyListenerInput) *elbv2.MutualAuthenticationAttributes {
		t.Helper()
		in.ListenerArn = l.ListenerArn
		return must(v.s.ModifyListener(v.ctx, &in))(v.world).Listeners[0].MutualAuthentication
	}
	if d := cmp.Diff(shown, modify(elbv2.ModifyListenerInput{Port: new(int32(8443))})); d != "" {
		t.Error(d)
	}
	got := modify(elbv2.ModifyListenerInput{MutualAuthentication: &elbv2.MutualAuthenticationAttributes{Mode: new("verify"), TrustStoreArn: trust, IgnoreClientCertificateExpiry: new(true), AdvertiseTrustStoreCaNames: "on"}})
	if !*got.IgnoreClientCertificateExpiry || got.AdvertiseTrustStoreCaNames != "on" {
		t.Errorf("%+v", got)
	}
	if got := modify(elbv2.ModifyListenerInput{MutualAuthentication: &elbv2.MutualAuthenticationAttributes{Mode: new("off")}}); *got.Mode != "off" || got.TrustStoreArn != nil {
		t.Errorf("%+v", got)
	}
	must(v.s.ModifyListener(v.ctx, &elbv2.ModifyListenerInput{ListenerArn: second.ListenerArn, Protocol: "HTTP"}))(v.world)
	must(v.s.DeleteTrustStore(v.ctx, &elbv2.DeleteTrustStoreInput{TrustStoreArn: trust}))(v.world)
}

// A listener that starts to use a trust store and the trust store's deletion
// cannot both succeed.
func TestTrustStoreUseAndDeletionConflict(t *testing.T) {
	v := newVault(t)
	lb, group := v.loadBalancer("lb"), v.group("g")
	certificate := v.certificate("a")
	for i := range 20 {
		trust := must(v.create(fmt.Sprint("t", i), "ca.pem"))(v.world).TrustStoreArn
		l := must(v.s.CreateListener(v.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: &lb, Port: new(int32(443)), Protocol: "HTTPS", DefaultActions: forward(group), Certificates: named(certificate)}))(v.world).Listeners[0]
		done := make(chan error, 1)
		go func() {
			_, err := v.s.DeleteTrustStore(v.ctx, &elbv2.DeleteTrustStoreInput{TrustStoreArn: trust})
			done <- err
		}()
		_, used := v.s.ModifyListener(v.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, MutualAuthentication: &elbv2.MutualAuthenticationAttributes{Mode: new("verify"), TrustStoreArn: trust}})
		deleted := <-done
		switch {
		case used == nil:
			refused(t, deleted, "TrustStoreInUse", "")
		case deleted == nil:
			refused(t, used, "TrustStoreNotFound", "")
		default:
			t.Errorf("neither succeeded: %v, %v", used, deleted)
		}
		must(v.s.DeleteListener(v.ctx, &elbv2.DeleteListenerInput{ListenerArn: l.ListenerArn}))(v.world)
		if used == nil {
			must(v.s.DeleteTrustStore(v.ctx, &elbv2.DeleteTrustStoreInput{TrustStoreArn: trust}))(v.world)
		}
	}
}

func TestDeniedObjects(t *testing.T) {
	v := newVault(t)
	c := *api.CallFrom(v.ctx)
	c.Identity.ARN = "arn:aws:iam::" + account + ":user/u"
	ctx := api.WithCall(t.Context(), &c)
	err := denied(ctx, fmt.Errorf("%w: %w", objects.ErrDenied, &model.Denied{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Reason: "because no identity-based policy allows the s3:GetObject action"}))
	refused(t, err, "AccessDenied", "User: arn:aws:iam::"+account+":user/u is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k because no identity-based policy")
	if other := errors.New("disk"); !errors.Is(denied(ctx, other), other) {
		t.Error("another error is changed")
	}
}
