package dispatch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// heartbeat is how often a session is shown to be alive; agents give up
	// after a minute.
	heartbeat = 30 * time.Second
	// lifetime of tasks' credentials, and how long before their end they are
	// replaced. AWS's last six hours.
	lifetime     = 6 * time.Hour
	refreshAhead = time.Hour
	// resend is how long a payload may stay unacknowledged.
	resend = 30 * time.Second
	// batch is how many tasks go into one payload.
	batch = 10
	// tasksService is the principal that task roles trust.
	tasksService = "ecs-tasks.amazonaws.com"
)

// session is one connection of a node. Its goroutine sends; another receives.
type session struct {
	d    *Dispatcher
	node string
	// instance is the ARN of the container instance; Fargate's has none.
	instance string
	conn     acs.Session
	// done is closed when the session has ended and is forgotten.
	done chan struct{}

	mu      sync.Mutex
	pending map[store.Key]bool
	acked   map[string]bool
	stops   []*acs.TaskStopVerificationMessage
	wake    chan struct{}

	// sent is what the node was told of each task; only the sending goroutine
	// uses it.
	sent map[store.Key]*told
}

// told is what a node was told of a task.
type told struct {
	desired string
	// message is the payload that told it, until it is acknowledged; at is
	// when it was sent.
	message string
	at      time.Time
	// expires is when the first of the task's credentials do; zero without.
	expires time.Time
	// failed is when making the message failed last.
	failed time.Time
	// attach is the message that told of the task's interface, until it is
	// acknowledged; attachAt is when it was sent, zero for never.
	attach   string
	attachAt time.Time
}

// open starts serving a session; it ends with the connection, with Run, or
// when the node opens another.
func (d *Dispatcher) open(node, instance string, conn acs.Session) (*session, error) {
	s := &session{
		d: d, node: node, instance: instance, conn: conn, done: make(chan struct{}), pending: map[store.Key]bool{}, acked: map[string]bool{},
		wake: make(chan struct{}, 1), sent: map[store.Key]*told{},
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.base.Err(); err != nil {
		return nil, err
	}
	for old := range d.sessions {
		if old.node == node {
			d.wg.Go(func() { _ = old.conn.Close() }) // its end may take a while
		}
	}
	d.sessions[s] = true
	for k := range d.nodes[node] {
		s.notify(k)
	}
	ctx, cancel := context.WithCancel(d.base)
	d.wg.Go(func() {
		defer cancel()
		s.receive(ctx)
	})
	d.wg.Go(func() {
		defer func() {
			cancel()
			_ = conn.Close()
			d.mu.Lock()
			delete(d.sessions, s)
			d.mu.Unlock()
			close(s.done)
		}()
		if err := s.send(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errClosed) {
			d.cfg.Log.Warn("the session with a node ended", "node", node, "error", err)
		}
	})
	return s, nil
}

// notify has the session look at a task.
func (s *session) notify(key store.Key) {
	s.mu.Lock()
	s.pending[key] = true
	s.mu.Unlock()
	s.poke()
}

func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) receive(ctx context.Context) {
	for {
		m, err := s.conn.Receive(ctx)
		if errors.Is(err, acs.ErrUnknownType) {
			continue
		}
		if err != nil {
			return
		}
		s.mu.Lock()
		switch m := m.(type) {
		case *acs.AckRequest:
			s.acked[m.MessageID] = true
		case *acs.TaskStopVerificationMessage:
			s.stops = append(s.stops, m)
		default:
			// Acknowledged heartbeats and credentials need nothing done.
		}
		s.mu.Unlock()
		s.poke()
	}
}

// send sends all the node's tasks and a manifest, then what changes.
func (s *session) send(ctx context.Context) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	if err := s.manifest(ctx); err != nil {
		return err
	}
	next := s.d.cfg.Clock.Now().Add(heartbeat)
	for {
		timer := s.d.cfg.Clock.NewTimer(next.Sub(s.d.cfg.Clock.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-s.wake:
			timer.Stop()
			if err := s.flush(ctx); err != nil {
				return err
			}
			if err := s.verify(ctx); err != nil {
				return err
			}
		case <-timer.C:
			next = s.d.cfg.Clock.Now().Add(heartbeat)
			if err := s.registered(ctx); err != nil {
				return err
			}
			if err := s.conn.Send(ctx, &acs.HeartbeatMessage{MessageID: id.UUID(), Healthy: true}); err != nil {
				return err
			}
			s.due()
			if err := s.flush(ctx); err != nil {
				return err
			}
			if err := s.refresh(ctx); err != nil {
				return err
			}
		}
	}
}

