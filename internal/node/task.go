package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/model/acs"
)

// task drives one task: its goroutine takes a step at a time, as next decides.
type task struct {
	node     *Node
	arn      string
	accepted time.Time

	// saving is held from a change until it is on disk, so that files follow
	// each other as the changes do.
	saving sync.Mutex
	mu     sync.Mutex
	state  *taskState
	// inbox is news from outside that the goroutine has not taken yet.
	inbox []func(*taskState)
	// secrets are the values that containers wait for, by container; they are
	// in no file, so a new process reads them again. envFiles are what their
	// environment files set, likewise.
	secrets  map[string]secretValues
	envFiles map[string]map[string]string
	// wake has one token when there is news.
	wake chan struct{}
	// report has one token when the state changed.
	report chan struct{}

	// up ends when the task is to stop: it limits pulls and starts.
	up     context.Context
	endUp  context.CancelFunc
	watch  map[string]context.CancelFunc // of running containers
	helper sync.WaitGroup
}

func newTask(n *Node, s *taskState) *task {
	return &task{
		node: n, arn: s.Task.Arn, accepted: s.AcceptedAt, state: s,
		secrets: map[string]secretValues{}, envFiles: map[string]map[string]string{}, wake: make(chan struct{}, 1), report: make(chan struct{}, 1), watch: map[string]context.CancelFunc{},
	}
}

// snapshot is the state as it is now.
func (t *task) snapshot() taskState {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state.clone()
}

