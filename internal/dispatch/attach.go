package dispatch

import (
	"context"
	"errors"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/plan/lifecycle"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// attach tells the node of a task's interface that it is to find, once in a
// session.
func (s *session) attach(ctx context.Context, k store.Key) error {
	if t := s.sent[k]; t != nil && !t.attachAt.IsZero() {
		return nil
	}
	row, err := tables.ECSTasks.Get(ctx, s.d.cfg.Store, k.Account, k.Region, k.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && (row.V.Status.Node != s.node || !attaching(row.V)) {
		return nil
	}
	if err != nil {
		return err
	}
	p, err := s.d.parts(ctx, row)
	now := s.d.cfg.Clock.Now()
	if err != nil && ctx.Err() == nil {
		s.d.cfg.Log.Error("tell of a task's interface", "task", k.ID, "error", err)
		s.tell(k).failed = now
		return nil
	}
	if err != nil {
		return err
	}
	m := &acs.AttachTaskNetworkInterfacesMessage{
		MessageID: id.UUID(), ClusterArn: row.V.ClusterARN, ContainerInstanceArn: s.instance, GeneratedAt: now.UnixMilli(),
		TaskArn: row.V.TaskARN, TaskClusterArn: row.V.ClusterARN, WaitTimeoutMs: lifecycle.AttachTimeout.Milliseconds(),
		ElasticNetworkInterfaces: []acs.ElasticNetworkInterface{networkInterface(p)},
	}
	t := s.tell(k)
	t.attach, t.attachAt = m.MessageID, now
	return s.conn.Send(ctx, m)
}
