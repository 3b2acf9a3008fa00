package node

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"roadstead.dev/internal/model/acs"
)

// bridged tells whether each container of the task has an address of its own.
func bridged(t *acs.Task) bool {
	return t.NetworkMode == "bridge" || t.NetworkMode == "" && t.LaunchType != "FARGATE"
}

// onMachine tells whether the task reaches the network as its machine does.
func onMachine(t *acs.Task) bool { return t.NetworkMode == "host" || bridged(t) }

// netns is the path of a container's network namespace.
func (s *taskState) netns(c *containerState) string {
	if c.Place != nil {
		return c.Place.Netns
	}
	return s.NetNS
}

// filesDir is the folder of a container's hosts, resolv.conf and hostname.
// Containers that share a namespace of their task's share them, as in Docker.
func filesDir(dir string, t *acs.Task, container string) string {
	if onMachine(t) {
		return filepath.Join(dir, "containers", container)
	}
	return dir
}

// writeFiles writes the containers' hosts, resolv.conf and hostname.
func writeFiles(dir string, t *acs.Task, containers []containerState, net Attached) error {
	for i := range t.Containers {
		c := &t.Containers[i]
		own := filesDir(dir, t, c.Name)
		// Users of containers pass through it and read the files.
		if err := os.MkdirAll(own, 0o755); err != nil {
			return fmt.Errorf("make the task's folder: %w", err)
		}
		config, host, err := c.DockerConfig.Parse()
		if err != nil {
			return err
		}
		name := hostname(t, find(containers, c.Name))
		if onMachine(t) {
			name = cmp.Or(config.Hostname, name)
		}
		files := map[string]string{"hosts": hosts(t, c, containers, net, name), "resolv.conf": resolvConf(t, &host), "hostname": name + "\n"}
		for file, content := range files {
			if err := os.WriteFile(filepath.Join(own, file), []byte(content), 0o644); err != nil {
				return fmt.Errorf("write the task's %s: %w", file, err)
			}
		}
	}
	return nil
}

func find(containers []containerState, name string) *containerState {
	i := slices.IndexFunc(containers, func(c containerState) bool { return c.Name == name })
	if i < 0 {
		return &containerState{Name: name}
	}
	return &containers[i]
}

// hostname is the interface's private DNS name, as on Fargate; the machine's in
// host mode; and in bridge mode the container's own, as in Docker.
func hostname(t *acs.Task, c *containerState) string {
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
	if bridged(t) {
		sum := sha256.Sum256([]byte(c.ID))
		return hex.EncodeToString(sum[:6])
	}
	id := taskID(t.Arn)
	return id[:min(12, len(id))]
}

// hosts are the names that a container finds without asking: its extra hosts,
// those that it is linked with, and its own.
func hosts(t *acs.Task, c *acs.Container, containers []containerState, net Attached, own string) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n")
	for _, e := range t.ElasticNetworkInterfaces {
		if ip := e.PrimaryIPv4(); ip != "" {
			fmt.Fprintf(&b, "%s %s\n", ip, own)
		}
	}
	sharers := []acs.Container{*c}
	if !onMachine(t) {
		// Containers of a task share the file; their extra hosts do too.
		sharers = t.Containers
	}
	for i := range sharers {
		extraHosts(&b, &sharers[i])
	}
	for _, l := range c.Links {
		name, alias := link(l)
		p, ok := net.Containers[name]
		if !ok || !p.Address.IsValid() {
			continue
		}
		names := []string{alias, hostnameOf(t, containers, name), name}
		fmt.Fprintf(&b, "%s %s\n", p.Address, strings.Join(slices.Compact(names), " "))
	}
	if p := net.Containers[c.Name]; p.Address.IsValid() {
		fmt.Fprintf(&b, "%s %s\n", p.Address, own)
	}
	return b.String()
}

// hostnameOf is another container's.
func hostnameOf(t *acs.Task, containers []containerState, name string) string {
	i := slices.IndexFunc(t.Containers, func(c acs.Container) bool { return c.Name == name })
	if i >= 0 {
		if config, _, err := t.Containers[i].DockerConfig.Parse(); err == nil && config.Hostname != "" {
			return config.Hostname
		}
	}
	return hostname(t, find(containers, name))
}

