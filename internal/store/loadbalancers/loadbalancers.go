// Package loadbalancers holds what the APIs of load balancers, of both
// versions, ask of the records of other services.
package loadbalancers

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/address"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// MinFree is how many free addresses a subnet needs for a load balancer.
const MinFree = 8

// Place is an account's part of a region, in a store.
type Place struct {
	Store           store.Store
	Account, Region string
}

// Crowded tells whether a subnet has no room for a load balancer.
func (p Place) Crowded(ctx context.Context, sn *model.Subnet) (bool, error) {
	claims, err := tables.PrivateAddressClaims.List(ctx, p.Store, store.Query{Account: p.Account, Region: p.Region, Prefix: sn.ID + "/"})
	return address.Capacity(sn.CIDR)-len(claims) < MinFree, err
}

// HasGateway tells whether a VPC has an internet gateway.
func (p Place) HasGateway(ctx context.Context, vpc string) (bool, error) {
	gateways, err := tables.InternetGateways.List(ctx, p.Store, store.Query{
		Account: p.Account, Region: p.Region, Index: store.Index{Name: tables.ByVPC, Value: vpc},
	})
	return slices.ContainsFunc(gateways, func(g store.Row[model.InternetGateway]) bool { return !g.V.Deleting }), err
}

// ErrGroup tells that a security group is not there, or in another VPC.
var ErrGroup = errors.New("a security group cannot be the load balancer's")

// Groups are the security groups with the ids, each once, or the VPC's default
// group when no id is given. Tx depends on them.
func (p Place) Groups(ctx context.Context, tx *store.Txn, vpc string, ids []string) ([]string, error) {
	if len(ids) == 0 {
		row, err := tables.VPCs.Get(ctx, p.Store, p.Account, p.Region, vpc)
		if err != nil {
			return nil, err
		}
		ids = []string{row.V.DefaultGroupID}
	}
	var out []string
	for _, g := range ids {
		row, err := tables.SecurityGroups.Get(ctx, p.Store, p.Account, p.Region, g)
		if errors.Is(err, store.ErrNotFound) || err == nil && (row.V.Deleting || row.V.VPCID != vpc) {
			return nil, ErrGroup
		}
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, g) {
			tables.SecurityGroups.Check(tx, row)
			out = append(out, g)
		}
	}
	return out, nil
}

// What Certificate answers beside store.ErrNotFound.
var (
	// ErrNoCertificateARN: the ARN is not a certificate's.
	ErrNoCertificateARN = errors.New("not the ARN of a certificate")
	// ErrUnusable: the certificate has not been issued, or was revoked.
	ErrUnusable = errors.New("the certificate cannot be served by")
)

// Certificate checks that a certificate is there and can be served by, and
// makes tx, which lets a listener use it, conflict with the certificate's end.
func (p Place) Certificate(ctx context.Context, tx *store.Txn, arn string) error {
	a, err := model.ParseARN(arn)
	if err != nil {
		return ErrNoCertificateARN
	}
	if account, _, name, ok := model.IAMNameOf(arn, "server-certificate"); ok {
		row, err := tables.ServerCertificates.Get(ctx, p.Store, account, "", strings.ToLower(name))
		switch {
		case err != nil:
			return err
		case row.V.ARN != arn || account != p.Account:
			return store.ErrNotFound
		}
		tables.ServerCertificates.Check(tx, row)
		use(tx, row.Key)
		return nil
	}
	id, ok := strings.CutPrefix(a.Resource, "certificate/")
	if a.Service != "acm" || !ok {
		return ErrNoCertificateARN
	}
	row, err := tables.Certificates.Get(ctx, p.Store, p.Account, p.Region, id)
	switch {
	case err != nil:
		return err
	case row.V.ARN != arn:
		return store.ErrNotFound
	case row.V.Leaf == "", row.V.Status == model.CertificateRevoked:
		return ErrUnusable
	}
	tables.Certificates.Check(tx, row)
	use(tx, row.Key)
	return nil
}

// use tells that a certificate is used from now on. See certificates.Uses.
func use(tx *store.Txn, certificate store.Key) {
	if !tx.Writes(tables.CertificateUses.Key(certificate.Account, certificate.Region, certificate.ID)) {
		tables.CertificateUses.Put(tx, certificate.Account, certificate.Region, certificate.ID, &model.CertificateUse{})
	}
}

// DNSName is the name under which an application or classic load balancer is
// reached: <name>-<number>.<region>.elb.localhost, as AWS's are but for the
// domain. Its id is 16 hexadecimal digits.
func DNSName(name, id, region, scheme string) string {
	n, _ := strconv.ParseUint(id[:9], 16, 64) // hexadecimal by construction
	name = strings.ToLower(name) + "-" + strconv.FormatUint(n, 10) + "." + region + ".elb.localhost"
	if scheme == "internal" {
		return "internal-" + name
	}
	return name
}
