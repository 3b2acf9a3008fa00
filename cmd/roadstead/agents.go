package main

import (
	"roadstead.dev/internal/dispatch/agentws"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/imds"
	"roadstead.dev/internal/service/ecs"
)

// agentConnections are the paths at which agents of container instances
// connect.
func agentConnections(s *server, owner agentws.Owner) map[string]gateway.Signed {
	cfg := agentws.Config{Store: s.store, Dispatcher: s.dispatcher, Owner: owner, Clock: s.clock, Log: s.log}
	return map[string]gateway.Signed{
		ecs.AgentControlPath:   {SigningName: "ecs", Handler: agentws.NewControl(cfg)},
		ecs.AgentTelemetryPath: {SigningName: "ecs", Handler: agentws.NewTelemetry(cfg)},
	}
}

// identityDocuments are those that this server signed.
type identityDocuments struct{ signer *imds.Signer }

func (d identityDocuments) VerifyIdentityDocument(document, signature string) bool {
	return d.signer.Verify([]byte(document), signature) == nil
}
