package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"roadstead.dev/internal/api"
	apisecretsmanager "roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/service/ecr/mirror"
)

// newMirror is what brings images from elsewhere into repositories.
func newMirror(a *apis, s *server, contents *registry.Registry) (*mirror.Mirror, error) {
	hosts, err := mirrorHosts(s.registryMirrors)
	if err != nil {
		return nil, err
	}
	return mirror.New(mirror.Config{
		Store: s.store, Clock: s.clock, Catalog: a.catalog, Registry: contents,
		Secrets: upstreamSecrets{a, s.clock}, Hosts: hosts, Log: s.log,
	}), nil
}

// mirrorHosts reads "quay.io=http://localhost:5000,…".
func mirrorHosts(list string) (map[string]*url.URL, error) {
	hosts := map[string]*url.URL{}
	for pair := range strings.SplitSeq(list, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		host, to, ok := strings.Cut(pair, "=")
		u, err := url.Parse(to)
		if !ok || err != nil || host == "" || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("%q is not HOST=URL, such as quay.io=http://localhost:5000", pair)
		}
		hosts[host] = u
	}
	return hosts, nil
}

// upstreamSecrets reads the credentials of pull through cache rules, as ECR's
// service-linked role may.
type upstreamSecrets struct {
	apis  *apis
	clock clock.Clock
}

var _ mirror.Secrets = upstreamSecrets{}

// SecretString implements mirror.Secrets.
func (u upstreamSecrets) SecretString(ctx context.Context, account, region, arn string) (string, error) {
	role := model.MakeARN("iam", "", account, "role/aws-service-role/pullthroughcache.ecr.amazonaws.com/AWSServiceRoleForECRPullThroughCache")
	ctx = api.WithCall(ctx, &api.Call{
		Account: account, Region: region, Partition: model.Partition(region), Time: u.clock.Now(),
		Identity:  api.Identity{ARN: role, RoleARN: role},
		Authorize: func(context.Context, string, string, map[string]string) error { return nil },
	})
	out, err := u.apis.secrets.GetSecretValue(ctx, &apisecretsmanager.GetSecretValueInput{SecretId: &arn})
	if err != nil {
		return "", err
	}
	if out.SecretString == nil {
		return "", errors.New("the secret holds no text")
	}
	return *out.SecretString, nil
}
