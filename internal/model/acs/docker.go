package acs

import (
	"encoding/json"
	"fmt"
	"time"
)

// DockerConfig carries what the protocol has no field for: Docker's own
// container configuration, as JSON in strings.
type DockerConfig struct {
	Version    string `json:"version,omitempty"`
	Config     string `json:"config,omitempty"`
	HostConfig string `json:"hostConfig,omitempty"`
}

// DockerContainerConfig is the part of Docker's Config that ECS uses.
type DockerContainerConfig struct {
	Hostname    string             `json:"Hostname,omitempty"`
	User        string             `json:"User,omitempty"`
	WorkingDir  string             `json:"WorkingDir,omitempty"`
	Tty         bool               `json:"Tty,omitempty"`
	OpenStdin   bool               `json:"OpenStdin,omitempty"`
	Labels      map[string]string  `json:"Labels,omitempty"`
	StopSignal  string             `json:"StopSignal,omitempty"`
	Healthcheck *DockerHealthcheck `json:"Healthcheck,omitempty"`
	// NetworkDisabled leaves the container without interfaces.
	NetworkDisabled bool `json:"NetworkDisabled,omitempty"`
}

// DockerHealthcheck is a health check. Test starts with CMD, CMD-SHELL or NONE. Durations are
// in nanoseconds; 0 means the default.
type DockerHealthcheck struct {
	Test        []string      `json:"Test,omitempty"`
	Interval    time.Duration `json:"Interval,omitempty"`
	Timeout     time.Duration `json:"Timeout,omitempty"`
	StartPeriod time.Duration `json:"StartPeriod,omitempty"`
	Retries     int           `json:"Retries,omitempty"`
}

// DockerHostConfig is the part of Docker's HostConfig that ECS uses.
type DockerHostConfig struct {
	NetworkMode    string           `json:"NetworkMode,omitempty"`
	LogConfig      *DockerLogConfig `json:"LogConfig,omitempty"`
	Privileged     bool             `json:"Privileged,omitempty"`
	ReadonlyRootfs bool             `json:"ReadonlyRootfs,omitempty"`
	CapAdd         []string         `json:"CapAdd,omitempty"`
	CapDrop        []string         `json:"CapDrop,omitempty"`
	Ulimits        []DockerUlimit   `json:"Ulimits,omitempty"`
	// MemoryReservation and ShmSize are in bytes.
	MemoryReservation int64             `json:"MemoryReservation,omitempty"`
	ShmSize           int64             `json:"ShmSize,omitempty"`
	DNS               []string          `json:"Dns,omitempty"`
	DNSSearch         []string          `json:"DnsSearch,omitempty"`
	ExtraHosts        []string          `json:"ExtraHosts,omitempty"`
	Init              *bool             `json:"Init,omitempty"`
	Tmpfs             map[string]string `json:"Tmpfs,omitempty"`
	Sysctls           map[string]string `json:"Sysctls,omitempty"`
}

// DockerLogConfig chooses the log driver.
type DockerLogConfig struct {
	Type   string            `json:"Type,omitempty"`
	Config map[string]string `json:"Config,omitempty"`
}

// DockerUlimit is one resource limit; -1 is unlimited.
type DockerUlimit struct {
	Name string `json:"Name"`
	Soft int64  `json:"Soft"`
	Hard int64  `json:"Hard"`
}

// NewDockerConfig encodes both halves.
func NewDockerConfig(c DockerContainerConfig, h DockerHostConfig) *DockerConfig {
	cb, _ := json.Marshal(c) // plain structs always encode
	hb, _ := json.Marshal(h)
	return &DockerConfig{Config: string(cb), HostConfig: string(hb)}
}

// Parse decodes both halves; nil and empty strings give zero values.
func (d *DockerConfig) Parse() (c DockerContainerConfig, h DockerHostConfig, err error) {
	if d == nil {
		return c, h, nil
	}
	if d.Config != "" {
		if err := json.Unmarshal([]byte(d.Config), &c); err != nil {
			return c, h, fmt.Errorf("decode docker config: %w", err)
		}
	}
	if d.HostConfig != "" {
		if err := json.Unmarshal([]byte(d.HostConfig), &h); err != nil {
			return c, h, fmt.Errorf("decode docker host config: %w", err)
		}
	}
	return c, h, nil
}