func extraHosts(b *strings.Builder, c *acs.Container) {
	_, host, err := c.DockerConfig.Parse()
	if err != nil {
		return
	}
	for _, h := range host.ExtraHosts {
		if name, ip, ok := strings.Cut(h, ":"); ok {
			if _, err := netip.ParseAddr(ip); err == nil {
				fmt.Fprintf(b, "%s %s\n", ip, name)
			}
		}
	}
}

// resolvConf tells a container whom to ask for names: what its definition
// says, else what its machine asks, or its interface's subnet.
func resolvConf(t *acs.Task, host *acs.DockerHostConfig) string {
	var machine []byte
	if onMachine(t) {
		machine, _ = os.ReadFile("/etc/resolv.conf") // a task without names runs too
	}
	return resolver(t, host, string(machine))
}

func resolver(t *acs.Task, host *acs.DockerHostConfig, machine string) string {
	var b strings.Builder
	if !onMachine(t) {
		for _, e := range t.ElasticNetworkInterfaces {
			resolve(&b, e.DomainName, e.DomainNameServers)
		}
		return b.String()
	}
	resolve(&b, host.DNSSearch, host.DNS)
	for line := range strings.Lines(machine) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		switch f[0] {
		case "nameserver":
			// The machine's loopback is not a container's in bridge mode.
			local := len(f) < 2 || strings.HasPrefix(f[1], "127.") && bridged(t)
			if len(host.DNS) > 0 || local {
				continue
			}
		case "search", "domain":
			if len(host.DNSSearch) > 0 {
				continue
			}
		}
		b.WriteString(strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}

func resolve(b *strings.Builder, search, servers []string) {
	if len(search) > 0 {
		fmt.Fprintf(b, "search %s\n", strings.Join(search, " "))
	}
	for _, s := range servers {
		fmt.Fprintf(b, "nameserver %s\n", s)
	}
}

// link is the container that a link names, and the alias.
func link(l string) (container, alias string) {
	container, alias, _ = strings.Cut(l, ":")
	return container, cmp.Or(alias, container)
}

// linkEnvironment is what Docker puts into the environment of a container for
// those that it is linked with, as far as their definitions tell it.
// https://docs.docker.com/engine/network/links/#environment-variables
func linkEnvironment(s *taskState, c *acs.Container) []string {
	var env []string
	for _, l := range c.Links {
		name, alias := link(l)
		to, def := s.container(name), s.definition(name)
		if to == nil || def == nil || to.Place == nil || !to.Place.Address.IsValid() {
			continue
		}
		prefix, ip := strings.ToUpper(strings.ReplaceAll(alias, "-", "_")), to.Place.Address.String()
		ports := slices.Clone(def.PortMappings)
		ports = slices.DeleteFunc(ports, func(p acs.PortMapping) bool { return p.ContainerPort == 0 })
		slices.SortFunc(ports, func(a, b acs.PortMapping) int {
			return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), cmp.Compare(a.Protocol, b.Protocol))
		})
		for i, p := range ports {
			protocol := cmp.Or(p.Protocol, "tcp")
			url := fmt.Sprintf("%s://%s:%d", protocol, ip, p.ContainerPort)
			if i == 0 {
				env = append(env, prefix+"_PORT="+url)
			}
			one := fmt.Sprintf("%s_PORT_%d_%s", prefix, p.ContainerPort, strings.ToUpper(protocol))
			env = append(env, one+"="+url, one+"_ADDR="+ip, fmt.Sprintf("%s_PORT=%d", one, p.ContainerPort), one+"_PROTO="+protocol)
		}
		env = append(env, prefix+"_NAME=/"+c.Name+"/"+alias)
		for _, k := range slices.Sorted(maps.Keys(def.Environment)) {
			if k != "HOME" && k != "PATH" {
				env = append(env, prefix+"_ENV_"+k+"="+def.Environment[k])
			}
		}
	}
	return env
}