// registered fails once the container instance was deregistered.
func (s *session) registered(ctx context.Context) error {
	a, err := model.ParseARN(s.instance)
	if err != nil {
		return nil //nolint:nilerr // Fargate's node is no instance
	}
	err = s.d.Active(ctx, tables.ECSContainerInstances.Key(a.Account, a.Region, strings.TrimPrefix(a.Resource, "container-instance/")))
	if errors.Is(err, ErrInactive) {
		_ = s.conn.Send(ctx, &acs.CloseMessage{Message: "The container instance is inactive"})
	}
	return err
}

// due puts back the tasks whose payload was not acknowledged in time, or
// could not be made.
func (s *session) due() {
	now := s.d.cfg.Clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, t := range s.sent {
		if t.message != "" && s.acked[t.message] {
			t.message = ""
		}
		if t.attach != "" && s.acked[t.attach] {
			t.attach = ""
		}
		if t.attach != "" && now.Sub(t.attachAt) >= resend {
			t.attach, t.attachAt = "", time.Time{}
			s.pending[k] = true
		}
		late := t.message != "" && now.Sub(t.at) >= resend
		if late {
			t.desired, t.message = "", ""
		}
		if late || !t.failed.IsZero() {
			s.pending[k] = true
		}
	}
	clear(s.acked)
}

// flush sends payloads for the tasks that are pending.
func (s *session) flush(ctx context.Context) error {
	s.mu.Lock()
	keys := slices.Collect(maps.Keys(s.pending))
	clear(s.pending)
	s.mu.Unlock()
	slices.SortFunc(keys, func(a, b store.Key) int { return strings.Compare(a.String(), b.String()) })
	var tasks []acs.Task
	var of []store.Key
	for i, k := range keys {
		if err := s.attach(ctx, k); err != nil {
			return err
		}
		t, err := s.message(ctx, k)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.d.cfg.Log.Error("make a task's message", "task", k.ID, "error", err)
			s.tell(k).failed = s.d.cfg.Clock.Now()
		}
		if t != nil {
			tasks, of = append(tasks, *t), append(of, k)
		}
		if len(tasks) == batch || len(tasks) > 0 && i == len(keys)-1 {
			if err := s.payload(ctx, tasks, of); err != nil {
				return err
			}
			tasks, of = nil, nil
		}
	}
	return nil
}

func (s *session) payload(ctx context.Context, tasks []acs.Task, of []store.Key) error {
	now := s.d.cfg.Clock.Now()
	m := &acs.PayloadMessage{MessageID: id.UUID(), ClusterArn: tasks[0].TaskClusterArn, ContainerInstanceArn: s.instance, GeneratedAt: now.UnixMilli(), Tasks: tasks}
	for i, k := range of {
		t := s.tell(k)
		t.desired, t.message, t.at, t.failed = tasks[i].DesiredStatus, m.MessageID, now, time.Time{}
	}
	return s.conn.Send(ctx, m)
}

func (s *session) tell(k store.Key) *told {
	if s.sent[k] == nil {
		s.sent[k] = &told{}
	}
	return s.sent[k]
}

