package acm

import (
	"context"
	"reflect"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/model"
)

// ScopeOf implements api.ResourceScoper: operations act on the certificate that
// they name. The condition keys are those of
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscertificatemanager.html
func (s *Service) ScopeOf(ctx context.Context, _ *api.Operation, in any) ([]string, map[string]string) {
	c := api.CallFrom(ctx)
	switch in := in.(type) {
	case *acm.RequestCertificateInput:
		method, algorithm := in.ValidationMethod, in.KeyAlgorithm
		if method == "" {
			method = acm.ValidationMethodEmail
		}
		if algorithm == "" {
			algorithm = acm.KeyAlgorithmRsa2048
		}
		keys := map[string]string{"acm:ValidationMethod": string(method), "acm:KeyAlgorithm": string(algorithm)}
		if in.Options != nil {
			transparency(keys, in.Options)
		}
		if in.CertificateAuthorityArn != nil {
			keys["acm:CertificateAuthority"] = *in.CertificateAuthorityArn
		}
		keys["acm:DomainNames"] = strings.ToLower(strings.Join(append([]string{*in.DomainName}, in.SubjectAlternativeNames...), ","))
		return nil, keys
	case *acm.UpdateCertificateOptionsInput:
		keys := map[string]string{}
		transparency(keys, in.Options)
		return []string{*in.CertificateArn}, keys
	case *acm.ImportCertificateInput:
		if in.CertificateArn == nil {
			return []string{model.MakeARN("acm", c.Region, c.Account, "certificate/*")}, nil
		}
	}
	f := reflect.ValueOf(in).Elem().FieldByName("CertificateArn")
	if !f.IsValid() || f.IsNil() {
		return nil, nil
	}
	return []string{f.Elem().String()}, nil
}

func transparency(keys map[string]string, o *acm.CertificateOptions) {
	if o.CertificateTransparencyLoggingPreference != "" {
		keys["acm:CertificateTransparencyLogging"] = string(o.CertificateTransparencyLoggingPreference)
	}
}
