package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/jsonfile"
)

// Machine is what the agent knows of the machine that it runs on.
type Machine struct {
	// CPU units and Memory in MiB.
	CPU, Memory  int
	Architecture string // x86_64, arm64
	// Document and Signature are the instance's identity; empty off EC2.
	Document, Signature string
	VPCID, SubnetID     string
}

// Capabilities of this agent, by the names that task definitions ask for.
var capabilities = []string{
	"com.amazonaws.ecs.capability.privileged-container", "com.amazonaws.ecs.capability.ecr-auth", "com.amazonaws.ecs.capability.task-iam-role",
	"com.amazonaws.ecs.capability.task-iam-role-network-host", "com.amazonaws.ecs.capability.docker-remote-api.1.17",
	"com.amazonaws.ecs.capability.docker-remote-api.1.18", "com.amazonaws.ecs.capability.docker-remote-api.1.19",
	"com.amazonaws.ecs.capability.docker-remote-api.1.21", "com.amazonaws.ecs.capability.docker-remote-api.1.22",
	"com.amazonaws.ecs.capability.docker-remote-api.1.24", "com.amazonaws.ecs.capability.docker-remote-api.1.25",
	"com.amazonaws.ecs.capability.docker-remote-api.1.29", "ecs.capability.execution-role-ecr-pull", "ecs.capability.container-health-check",
	"ecs.capability.container-ordering", "ecs.capability.task-cpu-mem-limit", "ecs.capability.pid-ipc-namespace-sharing",
	"ecs.capability.full-sync", "ecs.capability.container-restart-policy",
	"com.amazonaws.ecs.capability.logging-driver.awslogs", "com.amazonaws.ecs.capability.logging-driver.none", "ecs.capability.execution-role-awslogs",
	"ecs.capability.secrets.asm.environment-variables", "ecs.capability.secrets.ssm.environment-variables",
	"ecs.capability.secrets.asm.bootstrap.log-driver", "ecs.capability.secrets.ssm.bootstrap.log-driver",
	"ecs.capability.private-registry-authentication.secretsmanager", "ecs.capability.docker-plugin.local",
	"ecs.capability.env-files.s3",
}

type (
	attribute struct {
		Name  string `json:"name"`
		Value string `json:"value,omitempty"`
	}
	resource struct {
		Name           string   `json:"name"`
		Type           string   `json:"type"`
		IntegerValue   int      `json:"integerValue"`
		StringSetValue []string `json:"stringSetValue,omitempty"`
	}
	tag struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	registration struct {
		Cluster              string      `json:"cluster"`
		ContainerInstanceArn string      `json:"containerInstanceArn,omitempty"`
		Document             string      `json:"instanceIdentityDocument,omitempty"`
		Signature            string      `json:"instanceIdentityDocumentSignature,omitempty"`
		TotalResources       []resource  `json:"totalResources"`
		Attributes           []attribute `json:"attributes"`
		Tags                 []tag       `json:"tags,omitempty"`
	}
)

// identity is what the agent keeps of its registration.
type identity struct {
	Cluster              string `json:"cluster"`
	ContainerInstanceArn string `json:"containerInstanceArn"`
}

func (a *Agent) identityFile() string { return filepath.Join(a.cfg.StateDir, "agent.json") }

// known is the registration of before, if there was one in this cluster.
func (a *Agent) known() (identity, error) {
	var id identity
	if a.cfg.StateDir == "" {
		return id, nil
	}
	b, err := os.ReadFile(a.identityFile())
	if errors.Is(err, fs.ErrNotExist) {
		return id, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &id)
	}
	if err != nil {
		return identity{}, fmt.Errorf("read the agent's state: %w", err)
	}
	if id.Cluster != a.cfg.Settings.Cluster {
		return identity{}, nil
	}
	return id, nil
}

func (a *Agent) remember(id identity) error {
	if a.cfg.StateDir == "" {
		return nil
	}
	return jsonfile.Write(a.identityFile(), id)
}