// message makes what the node is to be told of a task now, nil when it knows.
func (s *session) message(ctx context.Context, k store.Key) (*acs.Task, error) {
	row, err := tables.ECSTasks.Get(ctx, s.d.cfg.Store, k.Account, k.Region, k.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err != nil || row.V.Status.Node != s.node {
		// Not the node's any more, though it may run there.
		if t := s.sent[k]; t != nil && t.desired == acs.DesiredRunning {
			cluster, task, _ := strings.Cut(k.ID, "/")
			return &acs.Task{Arn: model.ECSTaskARN(k.Region, k.Account, cluster, task), DesiredStatus: acs.DesiredStopped}, nil
		}
		delete(s.sent, k)
		return nil, nil //nolint:nilnil // nothing to tell
	}
	if attaching(row.V) {
		return nil, nil //nolint:nilnil // what there is to tell, attach does
	}
	if !concerns(row.V) {
		delete(s.sent, k)
		return nil, nil //nolint:nilnil // nothing to tell
	}
	want := desired(row.V)
	if t := s.sent[k]; t != nil && t.desired == want {
		return nil, nil //nolint:nilnil // it was told
	}
	if want == acs.DesiredStopped {
		return &acs.Task{Arn: row.V.TaskARN, TaskClusterArn: row.V.ClusterARN, DesiredStatus: want}, nil
	}
	p, err := s.d.parts(ctx, row)
	if err == nil {
		p.Role, p.Execution, err = s.credentials(ctx, row)
	}
	if refused, ok := errors.AsType[*identity.CannotAssume](err); ok {
		return nil, s.d.refuse(ctx, row, refused)
	}
	if err != nil {
		return nil, err
	}
	return Translate(p)
}

// refuse ends a task whose role cannot be assumed.
func (d *Dispatcher) refuse(ctx context.Context, row store.Row[model.Task], e *identity.CannotAssume) error {
	return d.Submit(ctx, row.V.Status.Node, acs.TaskStateChange{
		Task: row.V.TaskARN, Status: acs.StatusStopped,
		Reason: "ECS was unable to assume the role '" + e.Role + "' that was provided for this task. Please verify that the role " +
			"being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role.",
	})
}

// credentials makes fresh ones for the task's roles.
func (s *session) credentials(ctx context.Context, row store.Row[model.Task]) (role, execution *acs.IAMRoleCredentials, err error) {
	t := row.V
	if role, err = s.mint(ctx, row, t.Spec.TaskRoleARN, t.Status.CredentialsID); err != nil {
		return nil, nil, err
	}
	execution, err = s.mint(ctx, row, t.Spec.ExecutionRoleARN, t.Status.ExecutionCredentialsID)
	return role, execution, err
}

func (s *session) mint(ctx context.Context, row store.Row[model.Task], roleARN, credentialsID string) (*acs.IAMRoleCredentials, error) {
	if roleARN == "" || credentialsID == "" || s.d.cfg.Credentials == nil {
		return nil, nil //nolint:nilnil // a task without the role
	}
	c, err := s.d.cfg.Credentials.MintRoleSession(ctx, roleARN, row.V.TaskID, tasksService, lifetime, map[string]string{
		"aws:SourceAccount": row.Key.Account, "aws:SourceArn": model.MakeARN("ecs", row.Key.Region, row.Key.Account, "*"),
	})
	if err != nil {
		return nil, fmt.Errorf("credentials of role %s: %w", roleARN, err)
	}
	told := s.tell(row.Key)
	if told.expires.IsZero() || c.Expires.Before(told.expires) {
		told.expires = c.Expires
	}
	return &acs.IAMRoleCredentials{
		CredentialsID: credentialsID, RoleArn: roleARN, AccessKeyID: c.AccessKeyID, SecretAccessKey: c.Secret,
		SessionToken: c.SessionToken, Expiration: c.Expires.UTC().Format(time.RFC3339),
	}, nil
}

// refresh replaces credentials that end soon.
func (s *session) refresh(ctx context.Context) error {
	now := s.d.cfg.Clock.Now()
	for k, t := range s.sent {
		if t.expires.IsZero() || t.desired != acs.DesiredRunning || now.Add(refreshAhead).Before(t.expires) {
			continue
		}
		row, err := tables.ECSTasks.Get(ctx, s.d.cfg.Store, k.Account, k.Region, k.ID)
		if err != nil {
			continue // the next change of the task tells
		}
		before := t.expires
		t.expires = time.Time{}
		role, execution, err := s.credentials(ctx, row)
		if err != nil {
			// The role may come back before the old ones end.
			s.d.cfg.Log.Warn("refresh a task's credentials", "task", k.ID, "error", err)
			t.expires = before
			continue
		}
		for roleType, c := range map[string]*acs.IAMRoleCredentials{acs.RoleTypeTaskApplication: role, acs.RoleTypeTaskExecution: execution} {
			if c == nil {
				continue
			}
			if err := s.conn.Send(ctx, &acs.IAMRoleCredentialsMessage{
				MessageID: id.UUID(), TaskArn: row.V.TaskARN, TaskClusterArn: row.V.ClusterARN, RoleType: roleType, RoleCredentials: c,
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// cluster is the ARN of the cluster that the container instance is of.
func (s *session) cluster() string {
	a, err := model.ParseARN(s.instance)
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(a.Resource, "container-instance/"), "/")
	return model.ECSClusterARN(a.Region, a.Account, name)
}

// manifest tells the node of all tasks that are its own.
func (s *session) manifest(ctx context.Context) error {
	m := &acs.TaskManifestMessage{MessageID: id.UUID(), ClusterArn: s.cluster(), ContainerInstanceArn: s.instance, GeneratedAt: s.d.cfg.Clock.Now().UnixMilli(), Timeline: s.d.nextTimeline()}
	for _, k := range s.d.tasksOf(s.node) {
		row, err := tables.ECSTasks.Get(ctx, s.d.cfg.Store, k.Account, k.Region, k.ID)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		m.Tasks = append(m.Tasks, acs.TaskIdentifier{TaskArn: row.V.TaskARN, TaskClusterArn: row.V.ClusterARN, DesiredStatus: desired(row.V)})
	}
	return s.conn.Send(ctx, m)
}

// verify answers which of the node's candidates are to be stopped: those that
// are not its own any more.
func (s *session) verify(ctx context.Context) error {
	s.mu.Lock()
	stops := s.stops
	s.stops = nil
	s.mu.Unlock()
	for _, m := range stops {
		ack := &acs.TaskStopVerificationAck{MessageID: m.MessageID, GeneratedAt: s.d.cfg.Clock.Now().UnixMilli()}
		for _, c := range m.StopCandidates {
			k, err := taskKey(c.TaskArn)
			if err == nil {
				row, err := tables.ECSTasks.Get(ctx, s.d.cfg.Store, k.Account, k.Region, k.ID)
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
				if err == nil && concerns(row.V) && row.V.Status.Node == s.node && desired(row.V) == acs.DesiredRunning {
					continue
				}
			}
			c.DesiredStatus = acs.DesiredStopped
			ack.StopTasks = append(ack.StopTasks, c)
		}
		if err := s.conn.Send(ctx, ack); err != nil {
			return err
		}
	}
	return nil
}

// parts reads the records that a task's message is made of.
func (d *Dispatcher) parts(ctx context.Context, row store.Row[model.Task]) (Parts, error) {
	account, region, s := row.Key.Account, row.Key.Region, d.cfg.Store
	p := Parts{Task: row.V, Region: region}
	defID, ok := model.TaskDefinitionIDFromARN(row.V.Spec.TaskDefinitionARN)
	if !ok {
		return p, fmt.Errorf("task definition %q is no ARN", row.V.Spec.TaskDefinitionARN)
	}
	def, err := tables.ECSTaskDefinitions.Get(ctx, s, account, region, defID)
	if err != nil {
		return p, fmt.Errorf("task definition: %w", err)
	}
	p.Definition = def.V
	a := row.V.ENI()
	if a == nil {
		return p, nil
	}
	eni, err := tables.NetworkInterfaces.Get(ctx, s, account, region, a.Detail("networkInterfaceId"))
	if err != nil {
		return p, fmt.Errorf("network interface: %w", err)
	}
	subnet, err := tables.Subnets.Get(ctx, s, account, region, eni.V.SubnetID)
	if err != nil {
		return p, fmt.Errorf("subnet: %w", err)
	}
	vpc, err := tables.VPCs.Get(ctx, s, account, region, eni.V.VPCID)
	if err != nil {
		return p, fmt.Errorf("VPC: %w", err)
	}
	p.Interface, p.Subnet, p.VPC = eni.V, subnet.V, vpc.V
	if o := vpc.V.DHCPOptionsID; o != "" && o != "default" {
		dhcp, err := tables.DHCPOptions.Get(ctx, s, account, region, o)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return p, fmt.Errorf("DHCP options: %w", err)
		}
		p.DHCP = dhcp.V
	}
	return p, nil
}
