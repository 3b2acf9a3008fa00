package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	apiacm "roadstead.dev/internal/api/acm"
	apiautoscaling "roadstead.dev/internal/api/autoscaling"
	apicloudwatch "roadstead.dev/internal/api/cloudwatch"
	apiec2 "roadstead.dev/internal/api/ec2"
	apiecr "roadstead.dev/internal/api/ecr"
	apiecs "roadstead.dev/internal/api/ecs"
	apielb "roadstead.dev/internal/api/elb"
	apielbv2 "roadstead.dev/internal/api/elbv2"
	apiiam "roadstead.dev/internal/api/iam"
	apilogs "roadstead.dev/internal/api/logs"
	apitagging "roadstead.dev/internal/api/resourcegroupstaggingapi"
	apis3 "roadstead.dev/internal/api/s3"
	apisecretsmanager "roadstead.dev/internal/api/secretsmanager"
	apissm "roadstead.dev/internal/api/ssm"
	apists "roadstead.dev/internal/api/sts"
	"roadstead.dev/internal/balancer"
	"roadstead.dev/internal/balancer/auth"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/gateway/throttle"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/token"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/service/acm"
	"roadstead.dev/internal/service/autoscaling"
	"roadstead.dev/internal/service/cloudwatch"
	"roadstead.dev/internal/service/ec2"
	"roadstead.dev/internal/service/ecr"
	"roadstead.dev/internal/service/ecr/catalog"
	"roadstead.dev/internal/service/ecr/mirror"
	"roadstead.dev/internal/service/ecs"
	"roadstead.dev/internal/service/elb"
	"roadstead.dev/internal/service/elbv2"
	"roadstead.dev/internal/service/iam"
	"roadstead.dev/internal/service/logs"
	tagging "roadstead.dev/internal/service/resourcegroupstaggingapi"
	"roadstead.dev/internal/service/s3"
	s3contents "roadstead.dev/internal/service/s3/contents"
	"roadstead.dev/internal/service/secretsmanager"
	"roadstead.dev/internal/service/ssm"
	"roadstead.dev/internal/service/sts"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/telemetry/logstore"
	"roadstead.dev/internal/telemetry/metricstore"
	"roadstead.dev/internal/telemetry/retention"
	"roadstead.dev/internal/telemetry/spool"
	"roadstead.dev/internal/truststores"
)

// sweepEvery is how often the registry looks for what nothing refers to.
const sweepEvery = 30 * time.Minute

// regions are those that every AWS account has enabled.
// https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-regions.html
var regions = []string{
	"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1",
	"eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
}

// apis are the services, with the stores that only they use.
type apis struct {
	services []gateway.Service
	registry *registry.Handler
	tokens   *token.Signer
	catalog  *catalog.Catalog
	mirror   *mirror.Mirror
	blobs    *blob.Store
	logstore *logstore.Store
	metrics  *metricstore.Store
	logs     *logs.Service
	spool    *spool.Tailer
	// retention forgets log events whose time has come.
	retention  *retention.Keeper
	secrets    *secretsmanager.Service
	parameters *ssm.Service
	// objects are S3's buckets.
	objects  *s3.Service
	throttle *throttle.Limiter
	// sealing seals what is secret in the store.
	sealing *seal.Key
	// trust keeps what trust stores are made of.
	trust *truststores.Contents
	// signer is of what load balancers' targets are told of users.
	signer *auth.Signer
	// signed are where the agents of container instances connect, and where Spot
	// capacity is taken back.
	signed map[string]gateway.Signed
	clock  clock.Clock
	log    *slog.Logger
}

