package main

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"roadstead.dev/internal/dispatch"
	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/home"
	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/fargate"
	"roadstead.dev/internal/node"
)

// fargateParts are what Fargate's capacity stands on.
type fargateParts struct {
	engine engine.Engine
	// network is nil where tasks only pretend to run.
	network node.Network
	// api is the URL by which tasks reach the APIs.
	api string
}

// fargateCapacity is the node that runs Fargate tasks, with its dispatcher.
type fargateCapacity struct {
	dispatcher *dispatch.Dispatcher
	node       *node.Node
}

func (s *server) newFargate(p fargateParts) (*fargateCapacity, error) {
	f := &fargateCapacity{dispatcher: s.dispatcher}
	cfg := node.Config{
		Name: fargateNode, Engine: home.Images{Engine: p.engine, Port: s.port()}, Transport: f.dispatcher.Node(fargateNode), Network: p.network,
		StateDir: s.nodeDir(), Volatile: p.network == nil, APIEndpoint: p.api, Clock: s.clock, Log: s.log,
	}
	roles := fargate.Roles{Directory: s.directory}
	account := &fargate.Account{Roles: roles, SecretsManager: s.apis.secrets, ParameterStore: s.apis.parameters, Objects: s.apis.objects.Objects()}
	secrets := &execution.Secrets{Source: account}
	cfg.Secrets, cfg.EnvironmentFiles = secrets, &execution.EnvironmentFiles{Objects: account, Empty: true}
	if p.network != nil {
		exe, err := helper()
		if err != nil {
			return nil, err
		}
		cfg.Registries = &fargate.Images{Roles: roles, Tokens: s.apis.tokens, Secrets: secrets, Clock: s.clock}
		cfg.Logs = &fargate.Logs{Roles: roles, Store: s.store, Executable: exe, SpoolDir: s.spoolDir()}
	}
	var err error
	f.node, err = node.New(cfg)
	return f, err
}

func (f *fargateCapacity) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return ended(ctx, f.dispatcher.Run(ctx)) })
	g.Go(func() error { return ended(ctx, f.node.Run(ctx)) })
	return g.Wait()
}

// ended makes an error nil that only says that ctx has ended.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}
