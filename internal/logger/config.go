// Package logger is the awslogs driver: a small process that containerd's shim
// starts beside a container and that writes the container's output to spool
// files. It outlives the server, so a server restart loses no line.
//
// # Spool
//
// A spool is a folder of segments, files named
//
//	<containerd namespace>.<container id>.<sequence, ten digits>.spool
//
// Each segment starts with a header record that holds its Config, so a segment
// tells by itself where its lines belong. The logger holds an exclusive
// flock(2) on the segment that it writes; a segment that can be locked by
// somebody else has no writer any more and never gets one again. The reader
// (internal/telemetry/spool) deletes a segment once it has taken all of it and
// holds its lock. This package is the one place that knows the format.
package logger

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
)

// Config is where a container's output goes.
type Config struct {
	// Dir is the spool folder, an absolute path that exists.
	Dir string `json:"dir"`

	Account string `json:"account"`
	Region  string `json:"region"`
	// Group and Stream are the awslogs-group and the full name of the stream,
	// "<prefix>/<container name>/<task id>".
	Group  string `json:"group"`
	Stream string `json:"stream"`
	// CreateGroup is awslogs-create-group: the group is made when it is missing.
	CreateGroup bool `json:"createGroup,omitempty"`

	// MultilinePattern (awslogs-multiline-pattern) is a regular expression
	// that a line starting a new event matches; empty makes each line an event.
	MultilinePattern string `json:"multilinePattern,omitempty"`
}

// Subcommand is the first argument with which the server's executable runs as
// the logger. Main must be called before anything else of the program when
// os.Args[1] is it.
const Subcommand = "logger"

// URI is what a containerd task's stdout and stderr are both set to so that the
// shim logs through exe, the absolute path of the server's executable:
// "binary:///usr/bin/roadstead?logger=…".
//
// The shim turns the query into arguments in no particular order, so there is
// one key, the subcommand, whose value is the encoded Config.
func URI(exe string, cfg Config) string {
	q := url.Values{Subcommand: {encodeConfig(cfg)}}
	return (&url.URL{Scheme: "binary", Path: filepath.Clean(exe), RawQuery: q.Encode()}).String()
}

func encodeConfig(cfg Config) string {
	b, err := json.Marshal(cfg)
	if err != nil {
		panic(fmt.Sprintf("logger: config does not encode: %v", err)) // plain strings always do
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

var errConfig = errors.New("logger: bad configuration")

func decodeConfig(s string) (Config, error) {
	var cfg Config
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return cfg, fmt.Errorf("%w: %w", errConfig, err)
	}
	if err := json.Unmarshal(b, &cfg); err != nil {
		return cfg, fmt.Errorf("%w: %w", errConfig, err)
	}
	if !filepath.IsAbs(cfg.Dir) || cfg.Group == "" || cfg.Stream == "" {
		return cfg, fmt.Errorf("%w: folder, group and stream are needed", errConfig)
	}
	return cfg, nil
}