func newAPIs(ctx context.Context, s *server) (*apis, error) {
	a := &apis{clock: s.clock, log: s.log}
	limits, err := throttle.Parse(s.throttle)
	if err != nil {
		return nil, err
	}
	a.throttle = throttle.New(limits, s.clock)
	if a.tokens, err = token.LoadSigner(s.path("registry", "token.key")); err != nil {
		return nil, err
	}
	if a.blobs, err = blob.Open(s.path("registry"), blob.Options{Clock: s.clock}); err != nil {
		return nil, err
	}
	a.catalog = &catalog.Catalog{Store: s.store, Clock: s.clock}
	contents := &registry.Registry{Catalog: a.catalog, Blobs: a.blobs}
	if a.mirror, err = newMirror(a, s, contents); err != nil {
		return nil, err
	}
	a.registry = registry.NewHandler(registry.Config{
		Registry: contents, Signer: a.tokens, Authorizer: ecr.Authorizer{IAM: s.directory}, Clock: s.clock,
		Default: registry.Space{Account: s.accountID, Region: s.region}, Log: s.log,
		Throttle: func(account, region, operation string) bool {
			return a.throttle.Allow(account, region, "ecr", operation)
		},
		Provider: a.mirror,
	})
	if a.sealing, err = seal.Load(s.path("secrets", "seal.key")); err != nil {
		return nil, err
	}
	if a.trust, err = truststores.Open(s.path("truststores"), a.sealing); err != nil {
		return nil, err
	}
	if err := a.trust.Sweep(ctx, s.store); err != nil {
		return nil, err
	}
	files, err := s3contents.Open(s.path("s3"), a.sealing)
	if err != nil {
		return nil, err
	}
	a.objects = s3.New(s3.Config{Store: s.store, Contents: files, Clock: s.clock, Authorizer: s.directory, Log: s.log})
	if a.signer, err = balancer.NewSigner(a.sealing); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.spoolDir(), 0o700); err != nil {
		return nil, err
	}
	if a.logstore, err = logstore.Open(s.path("logs", "events.db")); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.path("metrics"), 0o700); err != nil {
		return nil, errors.Join(err, a.logstore.Close())
	}
	if a.metrics, err = metricstore.Open(s.path("metrics", "metrics.db")); err != nil {
		return nil, errors.Join(err, a.logstore.Close())
	}
	a.retention = retention.New(s.store, a.logstore, s.clock, s.log)
	networks := ec2.New(ec2.Config{Store: s.store, Clock: s.clock, Regions: regions, Consoles: s.consoles()})
	err = errors.Join(
		// Instances side by side give out different public addresses.
		eni.SetPublicPool(ctx, s.store, eni.PoolFor(s.prefix())),
		networks.EnsureDefaults(ctx, s.accountID, s.region))
	if err != nil {
		return nil, errors.Join(err, a.metrics.Close(), a.logstore.Close())
	}
	tasks := ecs.New(ecs.Config{Store: s.store, Placer: s.fleet, Fleet: s.fleet, Reports: s.dispatcher, Documents: identityDocuments{s.identities}, Log: s.log})
	a.signed = agentConnections(s, tasks)
	maps.Copy(a.signed, interruptions(s.store))
	images := ecr.New(ecr.Config{Store: s.store, Clock: s.clock, Catalog: a.catalog, Registry: contents, Signer: a.tokens, Downloads: a.registry, Upstreams: a.mirror})
	balancers := elbv2.New(elbv2.Config{Store: s.store, Objects: a.objects.Objects(), Logs: a.objects.Objects(), Contents: a.trust, Key: a.sealing})
	if err := balancers.NameAll(ctx); err != nil {
		return nil, errors.Join(err, a.metrics.Close(), a.logstore.Close())
	}
	classic := elb.New(elb.Config{Store: s.store, Logs: a.objects.Objects()})
	principals := iam.New(iam.Config{Store: s.store, Principals: s.directory, Key: a.sealing})
	sessions := sts.New(sts.Config{Directory: s.directory, RootMayAssume: s.builtinKey()})
	a.secrets = secretsmanager.New(secretsmanager.Config{Store: s.store, Clock: s.clock, Key: a.sealing})
	a.parameters = ssm.New(ssm.Config{Store: s.store, Key: a.sealing})
	a.logs = logs.New(s.store, a.logstore)
	a.spool = spool.New(spool.Config{Dir: s.spoolDir(), Streams: a.logs, Events: a.logstore, Clock: s.clock, Log: s.log})
	issued := acm.New(acm.Config{Store: s.store, Key: a.sealing})
	watched := cloudwatch.New(a.metrics)
	groups := autoscaling.New(autoscaling.Config{Store: s.store})
	a.services = []gateway.Service{
		gateway.Bind(apiacm.New(issued), issued),
		gateway.Bind(apiautoscaling.New(groups), groups),
		gateway.Bind(apicloudwatch.New(watched), watched),
		gateway.Bind(apiec2.New(networks), networks),
		gateway.Bind(apiecr.New(images), images),
		gateway.Bind(apiecs.New(tasks), tasks),
		gateway.Bind(apielb.New(classic), classic),
		gateway.Bind(apielbv2.New(balancers), balancers),
		gateway.Bind(apiiam.New(principals), principals),
		gateway.Bind(apilogs.New(a.logs), a.logs),
		gateway.Bind(apis3.New(a.objects), a.objects),
		gateway.Bind(apisecretsmanager.New(a.secrets), a.secrets),
		gateway.Bind(apissm.New(a.parameters), a.parameters),
		gateway.Bind(apists.New(sessions), sessions),
	}
	tags := tagging.New(tagging.Config{Store: s.store, Operations: gateway.NewInvoker(s.directory, a.services...), Log: s.log})
	a.services = append(a.services, gateway.Bind(apitagging.New(tags), tags))
	return a, nil
}

