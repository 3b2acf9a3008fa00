package imds

import (
	"context"

	"roadstead.dev/internal/model/machineimage"
)

// document is an instance identity document.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html
type document struct {
	AccountID               string   `json:"accountId"`
	Architecture            string   `json:"architecture"`
	AvailabilityZone        string   `json:"availabilityZone"`
	BillingProducts         []string `json:"billingProducts"`
	DevpayProductCodes      []string `json:"devpayProductCodes"`
	MarketplaceProductCodes []string `json:"marketplaceProductCodes"`
	ImageID                 string   `json:"imageId"`
	InstanceID              string   `json:"instanceId"`
	InstanceType            string   `json:"instanceType"`
	KernelID                *string  `json:"kernelId"`
	PendingTime             string   `json:"pendingTime"`
	PrivateIP               string   `json:"privateIp"`
	RamdiskID               *string  `json:"ramdiskId"`
	Region                  string   `json:"region"`
	Version                 string   `json:"version"`
}

// identity adds the identity document and its signatures.
func (s *Service) identity(t tree, v *view) {
	const base = "dynamic/instance-identity/"
	spec := &v.instance.Spec
	architecture := spec.Architecture
	if architecture == "" {
		architecture = machineimage.X8664
	}
	text := func() (string, error) {
		return indented(document{
			AccountID: v.account, Architecture: architecture, AvailabilityZone: spec.Zone, ImageID: spec.ImageID, InstanceID: v.instance.ID,
			InstanceType: spec.Type, PendingTime: instant(spec.LaunchedAt), PrivateIP: spec.PrivateIP.String(), Region: v.region, Version: "2017-09-30",
		})
	}
	t[base+"document"] = func(context.Context) (string, error) { return text() }
	for name, sign := range map[string]func([]byte) (string, error){
		"signature": s.Signer.Sign, "pkcs7": s.Signer.PKCS7, "rsa2048": s.Signer.PKCS7,
	} {
		t[base+name] = func(context.Context) (string, error) {
			d, err := text()
			if err != nil {
				return "", err
			}
			return sign([]byte(d))
		}
	}
}
