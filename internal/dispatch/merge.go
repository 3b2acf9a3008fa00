package dispatch

import (
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
)

// rank orders what a node says of a task or a container.
func rank(status string) int {
	return slices.Index([]string{"", acs.StatusPending, acs.StatusRunning, acs.StatusStopped}, status)
}

// Merge lays a node's report over what is known of a task, and tells whether
// that changed anything. Reports may come late, twice and out of order: no
// status goes back, and no time or exit code that is known changes.
func Merge(o *model.TaskObserved, ch *acs.TaskStateChange) (changed bool) {
	if ch.Sequence != 0 && ch.Sequence <= o.Sequence {
		return false
	}
	set := func(b bool) { changed = changed || b }
	if ch.Sequence > o.Sequence {
		o.Sequence = ch.Sequence
	}
	if rank(ch.Status) > rank(o.Status) {
		o.Status = ch.Status
		set(true)
	}
	set(first(&o.Reason, ch.Reason))
	set(firstTime(&o.PullStartedAt, ch.PullStartedAt))
	set(firstTime(&o.PullStoppedAt, ch.PullStoppedAt))
	set(firstTime(&o.ExecutionStoppedAt, ch.ExecutionStoppedAt))
	set(latest(&o.HealthStatus, ch.HealthStatus))
	for i := range ch.Containers {
		set(mergeContainer(o, &ch.Containers[i]))
	}
	for _, a := range ch.Attachments {
		_, id, ok := strings.Cut(a.AttachmentArn, ":attachment/")
		if ok && a.Status == acs.AttachmentAttached && !slices.Contains(o.Attached, id) {
			o.Attached = append(o.Attached, id)
			set(true)
		}
	}
	return changed
}

func mergeContainer(o *model.TaskObserved, ch *acs.ContainerStateChange) (changed bool) {
	i := slices.IndexFunc(o.Containers, func(c model.ContainerState) bool { return c.Name == ch.ContainerName })
	if i < 0 {
		i = len(o.Containers)
		o.Containers = append(o.Containers, model.ContainerState{Name: ch.ContainerName})
		changed = true
	}
	c := &o.Containers[i]
	set := func(b bool) { changed = changed || b }
	if rank(ch.Status) > rank(c.LastStatus) {
		c.LastStatus = ch.Status
		set(true)
	}
	set(first(&c.RuntimeID, ch.RuntimeID))
	set(first(&c.ImageDigest, ch.ImageDigest))
	set(first(&c.Reason, ch.Reason))
	set(latest(&c.HealthStatus, ch.HealthStatus))
	set(firstTime(&c.StoppedAt, ch.StoppedAt))
	if c.ExitCode == nil && ch.ExitCode != nil {
		c.ExitCode = new(int(*ch.ExitCode))
		set(true)
	}
	// A restarted container has a newer start.
	if ch.StartedAt != nil && (c.StartedAt.IsZero() || int(ch.RestartCount) > c.RestartCount) {
		c.StartedAt = ms(*ch.StartedAt)
		set(true)
	}
	if n := int(ch.RestartCount); n > c.RestartCount {
		c.RestartCount = n
		set(true)
	}
	if len(c.NetworkBindings) == 0 && len(ch.NetworkBindings) > 0 {
		for _, b := range ch.NetworkBindings {
			n := model.NetworkBinding{BindIP: b.BindIP, ContainerPortRange: b.ContainerPortRange, HostPortRange: b.HostPortRange, Protocol: b.Protocol}
			if b.HostPortRange == "" {
				n.ContainerPort, n.HostPort = new(int(b.ContainerPort)), new(int(b.HostPort))
			}
			c.NetworkBindings = append(c.NetworkBindings, n)
		}
		set(true)
	}
	return changed
}

func first(to *string, v string) bool {
	if *to != "" || v == "" {
		return false
	}
	*to = v
	return true
}

func latest(to *string, v string) bool {
	if v == "" || *to == v {
		return false
	}
	*to = v
	return true
}

func firstTime(to *time.Time, v *time.Time) bool {
	if !to.IsZero() || v == nil || v.IsZero() {
		return false
	}
	*to = ms(*v)
	return true
}

// ms is a time as records have it.
func ms(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
