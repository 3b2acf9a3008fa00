package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model/acs"
)

// sessions keeps a session with the control plane until ctx ends.
func (n *Node) sessions(ctx context.Context) error {
	delay := n.cfg.RetryDelay
	for ctx.Err() == nil {
		s, err := n.cfg.Transport.Connect(ctx)
		if err == nil {
			delay = n.cfg.RetryDelay
			err = n.serve(ctx, s)
			if cerr := s.Close(); cerr != nil && ctx.Err() == nil {
				n.cfg.Log.Debug("close the session", "error", cerr)
			}
		}
		if ctx.Err() != nil {
			break
		}
		n.cfg.Log.Warn("the session with the control plane ended", "error", err)
		if !clock.Sleep(ctx, n.cfg.Clock, delay) {
			break
		}
		delay = min(2*delay, 2*time.Minute)
	}
	return ctx.Err()
}

// serve answers messages until the session ends.
func (n *Node) serve(ctx context.Context, s Session) error {
	for {
		m, err := s.Receive(ctx)
		if errors.Is(err, acs.ErrUnknownType) {
			n.cfg.Log.Warn("skip a message", "error", err)
			continue
		}
		if err != nil {
			return err
		}
		for _, answer := range n.handle(m) {
			if err := s.Send(ctx, answer); err != nil {
				return err
			}
		}
	}
}

// handle does what a message says and returns the answers to it.
func (n *Node) handle(m acs.Message) []acs.Message {
	switch m := m.(type) {
	case *acs.HeartbeatMessage:
		return []acs.Message{&acs.HeartbeatAckRequest{MessageID: m.MessageID}}
	case *acs.PayloadMessage:
		return n.payload(m)
	case *acs.IAMRoleCredentialsMessage:
		return n.credentials(m)
	case *acs.TaskManifestMessage:
		return n.manifest(m)
	case *acs.TaskStopVerificationAck:
		for _, x := range m.StopTasks {
			if t := n.task(x.TaskArn); t != nil {
				t.news(&acs.Task{Arn: x.TaskArn, DesiredStatus: acs.DesiredStopped})
			}
		}
	case *acs.AttachTaskNetworkInterfacesMessage:
		n.await(m)
		return []acs.Message{&acs.AckRequest{Cluster: m.ClusterArn, ContainerInstance: m.ContainerInstanceArn, MessageID: m.MessageID}}
	case *acs.CloseMessage:
		n.cfg.Log.Info("the control plane closes the session", "message", m.Message)
	case *acs.ErrorMessage:
		n.cfg.Log.Warn("the control plane reports an error", "message", m.Message)
	default:
		n.cfg.Log.Debug("nothing to do for a message", "type", acs.TypeOf(m))
	}
	return nil
}

// payload takes tasks. One bad task leaves the payload unacknowledged, so that
// it is sent again, but not the others.
func (n *Node) payload(m *acs.PayloadMessage) []acs.Message {
	var answers []acs.Message
	ok := true
	for i := range m.Tasks {
		t := &m.Tasks[i]
		if err := n.accept(t); err != nil {
			n.cfg.Log.Error("a task cannot be accepted", "task", t.Arn, "error", err)
			ok = false
			continue
		}
		for _, c := range []*acs.IAMRoleCredentials{t.RoleCredentials, t.ExecutionRoleCredentials} {
			if c != nil {
				answers = append(answers, &acs.IAMRoleCredentialsAckRequest{
					MessageID: m.MessageID, CredentialsID: c.CredentialsID, Expiration: c.Expiration,
				})
			}
		}
	}
	if ok {
		answers = append(answers, &acs.AckRequest{Cluster: m.ClusterArn, ContainerInstance: m.ContainerInstanceArn, MessageID: m.MessageID})
	}
	return answers
}

// credentials refreshes a role's credentials of a task that is here.
func (n *Node) credentials(m *acs.IAMRoleCredentialsMessage) []acs.Message {
	t := n.task(m.TaskArn)
	if t == nil || m.RoleCredentials == nil {
		return nil
	}
	update := &acs.Task{Arn: m.TaskArn}
	if m.RoleType == acs.RoleTypeTaskExecution {
		update.ExecutionRoleCredentials = m.RoleCredentials
	} else {
		update.RoleCredentials = m.RoleCredentials
	}
	t.news(update)
	return []acs.Message{&acs.IAMRoleCredentialsAckRequest{
		MessageID: m.MessageID, CredentialsID: m.RoleCredentials.CredentialsID, Expiration: m.RoleCredentials.Expiration,
	}}
}

// manifest compares the tasks here with the control plane's list, and asks
// before it stops any.
func (n *Node) manifest(m *acs.TaskManifestMessage) []acs.Message {
	answers := []acs.Message{&acs.AckRequest{Cluster: m.ClusterArn, ContainerInstance: m.ContainerInstanceArn, MessageID: m.MessageID}}
	n.mu.Lock()
	newer := m.Timeline > n.timeline
	if newer {
		n.timeline = m.Timeline
	}
	n.mu.Unlock()
	if !newer {
		return answers
	}
	var candidates []acs.TaskIdentifier
	for _, t := range n.list() {
		i := slices.IndexFunc(m.Tasks, func(x acs.TaskIdentifier) bool { return x.TaskArn == t.arn })
		if i >= 0 && m.Tasks[i].DesiredStatus != acs.DesiredStopped {
			continue
		}
		if s := t.snapshot(); !s.Stop {
			candidates = append(candidates, acs.TaskIdentifier{
				TaskArn: t.arn, TaskClusterArn: s.Task.TaskClusterArn, DesiredStatus: acs.DesiredStopped,
			})
		}
	}
	if len(candidates) > 0 {
		answers = append(answers, &acs.TaskStopVerificationMessage{MessageID: m.MessageID, StopCandidates: candidates})
	}
	return answers
}