// onHost serves the APIs where the operator is.
func (a *apis) onHost(s *server) *gateway.Gateway {
	cfg := a.config(s)
	cfg.LoopbackRootKey = s.builtinKey()
	if host, _, err := net.SplitHostPort(s.listen); err == nil && loopback(host) {
		// What it says needs no signature, so it is for this machine alone.
		cfg.Mounts[statusPath] = statusHandler(s.store, s.options, s.begun)
	}
	return gateway.New(cfg)
}

// inVPC serves the APIs to what runs in VPCs: the built-in key is nobody's
// there.
func (a *apis) inVPC(s *server) *gateway.Gateway {
	cfg := a.config(s)
	cfg.BodyMemory = guestMemory
	return gateway.New(cfg)
}

// guestMemory is what bodies of requests from all VPCs may take, beside those
// from the host.
const guestMemory = 128 << 20

func (a *apis) config(s *server) gateway.Config {
	return gateway.Config{
		Services: a.services, Credentials: s.directory, Authorizer: s.directory, Clock: s.clock, Log: s.log,
		Account: s.accountID, Registry: a.registry, Ready: s.readiness, Throttle: a.throttle,
		Mounts: map[string]http.Handler{caPath: serveCA(s.ca), truststores.Path: a.trust.Handler(s.clock), elbKeysPath: serveELBKeys(a.signer)}, Signed: a.signed,
	}
}

// run does what the APIs owe beyond answering, until ctx ends.
func (a *apis) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.spool.Run(ctx) })
	g.Go(func() error { return a.sweep(ctx) })
	g.Go(func() error { return a.retention.Run(ctx) })
	g.Go(func() error { return a.metrics.Run(ctx, a.clock, a.log) })
	g.Go(func() error { return a.logs.Run(ctx) })
	g.Go(func() error { return a.secrets.Run(ctx) })
	g.Go(func() error { return a.objects.Run(ctx) })
	return g.Wait()
}

// sweep keeps the registry's folder free of what nothing refers to.
func (a *apis) sweep(ctx context.Context) error {
	for timer := a.clock.NewTimer(time.Minute); ; timer.Reset(sweepEvery) {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		swept, err := a.catalog.Sweep(ctx, a.blobs)
		if err != nil {
			a.log.Error("sweep the registry", "error", err)
		} else if swept.Blobs > 0 {
			a.log.Info("swept the registry", "blobs", swept.Blobs, "bytes", swept.Bytes)
		}
	}
}

func (a *apis) close() error { return errors.Join(a.metrics.Close(), a.logstore.Close()) }
