package acm

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/certificates"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/pagetoken"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxPage is how much is listed where a request does not say.
const maxPage = 1000

// defaultTypes are the keys of what is listed where a request does not say:
// those that every integrated service has always taken.
var defaultTypes = []acm.KeyAlgorithm{acm.KeyAlgorithmRsa1024, acm.KeyAlgorithmRsa2048}

// ListCertificates implements acm.Handler.
func (s *Service) ListCertificates(ctx context.Context, in *acm.ListCertificatesInput) (*acm.ListCertificatesOutput, error) {
	c := api.CallFrom(ctx)
	if (in.SortBy == "") != (in.SortOrder == "") {
		return nil, invalid("SortBy and SortOrder must be specified together.")
	}
	f := filtersOf(in)
	if f.ManagedBy != "" {
		return nil, invalid("No service manages certificates: Includes.managedBy must be empty.")
	}
	rows, err := tables.Certificates.List(ctx, s.Store, store.Query{Account: c.Account, Region: c.Region})
	if err != nil {
		return nil, fmt.Errorf("list certificates: %w", err)
	}
	users, err := certificates.Users(ctx, s.Store, c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	all := []acm.CertificateSummary{}
	for _, row := range rows {
		if len(in.CertificateStatuses) > 0 && !slices.Contains(in.CertificateStatuses, status(row.V, c.Time)) {
			continue
		}
		leaf, err := parsed(row.V)
		if err != nil {
			return nil, err
		}
		e := summary(row.V, leaf, len(users[row.V.ARN]) > 0)
		e.Status = status(row.V, c.Time)
		if f.pass(&e) {
			all = append(all, e)
		}
	}
	return paged(in, all, "ListCertificates", c.Account, c.Region, chosen(in))
}

// chosen is what makes the list of a request, but for its pages.
func chosen(in *acm.ListCertificatesInput) string {
	b, err := json.Marshal([]any{in.CertificateStatuses, in.Includes, in.SortBy, in.SortOrder})
	if err != nil {
		panic(err) // made of strings
	}
	return string(b)
}

// paged sorts what is listed and cuts a page out. A token is the position of a
// page's last element, so that what comes and goes moves nothing else.
func paged(in *acm.ListCertificatesInput, all []acm.CertificateSummary, list ...string) (*acm.ListCertificatesOutput, error) {
	position := func(e acm.CertificateSummary) string {
		if in.SortBy == acm.SortByCreatedAt {
			return e.CreatedAt.UTC().Format("2006-01-02T15:04:05.000000000Z") + " " + *e.CertificateArn
		}
		return *e.CertificateArn
	}
	order := func(a, b string) int {
		if in.SortOrder == acm.SortOrderDescending {
			a, b = b, a
		}
		return cmp.Compare(a, b)
	}
	slices.SortFunc(all, func(a, b acm.CertificateSummary) int { return order(position(a), position(b)) })
	if in.NextToken != nil {
		after, ok := pagetoken.Open(*in.NextToken, list...)
		if !ok {
			return nil, invalid("The NextToken is not valid.")
		}
		all = slices.DeleteFunc(all, func(e acm.CertificateSummary) bool { return order(position(e), after) <= 0 })
	}
	size := maxPage
	if in.MaxItems != nil {
		size = int(*in.MaxItems)
	}
	out := &acm.ListCertificatesOutput{CertificateSummaryList: all}
	if len(all) > size {
		out.CertificateSummaryList = all[:size]
		out.NextToken = new(pagetoken.Make(position(all[size-1]), list...))
	}
	return out, nil
}

// filters choose what is listed.
type filters struct{ acm.Filters }

func filtersOf(in *acm.ListCertificatesInput) filters {
	var f filters
	if in.Includes != nil {
		f.Filters = *in.Includes
	}
	if len(f.KeyTypes) == 0 {
		f.KeyTypes = defaultTypes
	}
	return f
}

// pass tells whether a certificate is what all filters ask for.
func (f filters) pass(e *acm.CertificateSummary) bool {
	return slices.Contains(f.KeyTypes, e.KeyAlgorithm) &&
		(f.ExportOption == "" || f.ExportOption == e.ExportOption) &&
		!lost(f.KeyUsage, e.KeyUsages) && !lost(f.ExtendedKeyUsage, e.ExtendedKeyUsages)
}

// maxSummaryNames is how many names a list shows of a certificate.
const maxSummaryNames = 100

// summary is what lists tell of a certificate; leaf is nil before it is issued.
func summary(v *model.Certificate, leaf *x509.Certificate, used bool) acm.CertificateSummary {
	e := acm.CertificateSummary{
		CertificateArn: new(v.ARN), DomainName: opt(v.DomainName), Type: acm.CertificateType(v.Type),
		KeyAlgorithm: acm.KeyAlgorithm(v.KeyAlgorithm), ExportOption: export(v), Exported: new(v.Exported), InUse: &used,
		RenewalEligibility: eligibility(v, used), HasAdditionalSubjectAlternativeNames: new(len(v.Names) > maxSummaryNames),
		SubjectAlternativeNameSummaries: v.Names[:min(len(v.Names), maxSummaryNames)],
		CreatedAt:                       when(v.CreatedAt), ImportedAt: when(v.ImportedAt), IssuedAt: when(v.IssuedAt),
		NotBefore: when(v.NotBefore), NotAfter: when(v.NotAfter), RevokedAt: when(v.RevokedAt),
	}
	if leaf != nil {
		e.KeyUsages, e.ExtendedKeyUsages = keyUsages(leaf), extendedNames(leaf)
	}
	return e
}
