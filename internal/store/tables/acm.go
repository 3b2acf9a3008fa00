package tables

import (
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// Certificates are Certificate Manager's.
var Certificates = store.NewTable[model.Certificate]("acm", "Certificate").
	WithIndex(ByToken, func(v *model.Certificate) []string { return nonEmpty(v.Token) })

// CertificateConfigurations are accounts' settings of Certificate Manager.
var CertificateConfigurations = store.NewTable[model.CertificateConfiguration]("acm", "AccountConfiguration")

// CertificateUses are what listeners and certificates meet at, Certificate
// Manager's and IAM's.
var CertificateUses = store.NewTable[model.CertificateUse]("acm", "CertificateUse")
