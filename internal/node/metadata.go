package node

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"roadstead.dev/internal/model/acs"
)

// Metadata serves the task metadata endpoint (versions 3 and 4) and the
// credentials of task roles to the tasks whose interfaces are in the VPC. Who
// asks is told by the source address, which the network does not let anyone
// forge; a task sees itself alone. The paths are AWS's:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html
func (n *Node) Metadata(vpcID string) http.Handler {
	return (&metadata{node: n, vpc: vpcID}).handler()
}

// MachineMetadata is Metadata for tasks that share their machine's address: as
// with the agent that AWS publishes, who knows an id, which nobody can guess,
// is taken for whom it belongs to.
func (n *Node) MachineMetadata() http.Handler {
	return (&metadata{node: n, byID: true}).handler()
}

func (m *metadata) handler() http.Handler {
	mux, h := http.NewServeMux(), m
	for _, v := range []string{"v3", "v4"} {
		for path, serve := range map[string]func(http.ResponseWriter, *http.Request, *caller){
			"": h.container, "/task": h.task, "/taskWithTags": h.taskWithTags, "/stats": h.stats, "/task/stats": h.taskStats,
		} {
			mux.HandleFunc("GET /"+v+"/{id}"+path, h.identified(v == "v4", serve))
		}
	}
	mux.HandleFunc("GET /v2/credentials/{id}", h.credentials)
	mux.HandleFunc("GET /v2/credentials", h.credentials)
	mux.HandleFunc("GET /v2/credentials/", h.credentials)
	return mux
}

type metadata struct {
	node *Node
	vpc  string
	// byID finds tasks by the ids in paths alone.
	byID bool
}

// caller is a container that asks.
type caller struct {
	state taskState
	name  string
	v4    bool
}

// owner finds the task of a request's source address.
func (m *metadata) owner(r *http.Request) *task {
	if m.byID {
		return m.named(r.PathValue("id"))
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	ip := addr.Unmap().String()
	for _, t := range m.node.list() {
		s := t.snapshot()
		if s.Cleaned {
			continue
		}
		for _, e := range s.Task.ElasticNetworkInterfaces {
			if e.VPCID != m.vpc {
				continue
			}
			if slices.ContainsFunc(e.IPv4Addresses, func(a acs.IPv4AddressAssignment) bool { return a.PrivateAddress == ip }) ||
				slices.ContainsFunc(e.IPv6Addresses, func(a acs.IPv6AddressAssignment) bool { return a.Address == ip }) {
				return t
			}
		}
	}
	return nil
}

// named finds the task that a container's or credentials' id belongs to.
func (m *metadata) named(id string) *task {
	if c, ok := m.node.creds.get(id); ok {
		return m.node.task(c.task)
	}
	for _, t := range m.node.list() {
		if slices.ContainsFunc(t.snapshot().Containers, func(c containerState) bool { return c.ID == id }) {
			return t
		}
	}
	return nil
}

// identified finds the container of the path, which must be of the task that
// asks.
func (m *metadata) identified(v4 bool, serve func(http.ResponseWriter, *http.Request, *caller)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t := m.owner(r)
		if t == nil {
			writeJSON(w, http.StatusNotFound, "unable to find the task of address "+r.RemoteAddr)
			return
		}
		s := t.snapshot()
		i := slices.IndexFunc(s.Containers, func(c containerState) bool { return c.ID == r.PathValue("id") })
		if i < 0 {
			writeJSON(w, http.StatusNotFound, "unable to get container ID from request: unable to get docker ID from v3 endpoint ID: "+r.PathValue("id"))
			return
		}
		serve(w, r, &caller{state: s, name: s.Containers[i].Name, v4: v4})
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`"internal error"`)
	}
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that went away
}

// credentialsError is the body of a refusal.
type credentialsError struct {
	Code          string `json:"code"`
	Message       string `json:"message"`
	HTTPErrorCode int    `json:"HTTPErrorCode"`
}

func (m *metadata) credentials(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code, message string) {
		writeJSON(w, status, credentialsError{code, "CredentialsV2Request: " + message, status})
	}
	id := r.PathValue("id")
	if id == "" {
		refuse(http.StatusBadRequest, "NoIdInRequest", "No Credential ID in the request")
		return
	}
	t := m.owner(r)
	c, ok := m.node.creds.get(id)
	if t == nil || !ok || c.task != t.arn {
		refuse(http.StatusBadRequest, "InvalidIdInRequest", "Credentials not found")
		return
	}
	if c.AccessKeyID == "" {
		refuse(http.StatusServiceUnavailable, "CredentialsUninitialized", "Credentials uninitialized for ID")
		return
	}
	writeJSON(w, http.StatusOK, struct {
		RoleArn         string
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		Token           string
		Expiration      string
	}{c.RoleArn, c.AccessKeyID, c.SecretAccessKey, c.SessionToken, c.Expiration})
}