func (a *Agent) registration(arn string) registration {
	s, m := a.cfg.Settings, a.cfg.Machine
	number := func(name string, n int) resource { return resource{Name: name, Type: "INTEGER", IntegerValue: n} }
	set := func(name string, ports []int) resource {
		r := resource{Name: name, Type: "STRINGSET"}
		for _, p := range ports {
			r.StringSetValue = append(r.StringSetValue, strconv.Itoa(p))
		}
		return r
	}
	r := registration{
		Cluster: s.Cluster, ContainerInstanceArn: arn, Document: m.Document, Signature: m.Signature,
		TotalResources: []resource{
			number("CPU", m.CPU), number("MEMORY", max(0, m.Memory-s.ReservedMemory)), set("PORTS", s.ReservedPorts), set("PORTS_UDP", s.ReservedUDPPorts),
		},
		Attributes: []attribute{{"ecs.os-type", "linux"}, {"ecs.cpu-architecture", m.Architecture}},
	}
	for _, c := range a.cfg.Capabilities {
		r.Attributes = append(r.Attributes, attribute{Name: c})
	}
	for _, c := range []attribute{{"ecs.vpc-id", m.VPCID}, {"ecs.subnet-id", m.SubnetID}} {
		if c.Value != "" {
			r.Attributes = append(r.Attributes, c)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Attributes)) {
		r.Attributes = append(r.Attributes, attribute{name, s.Attributes[name]})
	}
	for _, key := range slices.Sorted(maps.Keys(s.Tags)) {
		r.Tags = append(r.Tags, tag{key, s.Tags[key]})
	}
	return r
}

// register registers the machine, until that succeeds or ctx ends: what
// forbids it may be put right, or not be there yet.
func (a *Agent) register(ctx context.Context) (identity, error) {
	known, err := a.known()
	if err != nil {
		a.cfg.Log.Warn("the agent registers anew", "error", err)
	}
	for delay := firstDelay; ; delay = min(2*delay, longestDelay) {
		id, err := a.tryRegister(ctx, known.ContainerInstanceArn)
		if err == nil {
			a.cfg.Log.Info("registered", "cluster", id.Cluster, "instance", id.ContainerInstanceArn)
			return id, a.remember(id)
		}
		if ctx.Err() != nil {
			return id, ctx.Err()
		}
		a.cfg.Log.Warn("the machine cannot register", "cluster", a.cfg.Settings.Cluster, "error", err)
		refusal, ok := errors.AsType[*Error](err)
		if ok && known.ContainerInstanceArn != "" && (refusal.Code == "InvalidParameterException" || refusal.Code == "ClientException") {
			known = identity{} // it was deregistered: it registers as new
		}
		if !clock.Sleep(ctx, a.cfg.Clock, delay) {
			return id, ctx.Err()
		}
	}
}

const (
	firstDelay   = 250 * time.Millisecond
	longestDelay = 2 * time.Minute
)

func (a *Agent) tryRegister(ctx context.Context, arn string) (identity, error) {
	var out struct {
		ContainerInstance struct {
			ContainerInstanceArn string `json:"containerInstanceArn"`
		} `json:"containerInstance"`
	}
	err := a.cfg.API.Call(ctx, "RegisterContainerInstance", a.registration(arn), &out)
	if e, ok := errors.AsType[*Error](err); ok && e.Code == "ClusterNotFoundException" && a.cfg.Settings.Cluster == "default" {
		// As the published agent does for the cluster that everybody has.
		if cerr := a.cfg.API.Call(ctx, "CreateCluster", map[string]string{"clusterName": "default"}, nil); cerr != nil {
			return identity{}, errors.Join(err, cerr)
		}
		err = a.cfg.API.Call(ctx, "RegisterContainerInstance", a.registration(arn), &out)
	}
	if err == nil && out.ContainerInstance.ContainerInstanceArn == "" {
		err = errors.New("the answer names no container instance")
	}
	return identity{a.cfg.Settings.Cluster, out.ContainerInstance.ContainerInstanceArn}, err
}