// post hands the goroutine a change to make.
func (t *task) post(f func(*taskState)) {
	t.mu.Lock()
	t.inbox = append(t.inbox, f)
	t.mu.Unlock()
	poke(t.wake)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// news is what the control plane says of a task that is here: its end, or
// fresh credentials.
func (t *task) news(in *acs.Task) {
	if in.RoleCredentials != nil {
		t.node.creds.put(t.arn, in.RoleCredentials)
	}
	t.node.execution(t.arn, in.ExecutionRoleCredentials)
	stop := in.DesiredStatus == acs.DesiredStopped
	if !stop && in.RoleCredentials == nil && in.ExecutionRoleCredentials == nil {
		return
	}
	t.post(func(s *taskState) {
		if in.RoleCredentials != nil {
			s.Task.RoleCredentials = in.RoleCredentials
		}
		if in.ExecutionRoleCredentials != nil {
			s.Task.ExecutionRoleCredentials = in.ExecutionRoleCredentials
		}
		s.Stop = s.Stop || stop
	})
	if stop {
		t.mu.Lock()
		if t.endUp != nil {
			t.endUp()
		}
		t.mu.Unlock()
	}
}

// update changes the state, keeps it on disk and has it reported.
func (t *task) update(change func(*taskState)) {
	t.saving.Lock()
	defer t.saving.Unlock()
	t.mu.Lock()
	change(t.state)
	t.state.Sequence++
	s := t.state.clone()
	t.mu.Unlock()
	// The goroutine goes on with what it knows: a restart would repeat steps,
	// which are idempotent, or ask the engine.
	if err := t.node.files.save(&s); err != nil {
		t.node.cfg.Log.Error("keep a task's state", "task", t.arn, "error", err)
	}
	poke(t.report)
}

// run drives the task until it is gone or ctx ends.
func (t *task) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	t.mu.Lock()
	t.up, t.endUp = context.WithCancel(ctx)
	if t.state.Stop {
		t.endUp()
	}
	t.mu.Unlock()
	reported := make(chan struct{})
	t.helper.Go(func() { t.reporter(ctx, reported) })
	defer t.helper.Wait()
	defer cancel()
	poke(t.report)
	t.recover(ctx)
	delay := t.node.cfg.RetryDelay
	for ctx.Err() == nil {
		t.takeInbox()
		s := t.snapshot()
		d := next(&s, t.node.cfg.Clock.Now())
		switch d.action {
		case wait:
			t.sleep(ctx, d.wake)
			continue
		case finished:
			select {
			case <-reported:
				t.forget()
				return
			case <-ctx.Done():
				return
			}
		default:
		}
		err := t.step(ctx, &s, d)
		if err == nil {
			delay = t.node.cfg.RetryDelay
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if t.up.Err() == nil || d.action == stopContainers || d.action == cleanUp {
			t.node.cfg.Log.Warn("a step of a task failed and is tried again", "task", t.arn, "error", err)
			t.sleep(ctx, t.node.cfg.Clock.Now().Add(delay))
			delay = min(2*delay, 30*time.Second)
		}
	}
}

// sleep waits for news, or until the time unless that is zero.
func (t *task) sleep(ctx context.Context, until time.Time) {
	var expired <-chan time.Time
	if !until.IsZero() {
		timer := t.node.cfg.Clock.NewTimer(until.Sub(t.node.cfg.Clock.Now()))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-ctx.Done():
	case <-t.wake:
	case <-expired:
	}
}

func (t *task) takeInbox() {
	t.mu.Lock()
	in := t.inbox
	t.inbox = nil
	t.mu.Unlock()
	if len(in) == 0 {
		return
	}
	t.update(func(s *taskState) {
		for _, f := range in {
			f(s)
		}
	})
}

// recover looks at the containers that an earlier process left: they run, or
// ended meanwhile.
func (t *task) recover(ctx context.Context) {
	s := t.snapshot()
	if s.Resources && !s.Cleaned {
		// The engine forgets limits that it was about to change, and a machine
		// that was restarted forgets them all.
		if err := t.node.ensureGroup(ctx, &s.Task); err != nil {
			t.node.cfg.Log.Warn("put a task's limits in force again", "task", t.arn, "error", err)
		}
	}
	for _, c := range s.Containers {
		if c.Step != stepCreated && c.Step != stepRunning {
			continue
		}
		x, err := t.node.cfg.Engine.InspectContainer(ctx, c.ID)
		switch {
		case errors.Is(err, engine.ErrNotFound) && c.Step == stepRunning:
			t.exit(c.Name, engine.Exit{Code: 255, At: t.node.cfg.Clock.Now(), Lost: true})
		case errors.Is(err, engine.ErrNotFound):
			t.update(func(s *taskState) { s.container(c.Name).Step = stepPulled })
		case err != nil:
			// Wait tells, once the engine answers.
			if c.Step == stepRunning {
				t.watchContainer(ctx, c.Name)
			}
		case x.Status == engine.Created && c.Step == stepRunning:
			t.exit(c.Name, engine.Exit{Code: 255, At: t.node.cfg.Clock.Now(), Lost: true})
		case x.Status != engine.Created:
			// Started for certain, though the process may have ended before it
			// could write that down; Wait returns at once if it ended.
			if c.Step == stepCreated {
				t.started(c.Name, x.CreatedAt)
			}
			t.watchContainer(ctx, c.Name)
		}
	}
}

// step does what was decided. An error means that it is tried again; what can
// never succeed ends the task instead and is no error.
func (t *task) step(ctx context.Context, s *taskState, d decision) error {
	switch d.action {
	case prepare:
		return t.prepare(s, d.containers)
	case create:
		return t.create(s, d.containers[0])
	case start:
		return t.start(ctx, d.containers)
	case restart:
		t.update(func(s *taskState) {
			c := s.container(d.containers[0])
			c.Step, c.ExitCode, c.Reason = stepCreated, nil, ""
			c.RestartCount++
			c.Health = initialHealth(s.definition(c.Name))
		})
		return nil
	case fail:
		t.fail(d.reason, "", d.containers...)
		return nil
	case stopContainers:
		return t.stop(ctx, d.containers)
	case cleanUp:
		return t.cleanUp(ctx, s)
	case wait, finished:
	}
	return nil
}

// fail ends the task for a reason; the containers named get their own.
func (t *task) fail(reason, containerReason string, containers ...string) {
	if containerReason == "" {
		containerReason = reason
	}
	t.update(func(s *taskState) {
		s.Stop = true
		if s.Reason == "" {
			s.Reason = reason
		}
		for _, name := range containers {
			if c := s.container(name); c.Reason == "" {
				c.Reason = containerReason
			}
		}
		if s.ExecutionStoppedAt.IsZero() {
			s.ExecutionStoppedAt = t.node.cfg.Clock.Now()
		}
	})
	t.endUp()
}

// prepare makes what the containers stand on: the resources, and the images of
// those named. Neither needs the other.
func (t *task) prepare(s *taskState, names []string) error {
	g, ctx := errgroup.WithContext(t.up)
	if !s.Resources {
		g.Go(func() error { return t.makeResources(ctx, s) })
	}
	if len(names) > 0 {
		g.Go(func() error { return t.pull(ctx, s, names) })
	}
	err := g.Wait()
	if f, ok := errors.AsType[*failure](err); ok {
		t.fail(f.reason, "", f.containers...)
		return nil
	}
	return err
}

// failure is an end of a step that ends the task, and the containers that it
// is about.
type failure struct {
	reason     string
	containers []string
}

func (f *failure) Error() string { return f.reason }

func (t *task) makeResources(ctx context.Context, s *taskState) error {
	net, err := t.node.makeResources(ctx, &s.Task, s.Containers)
	refused, ok := errors.AsType[*ContainerError](err)
	switch {
	case err == nil:
		t.update(func(s *taskState) {
			s.Resources, s.NetNS = true, net.Netns
			for i := range s.Containers {
				if p, ok := net.Containers[s.Containers[i].Name]; ok {
					s.Containers[i].Place = &p
				}
			}
		})
		return nil
	case ok:
		return &failure{refused.Reason, []string{refused.Container}}
	case ctx.Err() != nil:
		return err
	default:
		return &failure{reason: "ResourceInitializationError: " + err.Error()}
	}
}

// pull pulls the images of the containers at the same time.
func (t *task) pull(ctx context.Context, s *taskState, names []string) error {
	if s.PullStartedAt.IsZero() {
		t.update(func(s *taskState) { s.PullStartedAt = t.node.cfg.Clock.Now() })
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, name := range names {
		def := s.definition(name)
		g.Go(func() error {
			img, err := t.pullOne(gctx, &s.Task, def)
			if err != nil {
				return err
			}
			t.mu.Lock()
			defer t.mu.Unlock()
			c := t.state.container(name)
			c.ImageDigest, c.ImageID, c.Step = img.Digest, img.ID, stepPulled
			return nil
		})
	}
	err := g.Wait()
	if ctx.Err() == nil {
		t.update(func(s *taskState) { s.PullStoppedAt = t.node.cfg.Clock.Now() })
	}
	return err
}

// pullRetries is how often a pull that failed for another reason than a
// refusal is tried again.
const pullRetries = 2

func (t *task) pullOne(ctx context.Context, task *acs.Task, c *acs.Container) (engine.Image, error) {
	if _, err := t.secretsOf(ctx, task, c); err != nil {
		if ctx.Err() != nil {
			return engine.Image{}, ctx.Err()
		}
		return engine.Image{}, &failure{noSecrets + err.Error(), []string{c.Name}}
	}
	if _, err := t.envFilesOf(ctx, task, c); err != nil {
		if ctx.Err() != nil {
			return engine.Image{}, ctx.Err()
		}
		return engine.Image{}, &failure{noEnvFiles + err.Error(), []string{c.Name}}
	}
	var auth *engine.RegistryAuth
	if t.node.cfg.Registries != nil {
		var err error
		if auth, err = t.node.cfg.Registries.ForImage(ctx, task, c); err != nil {
			if ctx.Err() != nil {
				return engine.Image{}, ctx.Err()
			}
			return engine.Image{}, &failure{noSecrets + "unable to retrieve " + authKind(c) + ": service call has been retried 1 time(s): " + err.Error(), []string{c.Name}}
		}
	}
	delay := t.node.cfg.RetryDelay
	for try := 0; ; try++ {
		img, err := t.node.cfg.Engine.PullImage(ctx, engine.PullRequest{Ref: c.Image, Auth: auth, IfNotPresent: t.node.cfg.CachedImages})
		if err == nil {
			return img, nil
		}
		if ctx.Err() != nil {
			return engine.Image{}, ctx.Err()
		}
		if errors.Is(err, engine.ErrNotFound) || errors.Is(err, engine.ErrRejected) || try == pullRetries {
			return engine.Image{}, &failure{fmt.Sprintf(
				"CannotPullContainerError: pull image manifest has been retried %d time(s): %s", try+1, err), []string{c.Name}}
		}
		if !clock.Sleep(ctx, t.node.cfg.Clock, delay) {
			return engine.Image{}, ctx.Err()
		}
		delay *= 2
	}
}

// authKind is what AWS calls the credentials of a container's image.
func authKind(c *acs.Container) string {
	if a := c.RegistryAuthentication; a != nil && a.Type == acs.RegistryAuthASM {
		return "secret from asm"
	}
	return "ecr registry auth"
}

func (t *task) create(s *taskState, name string) error {
	def, c := s.definition(name), s.container(name)
	secrets, err := t.secretsOf(t.up, &s.Task, def)
	if err != nil {
		if t.up.Err() != nil {
			return err
		}
		t.fail(noSecrets+err.Error(), "", name)
		return nil
	}
	files, err := t.envFilesOf(t.up, &s.Task, def)
	if err != nil {
		if t.up.Err() != nil {
			return err
		}
		t.fail(noEnvFiles+err.Error(), "", name)
		return nil
	}
	uri, err := t.openLog(s, def, c, secrets)
	if err != nil {
		if t.up.Err() != nil {
			return err
		}
		t.fail("ResourceInitializationError: "+err.Error(), "", name)
		return nil
	}
	spec, err := containerSpec(&s.Task, def, c, specContext{
		node: t.node.cfg.Name, netns: s.netns(c), files: t.node.dir(t.arn), shared: t.node.sharedVolumes(), hostname: hostname(&s.Task, c),
		env: append(t.node.environment(&s.Task, c.ID), linkEnvironment(s, def)...), envFiles: files, secrets: secrets.env, logURI: uri,
	})
	if err == nil {
		err = t.node.cfg.Engine.CreateContainer(t.up, spec)
	}
	if errors.Is(err, engine.ErrExists) {
		err = nil
	}
	if err != nil {
		if t.up.Err() != nil {
			return err
		}
		t.fail("CannotCreateContainerError: "+err.Error(), "", name)
		return nil
	}
	t.forgetSecrets(name)
	t.update(func(s *taskState) {
		c := s.container(name)
		c.Step, c.CreatedAt = stepCreated, t.node.cfg.Clock.Now()
	})
	return nil
}

func (t *task) openLog(s *taskState, def *acs.Container, c *containerState, secrets secretValues) (string, error) {
	_, host, err := def.DockerConfig.Parse()
	if err != nil || host.LogConfig == nil || t.node.cfg.Logs == nil {
		return "", err
	}
	options := map[string]string{}
	maps.Copy(options, host.LogConfig.Config)
	maps.Copy(options, secrets.log)
	target := LogTarget{
		TaskArn: t.arn, ContainerName: def.Name, ContainerID: c.ID, Driver: host.LogConfig.Type, Options: options,
		Execution: s.Task.ExecutionRoleCredentials,
	}
	return t.node.cfg.Logs.Open(t.up, target)
}

// start starts containers at the same time.
func (t *task) start(ctx context.Context, names []string) error {
	s := t.snapshot()
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		id := s.container(name).ID
		wg.Go(func() { errs[i] = t.node.cfg.Engine.StartContainer(t.up, id) })
	}
	wg.Wait()
	var again error
	for i, name := range names {
		switch err := errs[i]; {
		case err == nil:
			t.started(name, t.node.cfg.Clock.Now())
			t.watchContainer(ctx, name)
		case t.up.Err() != nil:
			// It may have started all the same: recover asks the engine.
			t.recover(ctx)
			return err
		case errors.Is(err, engine.ErrRejected):
			t.fail("CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: "+err.Error(), "", name)
		default:
			again = err
		}
	}
	return again
}

func (t *task) started(name string, at time.Time) {
	t.update(func(s *taskState) {
		c := s.container(name)
		c.Step, c.Started, c.StartedAt, c.FinishedAt = stepRunning, true, at, time.Time{}
		if s.StartedAt.IsZero() && s.status() == acs.StatusRunning {
			s.StartedAt = at
		}
	})
}

// exit notes the end of a container.
func (t *task) exit(name string, e engine.Exit) {
	t.mu.Lock()
	if end := t.watch[name]; end != nil {
		end()
		delete(t.watch, name)
	}
	t.mu.Unlock()
	t.update(func(s *taskState) {
		c := s.container(name)
		if c.Step == stepStopped {
			return
		}
		code := int32(e.Code)
		c.Step, c.ExitCode, c.FinishedAt = stepStopped, &code, e.At
		if !c.Started { // seen only by recover
			c.Started, c.StartedAt = true, e.At
		}
		if e.OOMKilled {
			c.Reason = "OutOfMemoryError: Container killed due to memory usage"
		}
		d := s.definition(name)
		if d.Essential && s.ExecutionStoppedAt.IsZero() && !restarts(d.RestartPolicy, c) {
			s.ExecutionStoppedAt = e.At
		}
	})
}

// defaultStopTimeout is Fargate's, and the published agent's.
const defaultStopTimeout = 30 * time.Second

// stop stops containers at the same time.
func (t *task) stop(ctx context.Context, names []string) error {
	s := t.snapshot()
	errs := make([]error, len(names))
	exits := make([]engine.Exit, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		id, def := s.container(name).ID, s.definition(name)
		wg.Go(func() {
			timeout := t.node.cfg.StopTimeout
			if def.StopTimeout > 0 {
				timeout = time.Duration(def.StopTimeout) * time.Second
			}
			err := t.node.cfg.Engine.StopContainer(ctx, id, timeout)
			if err == nil {
				exits[i], err = t.node.cfg.Engine.Wait(ctx, id)
			}
			if errors.Is(err, engine.ErrNotFound) || errors.Is(err, engine.ErrNotRunning) {
				exits[i], err = engine.Exit{Code: 255, At: t.node.cfg.Clock.Now(), Lost: true}, nil
			}
			errs[i] = err
		})
	}
	wg.Wait()
	for i, name := range names {
		if errs[i] == nil {
			t.exit(name, exits[i])
		}
	}
	return errors.Join(errs...)
}

// cleanUp removes the containers and what makeResources made. What cannot be
// removed is tried a few times, then left to the log: the task has ended.
func (t *task) cleanUp(ctx context.Context, s *taskState) error {
	var err error
	delay := t.node.cfg.RetryDelay
	for range 5 {
		err = nil
		for _, c := range s.Containers {
			if c.Step >= stepPulled {
				err = errors.Join(err, t.node.cfg.Engine.RemoveContainer(ctx, c.ID))
			}
		}
		if err == nil {
			err = t.node.removeResources(ctx, &s.Task)
		}
		if err == nil {
			break
		}
		if !clock.Sleep(ctx, t.node.cfg.Clock, delay) {
			return ctx.Err()
		}
		delay *= 2
	}
	if err != nil {
		t.node.cfg.Log.Error("something of a task is left behind", "task", t.arn, "error", err)
	}
	t.update(func(s *taskState) {
		s.Cleaned = true
		for i := range s.Containers {
			s.Containers[i].Step = stepStopped
		}
		if s.ExecutionStoppedAt.IsZero() {
			s.ExecutionStoppedAt = t.node.cfg.Clock.Now()
		}
	})
	return nil
}

// forget drops what is left of a task whose end was reported.
func (t *task) forget() {
	t.node.creds.drop(t.arn)
	for _, c := range t.snapshot().Containers {
		t.node.readings.drop(c.ID)
	}
	if err := t.node.files.remove(t.arn); err != nil {
		t.node.cfg.Log.Error("remove a task's state", "task", t.arn, "error", err)
	}
}

// reporter reports every change until the end is reported too, which closes
// reported.
func (t *task) reporter(ctx context.Context, reported chan<- struct{}) {
	delay := t.node.cfg.RetryDelay
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.report:
		}
		s := t.snapshot()
		if s.Sequence == s.Acked && !s.done() {
			continue
		}
		err := t.node.cfg.Transport.SubmitTaskStateChange(ctx, s.change())
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, acs.ErrUnknownTask):
			if !s.Stop {
				t.node.cfg.Log.Warn("the control plane does not know a task: it is stopped", "task", t.arn)
				t.news(&acs.Task{Arn: t.arn, DesiredStatus: acs.DesiredStopped})
			}
		case err != nil:
			t.node.cfg.Log.Warn("report a task", "task", t.arn, "error", err)
			if !clock.Sleep(ctx, t.node.cfg.Clock, delay) {
				return
			}
			delay = min(2*delay, time.Minute)
			poke(t.report)
			continue
		}
		delay = t.node.cfg.RetryDelay
		t.mu.Lock()
		t.state.Acked = max(t.state.Acked, s.Sequence)
		t.mu.Unlock()
		if s.done() {
			close(reported)
			return
		}
	}
}