// metadataTask is the answer of /task.
type metadataTask struct {
	Cluster               string
	TaskARN               string
	Family                string
	Revision              string
	ServiceName           string `json:",omitempty"`
	DesiredStatus         string
	KnownStatus           string
	Limits                *taskLimits `json:",omitempty"`
	PullStartedAt         *time.Time  `json:",omitempty"`
	PullStoppedAt         *time.Time  `json:",omitempty"`
	ExecutionStoppedAt    *time.Time  `json:",omitempty"`
	AvailabilityZone      string      `json:",omitempty"`
	LaunchType            string      `json:",omitempty"`
	VPCID                 string      `json:",omitempty"`
	TaskTags              any         `json:",omitempty"`
	Containers            []metadataContainer
	FaultInjectionEnabled bool
}

type taskLimits struct {
	CPU    float64 `json:",omitempty"`
	Memory int64   `json:",omitempty"`
}

// metadataContainer is the answer for one container.
type metadataContainer struct {
	DockerID      string `json:"DockerId"`
	Name          string
	DockerName    string
	Image         string
	ImageID       string
	Ports         []metadataPort    `json:",omitempty"`
	Labels        map[string]string `json:",omitempty"`
	DesiredStatus string
	KnownStatus   string
	ExitCode      *int32 `json:",omitempty"`
	Limits        containerLimits
	CreatedAt     *time.Time `json:",omitempty"`
	StartedAt     *time.Time `json:",omitempty"`
	FinishedAt    *time.Time `json:",omitempty"`
	Type          string
	Health        *metadataHealth   `json:",omitempty"`
	Volumes       []metadataVolume  `json:",omitempty"`
	LogDriver     string            `json:",omitempty"`
	LogOptions    map[string]string `json:",omitempty"`
	ContainerARN  string            `json:",omitempty"`
	RestartCount  *int32            `json:",omitempty"`
	Networks      []metadataNetwork `json:",omitempty"`
}

type metadataPort struct {
	ContainerPort int32
	Protocol      string
	HostPort      int32  `json:",omitempty"`
	HostIP        string `json:"HostIp,omitempty"`
}

type containerLimits struct {
	CPU    int64
	Memory int64 `json:",omitempty"`
}

type metadataHealth struct {
	Status   string     `json:"status"`
	Since    *time.Time `json:"statusSince,omitempty"`
	ExitCode int32      `json:"exitCode,omitempty"`
	Output   string     `json:"output,omitempty"`
}

type metadataVolume struct {
	DockerName  string `json:",omitempty"`
	Source      string `json:",omitempty"`
	Destination string
}

type metadataNetwork struct {
	NetworkMode              string
	IPv4Addresses            []string `json:",omitempty"`
	IPv6Addresses            []string `json:",omitempty"`
	AttachmentIndex          *int32   `json:",omitempty"`
	MACAddress               string   `json:",omitempty"`
	IPv4SubnetCIDRBlock      string   `json:",omitempty"`
	DomainNameServers        []string `json:",omitempty"`
	DomainNameSearchList     []string `json:",omitempty"`
	PrivateDNSName           string   `json:",omitempty"`
	SubnetGatewayIPv4Address string   `json:"SubnetGatewayIpv4Address,omitempty"`
}

func (m *metadata) container(w http.ResponseWriter, _ *http.Request, c *caller) {
	writeJSON(w, http.StatusOK, describeContainer(&c.state, c.state.container(c.name), c.v4))
}

func (m *metadata) task(w http.ResponseWriter, _ *http.Request, c *caller) {
	writeJSON(w, http.StatusOK, describeTask(&c.state, c.v4))
}

