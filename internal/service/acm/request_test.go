package acm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/model"
)

func TestRequest(t *testing.T) {
	f := newFixture(t)
	arn := f.requested(acm.RequestCertificateInput{
		DomainName: new("Example.com"), SubjectAlternativeNames: []string{"*.example.com", "example.com"}, ValidationMethod: acm.ValidationMethodDns,
		KeyAlgorithm: acm.KeyAlgorithmEcPrime256v1, Tags: []acm.Tag{{Key: new("k"), Value: new("v")}},
	})
	d := f.describe(arn)
	if d.Status != acm.CertificateStatusPendingValidation || d.Type != acm.CertificateTypeAmazonIssued || *d.DomainName != "example.com" ||
		!slices.Equal(d.SubjectAlternativeNames, []string{"example.com", "*.example.com"}) || d.KeyAlgorithm != acm.KeyAlgorithmEcPrime256v1 ||
		d.NotAfter != nil || d.Options.CertificateTransparencyLoggingPreference != "ENABLED" || d.Options.Export != "DISABLED" {
		t.Errorf("%+v", d)
	}
	v := d.DomainValidationOptions
	if len(v) != 2 || v[0].ValidationStatus != "PENDING_VALIDATION" || v[0].ResourceRecord.Type != "CNAME" || *v[0].ResourceRecord.Name != *v[1].ResourceRecord.Name ||
		!strings.HasSuffix(*v[0].ResourceRecord.Name, ".example.com.") || !strings.HasSuffix(*v[0].ResourceRecord.Value, ".acm-validations.aws.") {
		t.Errorf("%+v", v)
	}
	_, err := f.GetCertificate(f.ctx(), &acm.GetCertificateInput{CertificateArn: &arn})
	refused(t, err, "RequestInProgressException", "")
	_, err = f.RenewCertificate(f.ctx(), &acm.RenewCertificateInput{CertificateArn: &arn})
	refused(t, err, "RequestInProgressException", "")
	f.issued(arn)
	if d := f.describe(arn); d.Status != "ISSUED" || d.DomainValidationOptions[0].ValidationStatus != "SUCCESS" || d.RenewalEligibility != "INELIGIBLE" {
		t.Errorf("%+v", d)
	}
	if got, err := f.GetCertificate(f.ctx(), &acm.GetCertificateInput{CertificateArn: &arn}); err != nil || got.CertificateChain == nil {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := f.RenewCertificate(f.ctx(), &acm.RenewCertificateInput{CertificateArn: &arn}); err != nil {
		t.Fatal(err)
	}
	if d := f.describe(arn); d.RenewalSummary == nil || d.RenewalSummary.RenewalStatus != "PENDING_AUTO_RENEWAL" {
		t.Errorf("%+v", d.RenewalSummary)
	}
}

func TestEmailValidation(t *testing.T) {
	f := newFixture(t)
	arn := f.requested(acm.RequestCertificateInput{
		DomainName:              new("a.b.example.com"),
		DomainValidationOptions: []acm.DomainValidationOption{{DomainName: new("a.b.example.com"), ValidationDomain: new("example.com")}},
	})
	v := f.describe(arn).DomainValidationOptions[0]
	if v.ValidationMethod != "EMAIL" || *v.ValidationDomain != "example.com" || !slices.Contains(v.ValidationEmails, "admin@example.com") || v.ResourceRecord != nil {
		t.Errorf("%+v", v)
	}
	_, err := f.ResendValidationEmail(f.ctx(), &acm.ResendValidationEmailInput{CertificateArn: &arn, Domain: new("a.b.example.com"), ValidationDomain: new("example.com")})
	refused(t, err, "InvalidStateException", "")
}

func TestRequestRefuses(t *testing.T) {
	f := newFixture(t)
	var many []string
	for i := range maxNames {
		many = append(many, fmt.Sprintf("n%d.example.com", i))
	}
	for code, ins := range map[string][]acm.RequestCertificateInput{
		"InvalidParameterException": {
			{CertificateAuthorityArn: new("arn:aws:acm-pca:eu-west-1:111122223333:certificate-authority/x")},
			{ManagedBy: acm.CertificateManagedByCloudfront},
			{ValidationMethod: acm.ValidationMethodHttp},
			{KeyAlgorithm: acm.KeyAlgorithmRsa4096},
		},
		"LimitExceededException": {{SubjectAlternativeNames: many}},
		"InvalidTagException":    {{Tags: []acm.Tag{{Key: new("aws:x")}}}, {Tags: []acm.Tag{{Key: new("x")}, {Key: new("x")}}}},
		"InvalidDomainValidationOptionsException": {
			{DomainValidationOptions: []acm.DomainValidationOption{{DomainName: new("other.com"), ValidationDomain: new("other.com")}}},
			{DomainValidationOptions: []acm.DomainValidationOption{{DomainName: new("example.com"), ValidationDomain: new("ample.com")}}},
		},
	} {
		for _, in := range ins {
			in.DomainName = new("example.com")
			_, err := f.RequestCertificate(f.ctx(), &in)
			refused(t, err, code, "")
		}
	}
}

func TestTokensMakeRequestsOne(t *testing.T) {
	f := newFixture(t)
	ask := func(name, token string) string {
		return f.requested(acm.RequestCertificateInput{DomainName: &name, IdempotencyToken: &token})
	}
	first := ask("example.com", "t")
	if again := ask("example.com", "t"); again != first {
		t.Error("the same request made another certificate")
	}
	if ask("example.com", "u") == first || ask("other.com", "t") == first {
		t.Error("another request got the same certificate")
	}
	f.at = t0.Add(tokenLife)
	if ask("example.com", "t") == first {
		t.Error("the token outlived an hour")
	}
}

func TestDelete(t *testing.T) {
	f := newFixture(t)
	arn := f.imported(issue(t, nil, nil, nil))
	f.used(arn)
	if d := f.describe(arn); !slices.Equal(d.InUseBy, []string{"lb"}) {
		t.Errorf("%v", d.InUseBy)
	}
	_, err := f.DeleteCertificate(f.ctx(), &acm.DeleteCertificateInput{CertificateArn: &arn})
	refused(t, err, "ResourceInUseException", "Certificate "+arn+" in account 111122223333 is in use.")
	f.used("other")
	if _, err := f.DeleteCertificate(f.ctx(), &acm.DeleteCertificateInput{CertificateArn: &arn}); err != nil {
		t.Fatal(err)
	}
	_, err = f.DescribeCertificate(f.ctx(), &acm.DescribeCertificateInput{CertificateArn: &arn})
	refused(t, err, "ResourceNotFoundException", "Could not find certificate "+arn+" in account 111122223333.")
	for _, bad := range []string{"arn:aws:iam::111122223333:server-certificate/x", "arn:aws:acm:eu-west-1:111122223333:other/x", "arn:aws:acm:eu-west-1:111122223333:certificate/x/y"} {
		_, err := f.DescribeCertificate(f.ctx(), &acm.DescribeCertificateInput{CertificateArn: &bad})
		refused(t, err, "InvalidArnException", "")
	}
	for _, foreign := range []string{"arn:aws:acm:us-east-1:111122223333:certificate/x", "arn:aws:acm:eu-west-1:999922223333:certificate/x"} {
		_, err := f.DescribeCertificate(f.ctx(), &acm.DescribeCertificateInput{CertificateArn: &foreign})
		refused(t, err, "ResourceNotFoundException", "")
	}
}

func TestTags(t *testing.T) {
	f := newFixture(t)
	arn := f.imported(issue(t, nil, nil, nil))
	add := func(tags ...acm.Tag) error {
		_, err := f.AddTagsToCertificate(f.ctx(), &acm.AddTagsToCertificateInput{CertificateArn: &arn, Tags: tags})
		return err
	}
	if err := add(acm.Tag{Key: new("a"), Value: new("1")}, acm.Tag{Key: new("b"), Value: new("2")}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RemoveTagsFromCertificate(f.ctx(), &acm.RemoveTagsFromCertificateInput{CertificateArn: &arn, Tags: []acm.Tag{{Key: new("a"), Value: new("2")}, {Key: new("b")}, {Key: new("c")}}}); err != nil {
		t.Fatal(err)
	}
	l, err := f.ListTagsForCertificate(f.ctx(), &acm.ListTagsForCertificateInput{CertificateArn: &arn})
	if err != nil || len(l.Tags) != 1 || *l.Tags[0].Key != "a" {
		t.Errorf("%+v, %v", l, err)
	}
	var many []acm.Tag
	for i := range maxTags {
		many = append(many, acm.Tag{Key: new(fmt.Sprint(i))})
	}
	refused(t, add(many...), "TooManyTagsException", "")
	refused(t, add(acm.Tag{Key: new("AWS:x")}), "InvalidTagException", "")
}

func TestOptions(t *testing.T) {
	f := newFixture(t)
	set := func(arn string, o acm.CertificateOptions) error {
		_, err := f.UpdateCertificateOptions(f.ctx(), &acm.UpdateCertificateOptionsInput{CertificateArn: &arn, Options: &o})
		return err
	}
	off := acm.CertificateOptions{CertificateTransparencyLoggingPreference: acm.CertificateTransparencyLoggingPreferenceDisabled}
	refused(t, set(f.imported(issue(t, nil, nil, nil)), off), "InvalidStateException", "")
	arn := f.requested(acm.RequestCertificateInput{DomainName: new("example.com")})
	refused(t, set(arn, off), "InvalidStateException", "")
	f.issued(arn)
	if err := set(arn, off); err != nil || f.describe(arn).Options.CertificateTransparencyLoggingPreference != "DISABLED" {
		t.Error(err)
	}
	refused(t, set(arn, acm.CertificateOptions{Export: acm.CertificateExportEnabled}), "InvalidStateException", "")
}

func TestAccountConfiguration(t *testing.T) {
	f := newFixture(t)
	days := func() int32 {
		out, err := f.GetAccountConfiguration(f.ctx(), &acm.GetAccountConfigurationInput{})
		if err != nil {
			t.Fatal(err)
		}
		return *out.ExpiryEvents.DaysBeforeExpiry
	}
	put := func(n int32, token string) error {
		_, err := f.PutAccountConfiguration(f.ctx(), &acm.PutAccountConfigurationInput{IdempotencyToken: &token, ExpiryEvents: &acm.ExpiryEventsConfiguration{DaysBeforeExpiry: &n}})
		return err
	}
	if d := days(); d != 45 {
		t.Errorf("%d days at first", d)
	}
	for range 2 {
		if err := put(10, "a"); err != nil || days() != 10 {
			t.Fatal(err)
		}
	}
	refused(t, put(11, "a"), "ConflictException", "")
	if err := put(11, "b"); err != nil || days() != 11 {
		t.Error(err)
	}
}

func TestExportAndRevoke(t *testing.T) {
	f := newFixture(t)
	export := func(arn string) (*acm.ExportCertificateOutput, error) {
		return f.ExportCertificate(f.ctx(), &acm.ExportCertificateInput{CertificateArn: &arn, Passphrase: []byte("a good one")})
	}
	revoke := func(arn string) error {
		_, err := f.RevokeCertificate(f.ctx(), &acm.RevokeCertificateInput{CertificateArn: &arn, RevocationReason: acm.RevocationReasonKeyCompromise})
		return err
	}
	_, err := export(f.imported(issue(t, nil, nil, nil)))
	refused(t, err, "ValidationException", "")

	arn := f.requested(acm.RequestCertificateInput{DomainName: new("example.com"), Options: &acm.CertificateOptions{Export: acm.CertificateExportEnabled}})
	_, err = export(arn)
	refused(t, err, "RequestInProgressException", "")
	f.issued(arn)
	refused(t, revoke(arn), "ConflictException", "")
	out, err := export(arn)
	if err != nil {
		t.Fatal(err)
	}
	row, err := f.read(f.ctx(), arn)
	if err != nil {
		t.Fatal(err)
	}
	want, err := f.Key.Open(model.CertificateKeyName(arn), row.V.Key)
	if err != nil {
		t.Fatal(err)
	}
	if got := decrypt(t, *out.PrivateKey, "a good one"); got != string(want) {
		t.Error("another key comes out")
	}
	if d := f.describe(arn); d.RenewalEligibility != "ELIGIBLE" || d.Options.Export != "ENABLED" {
		t.Errorf("%+v", d)
	}
	f.used(arn)
	refused(t, revoke(arn), "ResourceInUseException", "")
	f.used("other")
	if err := revoke(arn); err != nil {
		t.Fatal(err)
	}
	if d := f.describe(arn); d.Status != "REVOKED" || d.RevocationReason != "KEY_COMPROMISE" || !d.RevokedAt.Equal(t0) {
		t.Errorf("%+v", d)
	}
	refused(t, revoke(arn), "ConflictException", "")
	_, err = export(arn)
	refused(t, err, "ValidationException", "")
}

func TestList(t *testing.T) {
	f := newFixture(t)
	small := issue(t, rsaKey(t, 2048), nil, nil)
	var rsa []string
	for range 3 {
		rsa = append(rsa, f.imported(small))
		f.at = f.at.Add(time.Second)
	}
	curve := f.imported(issue(t, nil, nil, nil))
	pending := f.requested(acm.RequestCertificateInput{DomainName: new("example.com"), Options: &acm.CertificateOptions{Export: acm.CertificateExportEnabled}})
	list := func(in acm.ListCertificatesInput) []string {
		t.Helper()
		var arns []string
		for {
			out, err := f.ListCertificates(f.ctx(), &in)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range out.CertificateSummaryList {
				arns = append(arns, *e.CertificateArn)
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				return arns
			}
		}
	}
	sorted := func(arns ...string) []string { return slices.Sorted(slices.Values(arns)) }
	for name, tt := range map[string]struct {
		in   acm.ListCertificatesInput
		want []string
	}{
		"all of RSA":   {acm.ListCertificatesInput{MaxItems: new(int32(1))}, sorted(append([]string{pending}, rsa...)...)},
		"by status":    {acm.ListCertificatesInput{CertificateStatuses: []acm.CertificateStatus{"PENDING_VALIDATION"}}, []string{pending}},
		"by key":       {acm.ListCertificatesInput{Includes: &acm.Filters{KeyTypes: []acm.KeyAlgorithm{"EC_prime256v1"}}}, []string{curve}},
		"by use":       {acm.ListCertificatesInput{Includes: &acm.Filters{KeyUsage: []acm.KeyUsageName{"DIGITAL_SIGNATURE"}, ExtendedKeyUsage: []acm.ExtendedKeyUsageName{"TLS_WEB_SERVER_AUTHENTICATION"}}}, sorted(rsa...)},
		"by use, none": {acm.ListCertificatesInput{Includes: &acm.Filters{KeyUsage: []acm.KeyUsageName{"CRL_SIGNING"}}}, nil},
		"by export":    {acm.ListCertificatesInput{Includes: &acm.Filters{ExportOption: "ENABLED"}}, []string{pending}},
		"oldest first": {acm.ListCertificatesInput{SortBy: "CREATED_AT", SortOrder: "ASCENDING", MaxItems: new(int32(2))}, append(slices.Clone(rsa), pending)},
		"newest first": {acm.ListCertificatesInput{SortBy: "CREATED_AT", SortOrder: "DESCENDING", MaxItems: new(int32(3))}, []string{pending, rsa[2], rsa[1], rsa[0]}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := list(tt.in); !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
	for _, in := range []acm.ListCertificatesInput{
		{SortBy: "CREATED_AT"}, {SortOrder: "ASCENDING"}, {NextToken: new("x")}, {Includes: &acm.Filters{ManagedBy: "CLOUDFRONT"}},
	} {
		_, err := f.ListCertificates(f.ctx(), &in)
		refused(t, err, "ValidationException", "")
	}
}
