package eni_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "eu-west-1"
)

var now = time.Unix(1_700_000_000, 0).UTC()

// place stores a VPC with a group and a subnet, and another VPC's group.
func place(t *testing.T, cidr string) store.Store {
	t.Helper()
	s := memory.New()
	t.Cleanup(func() { _ = s.Close() })
	tx := store.NewTxn()
	tables.VPCs.Create(tx, account, region, "vpc-1", &model.VPC{ID: "vpc-1", DefaultGroupID: "sg-default"})
	tables.SecurityGroups.Create(tx, account, region, "sg-default", &model.SecurityGroup{ID: "sg-default", VPCID: "vpc-1"})
	tables.SecurityGroups.Create(tx, account, region, "sg-other", &model.SecurityGroup{ID: "sg-other", VPCID: "vpc-2"})
	tables.SecurityGroups.Create(tx, account, region, "sg-going", &model.SecurityGroup{ID: "sg-going", VPCID: "vpc-1", Deleting: true})
	tables.Subnets.Create(tx, account, region, "subnet-1", &model.Subnet{ID: "subnet-1", VPCID: "vpc-1", CIDR: netip.MustParsePrefix(cidr), Zone: region + "a"})
	if _, err := tx.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func spec() eni.Spec { return eni.Spec{Account: account, Region: region, SubnetID: "subnet-1"} }

func code(err error) string {
	if e, ok := errors.AsType[*eni.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

func TestCreateRefuses(t *testing.T) {
	s := place(t, "10.0.0.0/24")
	if _, err := eni.Create(t.Context(), s, now, eni.Spec{Account: account, Region: region, SubnetID: "subnet-1", PrivateIP: netip.MustParseAddr("10.0.0.9")}); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(*eni.Spec)
		want   string
	}{
		"no such subnet":    {func(s *eni.Spec) { s.SubnetID = "subnet-9" }, "InvalidSubnetID.NotFound"},
		"no such group":     {func(s *eni.Spec) { s.GroupIDs = []string{"sg-9"} }, "InvalidGroup.NotFound"},
		"a group that goes": {func(s *eni.Spec) { s.GroupIDs = []string{"sg-going"} }, "InvalidGroup.NotFound"},
		"another VPC":       {func(s *eni.Spec) { s.GroupIDs = []string{"sg-other"} }, "InvalidParameter"},
		"address taken":     {func(s *eni.Spec) { s.PrivateIP = netip.MustParseAddr("10.0.0.9") }, "InvalidIPAddress.InUse"},
		"address outside":   {func(s *eni.Spec) { s.PrivateIP = netip.MustParseAddr("10.0.1.9") }, "InvalidParameterValue"},
		"address reserved":  {func(s *eni.Spec) { s.PrivateIP = netip.MustParseAddr("10.0.0.2") }, "InvalidParameterValue"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			sp := spec()
			tt.change(&sp)
			if _, err := eni.Create(t.Context(), s, now, sp); code(err) != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestCreateTwiceWithOneID(t *testing.T) {
	s := place(t, "10.0.0.0/24")
	sp := spec()
	sp.ID = eni.NewID()
	one, err1 := eni.Create(t.Context(), s, now, sp)
	two, err2 := eni.Create(t.Context(), s, now, sp)
	if err1 != nil || err2 != nil || one.V.PrivateIP != two.V.PrivateIP || one.Modified != two.Modified {
		t.Errorf("%+v %v, then %+v %v", one.V, err1, two.V, err2)
	}
	if one.V.GroupIDs[0] != "sg-default" {
		t.Errorf("groups %v", one.V.GroupIDs)
	}
}

// Many at once get different addresses until the subnet is full, and a freed
// address is given out again.
func TestConcurrentCreation(t *testing.T) {
	s := place(t, "10.0.0.0/28") // 11 addresses
	var wg sync.WaitGroup
	rows := make([]eni.Row, 14)
	errs := make([]error, len(rows))
	for i := range rows {
		wg.Go(func() {
			sp := spec()
			sp.AssignPublicIP = true
			rows[i], errs[i] = eni.Create(t.Context(), s, now, sp)
		})
	}
	wg.Wait()
	private, public := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	full := 0
	var some eni.Row
	for i := range rows {
		if errs[i] != nil {
			if code(errs[i]) != "InsufficientFreeAddressesInSubnet" {
				t.Errorf("creation: %v", errs[i])
			}
			full++
			continue
		}
		some = rows[i]
		private[rows[i].V.PrivateIP], public[rows[i].V.Association.PublicIP] = true, true
	}
	if len(private) != 11 || len(public) != 11 || full != 3 {
		t.Errorf("%d private and %d public addresses, %d refused", len(private), len(public), full)
	}
	if err := eni.Delete(t.Context(), s, account, region, some.V.ID, nil); err != nil {
		t.Fatal(err)
	}
	again, err := eni.Create(t.Context(), s, now, spec())
	if err != nil || again.V.PrivateIP != some.V.PrivateIP {
		t.Errorf("the freed %s is not given out again: %v, %v", some.V.PrivateIP, again.V, err)
	}
	claims, err := tables.PublicAddressClaims.List(t.Context(), s, store.Query{Account: model.AmazonAccount})
	if err != nil || len(claims) != 10 {
		t.Errorf("%d public addresses are held, %v", len(claims), err)
	}
}

// A caller's own writes succeed or fail with the interface.
func TestWithIsOneTransaction(t *testing.T) {
	s := place(t, "10.0.0.0/24")
	sp := spec()
	sp.With = func(tx *store.Txn, v *model.NetworkInterface) error {
		tables.Addresses.Create(tx, account, region, "eipalloc-1", &model.Address{ID: "eipalloc-1", NetworkInterfaceID: v.ID})
		return nil
	}
	if _, err := eni.Create(t.Context(), s, now, sp); err != nil {
		t.Fatal(err)
	}
	if _, err := eni.Create(t.Context(), s, now, sp); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a condition that never holds: %v", err)
	}
	rows, err := tables.NetworkInterfaces.List(t.Context(), s, store.Query{})
	if err != nil || len(rows) != 1 {
		t.Errorf("%d interfaces, %v", len(rows), err)
	}
	if err := eni.Delete(context.Background(), s, account, region, "eni-none", func(*store.Txn) error { return errors.New("called") }); err != nil {
		t.Errorf("deleting nothing: %v", err)
	}
}

func TestPoolFor(t *testing.T) {
	all := netip.MustParsePrefix("198.18.0.0/15")
	seen := map[netip.Prefix]bool{}
	for i := range 200 {
		p := eni.PoolFor(fmt.Sprint("rs", i))
		if p != p.Masked() || !all.Contains(p.Addr()) || p.Bits() != 20 {
			t.Fatalf("pool %s", p)
		}
		seen[p] = true
	}
	if len(seen) < 20 {
		t.Errorf("only %d pools", len(seen))
	}
}
