package main

import (
	"roadstead.dev/internal/authority"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/controller/acm"
	"roadstead.dev/internal/controller/autoscalinggroup"
	"roadstead.dev/internal/controller/capacityprovider"
	"roadstead.dev/internal/controller/ecrlifecycle"
	"roadstead.dev/internal/controller/ecrreplication"
	"roadstead.dev/internal/controller/ecscleanup"
	"roadstead.dev/internal/controller/ecsinstance"
	"roadstead.dev/internal/controller/ecsservice"
	"roadstead.dev/internal/controller/ecstask"
)

// fargateNode is the name of the node that is Fargate's capacity.
const fargateNode = "fargate"

// controllers are those that need nothing of this machine.
func (s *server) controllers() []*controller.Controller {
	providers := capacityprovider.Config{Store: s.store, Clock: s.clock, Placer: s.fleet, Period: s.scaling()}
	return []*controller.Controller{
		acm.New(acm.Config{
			Store: s.store, Clock: s.clock, Key: s.apis.sealing,
			Signer: authority.Pair{Local: s.ca, Other: s.certificateAuthority()},
		}),
		ecsservice.New(ecsservice.Config{Store: s.store, Clock: s.clock, Placer: s.fleet}),
		ecstask.New(ecstask.Config{Store: s.store, Clock: s.clock, FargateNode: fargateNode}),
		ecsinstance.New(ecsinstance.Config{Store: s.store, Clock: s.clock}),
		ecstask.NewForget(ecstask.Config{Store: s.store, Clock: s.clock}),
		autoscalinggroup.New(autoscalinggroup.Config{Store: s.store, Clock: s.clock, Log: s.log}),
		autoscalinggroup.NewHistory(autoscalinggroup.Config{Store: s.store, Clock: s.clock}),
		capacityprovider.New(providers),
		capacityprovider.NewAttachments(providers),
		capacityprovider.NewWaiting(providers),
		ecscleanup.New(ecscleanup.Config{Store: s.store, Clock: s.clock}),
		ecrlifecycle.New(ecrlifecycle.Config{Store: s.store, Clock: s.clock, Images: s.apis.catalog}),
		ecrreplication.New(ecrreplication.Config{Store: s.store, Images: s.apis.mirror}),
	}
}
