package node

import (
	"context"
	"errors"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model/acs"
)

// attachTimeout is for how long an interface is waited for when the control
// plane does not say.
const attachTimeout = 5 * time.Minute

// await waits for the interfaces of a task that the control plane attaches to
// the machine, in a goroutine of its own, and reports when they are there.
func (n *Node) await(m *acs.AttachTaskNetworkInterfacesMessage) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range m.ElasticNetworkInterfaces {
		if e.AttachmentArn == "" || n.awaited[e.AttachmentArn] {
			continue
		}
		n.awaited[e.AttachmentArn] = true
		timeout := time.Duration(m.WaitTimeoutMs) * time.Millisecond
		if timeout <= 0 {
			timeout = attachTimeout
		}
		n.wg.Go(func() {
			ctx, cancel := context.WithTimeout(n.running, timeout)
			defer cancel()
			if err := n.attached(ctx, m, e); err != nil && n.running.Err() == nil {
				n.cfg.Log.Warn("an interface was not attached", "task", m.TaskArn, "interface", e.EC2ID, "error", err)
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			delete(n.awaited, e.AttachmentArn)
		})
	}
}

func (n *Node) attached(ctx context.Context, m *acs.AttachTaskNetworkInterfacesMessage, e acs.ElasticNetworkInterface) error {
	if n.cfg.Interfaces != nil {
		if err := n.cfg.Interfaces.WaitInterface(ctx, e.MacAddress); err != nil {
			return err
		}
	}
	delay := n.cfg.RetryDelay
	for {
		err := n.cfg.Transport.SubmitTaskStateChange(ctx, acs.TaskStateChange{
			Cluster: m.TaskClusterArn, Task: m.TaskArn,
			Attachments: []acs.AttachmentStateChange{{AttachmentArn: e.AttachmentArn, Status: acs.AttachmentAttached}},
		})
		if err == nil || errors.Is(err, acs.ErrUnknownTask) {
			return nil
		}
		if !clock.Sleep(ctx, n.cfg.Clock, delay) {
			return err
		}
		delay = min(2*delay, 30*time.Second)
	}
}
