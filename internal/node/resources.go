package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
)

// dir is the task's folder of files that are mounted into its containers.
func (n *Node) dir(arn string) string { return filepath.Join(n.cfg.StateDir, "files", taskID(arn)) }

// makeResources makes the task's folder, limits and network. It is idempotent.
func (n *Node) makeResources(ctx context.Context, t *acs.Task) (netns string, err error) {
	if !n.cfg.Volatile {
		if err := writeFiles(n.dir(t.Arn), t); err != nil {
			return "", err
		}
		if err := makeVolumes(t, n.dir(t.Arn), n.sharedVolumes()); err != nil {
			return "", err
		}
	}
	if err := n.ensureGroup(ctx, t); err != nil {
		return "", err
	}
	if n.cfg.Network == nil {
		return "", nil
	}
	netns, err = n.cfg.Network.Attach(ctx, t)
	if err != nil {
		return "", fmt.Errorf("attach the network interface: %w", err)
	}
	return netns, nil
}

// taskPIDs is how many processes and threads a task may have: half of what
// Linux allows all of a machine by default.
const taskPIDs = 16384

// ensureGroup puts the task's limits in force.
func (n *Node) ensureGroup(ctx context.Context, t *acs.Task) error {
	return n.cfg.Engine.EnsureGroup(ctx, engine.Group{ID: taskID(t.Arn), CPUs: t.CPU, Memory: t.Memory << 20, PIDs: taskPIDs})
}

// removeResources undoes makeResources, as far as it got.
func (n *Node) removeResources(ctx context.Context, t *acs.Task) error {
	var errs []error
	if n.cfg.Network != nil {
		if err := n.cfg.Network.Detach(ctx, t); err != nil {
			errs = append(errs, fmt.Errorf("detach the network interface: %w", err))
		}
	}
	errs = append(errs, n.cfg.Engine.RemoveGroup(ctx, taskID(t.Arn)))
	if !n.cfg.Volatile {
		errs = append(errs, os.RemoveAll(n.dir(t.Arn)))
	}
	return errors.Join(errs...)
}

// writeFiles writes hosts, resolv.conf and hostname.
func writeFiles(dir string, t *acs.Task) error {
	// Users of containers pass through it and read the files.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the task's folder: %w", err)
	}
	for name, content := range map[string]string{"hosts": hosts(t), "resolv.conf": resolvConf(t), "hostname": hostname(t) + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return fmt.Errorf("write the task's %s: %w", name, err)
		}
	}
	return nil
}

// hostname is the interface's private DNS name, as on Fargate.
func hostname(t *acs.Task) string {
	for _, e := range t.ElasticNetworkInterfaces {
		if e.PrivateDNSName != "" {
			return e.PrivateDNSName
		}
		if ip := e.PrimaryIPv4(); ip != "" {
			return "ip-" + strings.ReplaceAll(ip, ".", "-")
		}
	}
	if t.NetworkMode == "host" {
		if name, err := os.Hostname(); err == nil {
			return name
		}
	}
	id := taskID(t.Arn)
	return id[:min(12, len(id))]
}

// onMachine tells whether the task reaches the network as its machine does.
func onMachine(t *acs.Task) bool {
	return t.NetworkMode == "host" || t.NetworkMode == "bridge" || t.NetworkMode == "" && t.LaunchType != "FARGATE"
}

func hosts(t *acs.Task) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n")
	for _, e := range t.ElasticNetworkInterfaces {
		if ip := e.PrimaryIPv4(); ip != "" {
			fmt.Fprintf(&b, "%s %s\n", ip, hostname(t))
		}
	}
	// Containers of a task share the file; their extra hosts do too.
	for _, c := range t.Containers {
		_, host, err := c.DockerConfig.Parse()
		if err != nil {
			continue
		}
		for _, h := range host.ExtraHosts {
			if name, ip, ok := strings.Cut(h, ":"); ok {
				if _, err := netip.ParseAddr(ip); err == nil {
					fmt.Fprintf(&b, "%s %s\n", ip, name)
				}
			}
		}
	}
	return b.String()
}

func resolvConf(t *acs.Task) string {
	if onMachine(t) {
		// The machine's own resolver; a task without names runs too.
		b, _ := os.ReadFile("/etc/resolv.conf")
		return string(b)
	}
	var b strings.Builder
	for _, e := range t.ElasticNetworkInterfaces {
		if len(e.DomainName) > 0 {
			fmt.Fprintf(&b, "search %s\n", strings.Join(e.DomainName, " "))
		}
		for _, s := range e.DomainNameServers {
			fmt.Fprintf(&b, "nameserver %s\n", s)
		}
	}
	return b.String()
}

// environment is what ECS itself puts into a container's environment.
func (n *Node) environment(t *acs.Task, id string) []string {
	env := []string{
		"ECS_CONTAINER_METADATA_URI=" + metadataBase + "/v3/" + id,
		"ECS_CONTAINER_METADATA_URI_V4=" + metadataBase + "/v4/" + id,
		"ECS_AGENT_URI=" + metadataBase + "/api/" + id,
	}
	if t.LaunchType == "FARGATE" {
		env = append(env, "AWS_EXECUTION_ENV=AWS_ECS_FARGATE")
	} else {
		env = append(env, "AWS_EXECUTION_ENV=AWS_ECS_EC2")
	}
	if arn, err := model.ParseARN(t.Arn); err == nil {
		env = append(env, "AWS_REGION="+arn.Region, "AWS_DEFAULT_REGION="+arn.Region)
	}
	if c := t.RoleCredentials; c != nil {
		env = append(env, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/"+c.CredentialsID)
	}
	if n.cfg.APIEndpoint != "" {
		env = append(env, "AWS_ENDPOINT_URL="+n.cfg.APIEndpoint)
	}
	return env
}

// metadataBase is where containers reach Metadata.
const metadataBase = "http://169.254.170.2"