func (m *metadata) taskWithTags(w http.ResponseWriter, r *http.Request, c *caller) {
	d := describeTask(&c.state, c.v4)
	if m.node.cfg.Tags != nil {
		tags, err := m.node.cfg.Tags(r.Context(), d.TaskARN)
		if err != nil {
			m.node.cfg.Log.Warn("read a task's tags", "task", d.TaskARN, "error", err)
		} else {
			d.TaskTags = tags
		}
	}
	writeJSON(w, http.StatusOK, d)
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func describeTask(s *taskState, v4 bool) metadataTask {
	t := &s.Task
	d := metadataTask{
		Cluster: t.TaskClusterArn, TaskARN: t.Arn, Family: t.Family, Revision: t.Version,
		DesiredStatus: acs.DesiredRunning, KnownStatus: knownStatus(s),
		PullStartedAt: when(s.PullStartedAt), PullStoppedAt: when(s.PullStoppedAt), ExecutionStoppedAt: when(s.ExecutionStoppedAt),
		AvailabilityZone: t.Zone, FaultInjectionEnabled: t.EnableFaultInjection,
	}
	if s.Stop {
		d.DesiredStatus = acs.DesiredStopped
	}
	if t.CPU > 0 || t.Memory > 0 {
		d.Limits = &taskLimits{t.CPU, t.Memory}
	}
	if v4 {
		d.LaunchType, d.ServiceName = t.LaunchType, t.ServiceName
		for _, e := range t.ElasticNetworkInterfaces {
			d.VPCID = e.VPCID
		}
	}
	for i := range s.Containers {
		d.Containers = append(d.Containers, describeContainer(s, &s.Containers[i], v4))
	}
	return d
}

// knownStatus follows the containers, which know CREATED and PULLED too.
func knownStatus(s *taskState) string {
	known := acs.StatusRunning
	for i := range s.Containers {
		if k := s.Containers[i].known(); k != acs.StatusStopped && k != acs.StatusRunning {
			return acs.StatusPending
		}
	}
	if s.Cleaned {
		known = acs.StatusStopped
	}
	return known
}

func (c *containerState) known() string {
	switch c.Step {
	case stepPulled:
		return "PULLED"
	case stepCreated:
		return "CREATED"
	case stepRunning:
		return acs.StatusRunning
	case stepStopped:
		return acs.StatusStopped
	case stepNone:
	}
	return "NONE"
}

func describeContainer(s *taskState, c *containerState, v4 bool) metadataContainer {
	def := s.definition(c.Name)
	config, host, _ := def.DockerConfig.Parse() // was decoded before it ran
	d := metadataContainer{
		DockerID: c.ID, Name: c.Name, DockerName: c.Name, Image: def.Image, ImageID: c.ImageID,
		Labels: labels(&s.Task, def, config, ""), DesiredStatus: acs.DesiredRunning, KnownStatus: c.known(),
		Limits: containerLimits{max(2, def.CPU), def.Memory}, CreatedAt: when(c.CreatedAt), StartedAt: when(c.StartedAt),
		FinishedAt: when(c.FinishedAt), Type: "NORMAL", Networks: networks(s, c, v4),
	}
	delete(d.Labels, labelNode)
	if s.Stop {
		d.DesiredStatus = acs.DesiredStopped
	}
	if c.Step == stepStopped {
		d.ExitCode = c.ExitCode
	}
	if c.Health != "" {
		d.Health = &metadataHealth{Status: c.Health, Since: when(c.HealthSince), ExitCode: c.HealthExit, Output: c.HealthOutput}
	}
	d.Ports = ports(def, c)
	if points, err := mountPoints(&s.Task, def, nil); err == nil {
		for _, p := range points {
			d.Volumes = append(d.Volumes, metadataVolume{DockerName: p.SourceVolume, Destination: p.ContainerPath})
		}
	}
	if !v4 {
		return d
	}
	d.ContainerARN = def.ContainerArn
	if host.LogConfig != nil {
		d.LogDriver, d.LogOptions = host.LogConfig.Type, host.LogConfig.Config
	}
	if def.RestartPolicy != nil && def.RestartPolicy.Enabled {
		d.RestartCount = &c.RestartCount
	}
	return d
}

// stats answers with Docker's statistics of the container.
func (m *metadata) stats(w http.ResponseWriter, r *http.Request, c *caller) {
	s, err := m.dockerStats(r, c.state.container(c.name))
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, "Unable to get container stats for: "+c.state.container(c.name).ID)
		return
	}
	writeJSON(w, http.StatusOK, s)
}

// taskStats answers with those of all containers by their ids; null for one
// that does not run.
func (m *metadata) taskStats(w http.ResponseWriter, r *http.Request, c *caller) {
	all := map[string]*dockerStats{}
	for i := range c.state.Containers {
		x := &c.state.Containers[i]
		all[x.ID] = nil
		if s, err := m.dockerStats(r, x); err == nil {
			all[x.ID] = s
		}
	}
	writeJSON(w, http.StatusOK, all)
}
