package ecsinstance

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "us-east-1"
	host    = "i-00000000000000001"
)

// The life of an instance with an agent is tested with the agent's protocol, in
// internal/dispatch/agentws.
func TestReconcile(t *testing.T) {
	ec2 := func(state string) *model.Instance {
		return &model.Instance{ID: host, Status: model.InstanceStatus{State: state}}
	}
	for name, tt := range map[string]struct {
		instance model.ContainerInstance
		host     *model.Instance
		leaves   bool
	}{
		"runs":                   {model.ContainerInstance{EC2InstanceID: host}, ec2(model.InstanceRunning), false},
		"is stopped":             {model.ContainerInstance{EC2InstanceID: host}, ec2(model.InstanceStopped), false},
		"shuts down":             {model.ContainerInstance{EC2InstanceID: host}, ec2(model.InstanceShuttingDown), false},
		"has terminated":         {model.ContainerInstance{EC2InstanceID: host}, ec2(model.InstanceTerminated), true},
		"is forgotten":           {model.ContainerInstance{EC2InstanceID: host}, nil, true},
		"drains, has terminated": {model.ContainerInstance{EC2InstanceID: host, Status: model.ContainerInstanceDraining}, ec2(model.InstanceTerminated), true},
		"is the user's":          {model.ContainerInstance{External: true}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := memory.New()
				defer s.Close()
				i := tt.instance
				i.ClusterName, i.ID, i.Connection.Connected = "c", "x", true
				if i.Status == "" {
					i.Status = model.ContainerInstanceActive
				}
				tx := store.NewTxn()
				tables.ECSContainerInstances.Create(tx, account, region, "c/x", &i)
				tables.ECSInstanceClaims.Create(tx, account, region, "c/x", &model.InstanceClaim{Count: 3, TaskID: "t"})
				if tt.host != nil {
					tables.Instances.Create(tx, account, region, host, tt.host)
				}
				if _, err := tx.Commit(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				c := New(Config{Store: s, Clock: clock.System{}})
				reconcile := func() time.Duration {
					t.Helper()
					r, err := c.Reconcile(t.Context(), controller.Key{Account: account, Region: region, ID: "c/x"})
					if err != nil {
						t.Fatal(err)
					}
					return r.RequeueAfter
				}
				reconcile()
				row, err := tables.ECSContainerInstances.Get(t.Context(), s, account, region, "c/x")
				if err != nil {
					t.Fatal(err)
				}
				claim, err := tables.ECSInstanceClaims.Get(t.Context(), s, account, region, "c/x")
				if err != nil {
					t.Fatal(err)
				}
				if gone := row.V.Status == model.ContainerInstanceInactive; gone != tt.leaves || row.V.Connection.Connected == tt.leaves || (claim.V.Count == 4) != tt.leaves {
					t.Fatalf("%+v, claim %+v", row.V, claim.V)
				}
				if !tt.leaves {
					return
				}
				if wait := reconcile(); wait != time.Hour {
					t.Errorf("looks again after %s", wait)
				}
				time.Sleep(time.Hour) // the bubble's time
				reconcile()
				if _, err := tables.ECSContainerInstances.Get(t.Context(), s, account, region, "c/x"); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("it is still there: %v", err)
				}
				if _, err := tables.ECSInstanceClaims.Get(t.Context(), s, account, region, "c/x"); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("its claim is still there: %v", err)
				}
			})
		})
	}
}
