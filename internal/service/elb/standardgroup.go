package elb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// standardGroupDescription is what the group says of itself.
const standardGroupDescription = "ELB created security group used when no security group is specified during ELB creation - modifications could impact traffic to future ELBs"

// standardGroupName is the name of the group of load balancers in a default VPC
// that name none.
func standardGroupName(account, vpc string) string {
	sum := sha256.Sum256([]byte(account + " " + vpc))
	h := hex.EncodeToString(sum[:16])
	return "default_elb_" + strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// secureNew gives a new load balancer its security groups. One that names none
// gets, in a default VPC, the group that is there for all such, and that lets in
// what comes for the ports of the first of them.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-vpc-security-groups.html
func (s *Service) secureNew(ctx context.Context, tx *store.Txn, lb *model.LoadBalancer, groups []string, listeners []*model.Listener) error {
	if len(groups) > 0 {
		return s.secure(ctx, tx, lb, groups)
	}
	c := api.CallFrom(ctx)
	vpc, err := tables.VPCs.Get(ctx, s.Store, c.Account, c.Region, lb.VpcID)
	if err != nil {
		return err
	}
	if !vpc.V.IsDefault {
		return s.secure(ctx, tx, lb, nil)
	}
	name := standardGroupName(c.Account, lb.VpcID)
	key := lb.VpcID + "/" + name
	there, err := tables.SecurityGroupNames.Get(ctx, s.Store, c.Account, c.Region, key)
	if err == nil {
		return s.secure(ctx, tx, lb, []string{*there.V})
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	rule := func(protocol string, port int32, egress bool) model.SecurityGroupRule {
		return model.SecurityGroupRule{ID: id.Resource("sgr"), Protocol: protocol, FromPort: port, ToPort: port, CIDR: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Egress: egress}
	}
	g := &model.SecurityGroup{
		ID: id.Resource("sg"), Owner: c.Account, VPCID: lb.VpcID, Name: name, Description: standardGroupDescription, CreatedAt: c.Time,
		Rules: []model.SecurityGroupRule{rule("-1", -1, true)},
	}
	var ports []int32
	for _, l := range listeners {
		if !slices.Contains(ports, l.Port) {
			ports = append(ports, l.Port)
			g.Rules = append(g.Rules, rule("tcp", l.Port, false))
		}
	}
	tables.VPCs.Check(tx, vpc)
	tables.SecurityGroupNames.Create(tx, c.Account, c.Region, key, &g.ID)
	tables.SecurityGroups.Create(tx, c.Account, c.Region, g.ID, g)
	lb.SecurityGroups = []string{g.ID}
	return nil
}
