package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"roadstead.dev/internal/agent"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/containerd"
	"roadstead.dev/internal/engine/containerd/supervise"
	"roadstead.dev/internal/engine/home"
	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/initproc"
	"roadstead.dev/internal/node"
)

// nodeOptions are those of an agent.
type nodeOptions struct {
	dataDir, runDir string
}

func nodeCommand() *cobra.Command {
	o := &nodeOptions{dataDir: "/var/lib/ecs", runDir: "/run/roadstead-node"}
	if d := os.Getenv("ECS_DATADIR"); d != "" {
		o.dataDir = d
	}
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Run the agent of an ECS container instance",
		Long: `Registers this machine with an ECS cluster and runs the tasks that are placed
on it, with a containerd of its own. It reads what the ECS agent reads: ECS_CLUSTER,
ECS_INSTANCE_ATTRIBUTES, ECS_RESERVED_MEMORY, ECS_RESERVED_PORTS, ECS_EXTERNAL and
so on, AWS_ENDPOINT_URL and AWS_REGION, and credentials from the environment or
the instance's profile.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runNode(cmd.Context(), o, cmd.ErrOrStderr()) },
	}
	cmd.Flags().StringVar(&o.dataDir, "node-dir", o.dataDir, "folder for the agent's state and images [ECS_DATADIR]")
	cmd.Flags().StringVar(&o.runDir, "run-dir", o.runDir, "folder for sockets, which goes with a reboot")
	return cmd
}

func runNode(ctx context.Context, o *nodeOptions, logTo io.Writer) error {
	log, closeLog, err := nodeLog(logTo)
	if err != nil {
		return err
	}
	defer closeLog()
	settings, err := agent.SettingsFrom(os.Getenv)
	if err != nil {
		return err
	}
	if names := agent.Unheeded(os.Environ()); len(names) > 0 {
		log.Warn("settings that this agent does not act upon", "names", names)
	}
	metadata := imds.New(imds.Options{})
	machine, region, err := thisMachine(ctx, settings, metadata)
	if err != nil {
		return err
	}
	endpoint := os.Getenv("AWS_ENDPOINT_URL")
	if v := os.Getenv("AWS_ENDPOINT_URL_ECS"); v != "" {
		endpoint = v
	}
	if endpoint == "" || region == "" {
		return errors.New("set AWS_ENDPOINT_URL and AWS_REGION")
	}
	apis := &agent.API{
		Endpoint: endpoint, Region: region, Credentials: machineCredentials(metadata), Clock: clock.System{},
		Client: &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: time.Minute, IdleConnTimeout: time.Minute}},
	}
	a, err := agent.New(agent.Config{
		Settings: settings, Machine: machine, StateDir: o.dataDir, Version: version, Hash: "roadstead", Runtime: "containerd",
		API: apis, Clock: clock.System{}, Log: log,
	})
	if err != nil {
		return err
	}
	at, err := url.Parse(endpoint)
	if err != nil {
		return fmt.Errorf("AWS_ENDPOINT_URL: %w", err)
	}
	lazy := o.engine(at, log)
	defer func() { _ = lazy.Close() }()
	program, err := helper()
	if err != nil {
		return err
	}
	logs := &agent.Logs{API: apis, Executable: program, Dir: filepath.Join(o.dataDir, "logs"), Clock: clock.System{}}
	account := agent.Account{API: apis}
	secrets := &execution.Secrets{Source: account}
	var avoid []netip.Prefix
	if !settings.External {
		if avoid, err = agent.ReadVPCBlocks(ctx, metadata); err != nil {
			return err
		}
	}
	network, err := agent.NewNetwork(ctx, agent.NetworkConfig{Settings: settings, StateDir: o.dataDir, RunDir: o.runDir, Avoid: avoid, Log: log})
	if err != nil {
		return err
	}
	n, err := node.New(node.Config{
		Name: "node", Engine: home.Images{Engine: lazy, Port: at.Port()}, Transport: a, Network: network, Interfaces: network, StateDir: o.dataDir,
		Registries: agent.Images{API: apis, Secrets: secrets}, Secrets: secrets, EnvironmentFiles: &execution.EnvironmentFiles{Objects: account},
		Logs: logs, ExecutionCredentials: logs.Refresh,
		StopTimeout: settings.StopTimeout, CachedImages: settings.CachedImages,
		APIEndpoint: endpoint, RetryDelay: 250 * time.Millisecond, Clock: clock.System{}, Log: log,
	})
	if err != nil {
		return err
	}
	return a.Run(ctx, func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return logs.Run(ctx, log) })
		g.Go(func() error { return serveNode(ctx, n, log) })
		g.Go(func() error { return listen(ctx, agent.IntrospectionAddress, a.Introspection(n)) })
		if settings.SpotDraining && !settings.External {
			g.Go(func() error { return a.DrainOnInterruption(ctx, metadata) })
		}
		return g.Wait()
	})
}

// nodeLog is the agent's log: what is written to the console, and the file that
// ECS_LOGFILE names.
func nodeLog(console io.Writer) (*slog.Logger, func(), error) {
	name := os.Getenv("ECS_LOGFILE")
	if name == "" {
		return slog.New(slog.NewTextHandler(console, nil)), func() {}, nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, err
	}
	return slog.New(slog.NewTextHandler(io.MultiWriter(console, f), nil)), func() { _ = f.Close() }, nil
}

// serveNode runs the node, with the tasks' metadata.
func serveNode(ctx context.Context, n *node.Node, log *slog.Logger) error {
	undo, err := agent.RedirectMetadata()
	if err != nil {
		log.Warn("tasks do not reach their metadata and credentials", "error", err)
	} else {
		defer undo()
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return listen(ctx, agent.MetadataAddress, n.MachineMetadata()) })
	g.Go(func() error { return n.Run(ctx) })
	return g.Wait()
}

// listen serves HTTP at an address until ctx ends.
func listen(ctx context.Context, address string, h http.Handler) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serve %s: %w", address, err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}

// engine is the containerd of the machine's tasks. What names end in .localhost
// are the control plane's, whose endpoint is at.
func (o *nodeOptions) engine(at *url.URL, log *slog.Logger) *agent.LazyEngine {
	own := supervise.Config{
		Root: filepath.Join(o.dataDir, "containerd"), RunDir: filepath.Join(o.runDir, "containerd"), Cgroup: "/roadstead-node.containerd", Log: log,
	}
	return &agent.LazyEngine{
		There: func(ctx context.Context) bool {
			return supervise.Answers(ctx, filepath.Join(own.RunDir, "containerd.sock"))
		},
		Start: func(ctx context.Context) (engine.Engine, error) {
			address, err := supervise.Ensure(ctx, own)
			if err != nil {
				return nil, err
			}
			var init []string
			if exe, err := helper(); err == nil {
				init = []string{exe, initproc.Subcommand}
			}
			return containerd.New(ctx, containerd.Config{
				Address: address, Namespace: "ecs", StateDir: filepath.Join(o.runDir, "engine"), InitCommand: init, LoopbackAddress: at.Hostname(), Log: log,
			})
		},
	}
}

// machineCredentials are the environment's, else the instance profile's.
func machineCredentials(metadata *imds.Client) aws.CredentialsProvider {
	if key := os.Getenv("AWS_ACCESS_KEY_ID"); key != "" {
		return credentials.NewStaticCredentialsProvider(key, os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN"))
	}
	return instanceCredentials(metadata)
}

// instanceCredentials are the instance profile's.
func instanceCredentials(metadata *imds.Client) aws.CredentialsProvider {
	return aws.NewCredentialsCache(ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = metadata }), func(o *aws.CredentialsCacheOptions) {
		o.ExpiryWindow = 5 * time.Minute
	})
}

// thisMachine is what the agent tells of the machine.
func thisMachine(ctx context.Context, s agent.Settings, metadata *imds.Client) (agent.Machine, string, error) {
	m := agent.Machine{CPU: runtime.NumCPU() * 1024, Architecture: map[string]string{"amd64": "x86_64"}[runtime.GOARCH]}
	if m.Architecture == "" {
		m.Architecture = runtime.GOARCH
	}
	var err error
	if m.CPU, m.Memory, err = agent.Capacity(m.CPU); err != nil {
		return m, "", err
	}
	region := os.Getenv("AWS_REGION")
	if region == "" {
		region = os.Getenv("AWS_DEFAULT_REGION")
	}
	if s.External {
		return m, region, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if m.Document, m.Signature, err = agent.ReadIdentity(ctx, metadata); err != nil {
		return m, "", fmt.Errorf("%w (set ECS_EXTERNAL=true on a machine that is no EC2 instance)", err)
	}
	return m, region, nil
}
