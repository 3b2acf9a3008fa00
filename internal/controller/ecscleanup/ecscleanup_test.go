package ecscleanup_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/controller/ecscleanup"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

func TestCleanup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			rt := controller.Runtime{Store: s, Clock: clock.System{}}
			if err := rt.Run(ctx, ecscleanup.New(ecscleanup.Config{Store: s, Clock: clock.System{}})); err != nil {
				t.Error(err)
			}
		})
		defer func() {
			cancel()
			wg.Wait()
			_ = s.Close()
		}()
		const account, region = "1", "r"
		arn := model.ECSTaskDefinitionARN(region, account, "f", 1)
		recordID := model.TaskDefinitionID("f", 1)
		task := &model.Task{ClusterName: "c", TaskID: "t", Spec: model.TaskSpec{TaskDefinitionARN: arn}, Status: model.TaskStatus{LastStatus: model.TaskRunning}}
		tx := store.NewTxn()
		tables.ECSTaskDefinitions.Put(tx, account, region, recordID, &model.TaskDefinition{TaskDefinitionARN: arn, Status: model.ECSDeleteInProgress})
		tables.ECSTasks.Put(tx, account, region, "c/t", task)
		tables.ECSServices.Put(tx, account, region, "c/s", &model.Service{ClusterName: "c", ServiceName: "s", Status: model.ECSInactive, DeletedAt: time.Now()})
		tables.ECSServiceEvents.Put(tx, account, region, "c/s", &model.ServiceEvents{})
		tables.ECSServiceDeployments.Put(tx, account, region, "c/s/1", &model.ServiceDeployment{})
		tables.ECSServiceDeployments.Put(tx, account, region, "c/s2/1", &model.ServiceDeployment{})
		tables.ECSClientTokens.Put(tx, account, region, "x", &model.ECSClientToken{ExpiresAt: time.Now().Add(time.Hour)})
		if _, err := tx.Commit(ctx, s); err != nil {
			t.Fatal(err)
		}
		there := func(key store.Key, want bool) {
			t.Helper()
			synctest.Wait()
			_, err := s.Get(ctx, key)
			if errors.Is(err, store.ErrNotFound) == want {
				t.Errorf("%s: %v", key, err)
			}
		}
		definition := tables.ECSTaskDefinitions.Key(account, region, recordID)
		there(definition, true)
		if _, err := tables.ECSTasks.Update(ctx, s, account, region, "c/t", func(v *model.Task) error {
			v.Status.LastStatus = model.TaskStopped
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		there(definition, false)

		there(tables.ECSClientTokens.Key(account, region, "x"), true)
		time.Sleep(time.Hour)
		there(tables.ECSClientTokens.Key(account, region, "x"), false)

		time.Sleep(22 * time.Hour)
		there(tables.ECSServices.Key(account, region, "c/s"), true)
		time.Sleep(time.Hour)
		for _, key := range []store.Key{
			tables.ECSServices.Key(account, region, "c/s"), tables.ECSServiceEvents.Key(account, region, "c/s"), tables.ECSServiceDeployments.Key(account, region, "c/s/1"),
		} {
			there(key, false)
		}
		there(tables.ECSServiceDeployments.Key(account, region, "c/s2/1"), true)
	})
}
