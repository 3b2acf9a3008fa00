# Roadstead. `make help` lists what there is.

GO      ?= go
BIN     := bin/roadstead
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOL    := $(GO) tool -modfile=tools/go.mod
# Root is needed for containers and networks; sudo is used where it is there.
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)

.DEFAULT_GOAL := help
.PHONY: help demo demo-terraform down build deps test test-long test-fast fuzz hostile sim lint fmt generate check-generated compat presubmit bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

demo: deps build ## run the main job: an image from ECR as a Fargate service behind a load balancer
	@scripts/demo.sh

demo-terraform: deps build ## apply examples/terraform: the same in a VPC of its own, written for Terraform
	@scripts/demo-terraform.sh

down: ## stop the server and all that it runs, and leave nothing behind
	@if [ -x $(BIN) ]; then $(SUDO) $(BIN) down; else echo "nothing was built, so nothing runs"; fi

build: ## build bin/roadstead and its helper
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/roadstead
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)-helper ./cmd/roadstead-helper

deps: ## install what is missing from the distribution
	@scripts/deps.sh

test: deps ## run all tests, on real containers where root is there
	$(GO) vet ./...
	$(GO) test -timeout 14m ./...

LONGTIME ?= 40m
test-long: deps ## run the end-to-end tests with all that `make test` leaves out of them
	$(GO) test -count=1 -timeout $(LONGTIME) -v ./test/e2e -args -full

test-fast: ## run the tests that need neither root nor containers
	$(GO) test -short ./...

FUZZTIME ?= 20s
fuzz: ## fuzz every decoder for FUZZTIME each
	@scripts/fuzz.sh $(FUZZTIME)

HOSTILETIME ?= 40m
hostile: ## send the server everything that no well-meaning client would, and print the counts
	$(GO) test -count=1 -timeout $(HOSTILETIME) -v ./test/hostile -args -exhaustive

sim: ## simulate 5,000 instances with 100,000 tasks, and thousands of random histories
	$(GO) test -count=1 -timeout 40m -v -run 'TestLargeCluster|TestHistories' ./test/sim -full

lint: ## run the linters, the dependency arrows among them
	$(TOOL) golangci-lint run ./...

fmt: ## format the code
	$(TOOL) golangci-lint fmt ./...

generate: ## write the API packages and docs/compat anew from the models and lists
	$(GO) generate ./internal/api

check-generated: ## fail when generated code is not what the generator writes
	$(GO) test ./internal/apigen

deadcode: ## list functions that nothing reaches
	$(TOOL) deadcode -test ./...

vulncheck: ## look for known vulnerabilities (needs the internet)
	$(TOOL) govulncheck ./...

presubmit: fmt generate lint test ## what to run before sending a change

bench: bench-start bench-runtask bench-instances bench-placement bench-api bench-registry bench-store bench-kill bench-alb bench-nlb ## run all benchmarks, in less than 20 minutes; results go to bench/README.md

bench-go: ## run the benchmarks of single functions
	$(GO) test -run '^$$' -bench . -benchmem ./internal/...

bench-start: ## measure the start and the memory of an idle server beside moto's
	$(SUDO) $(GO) run ./bench/start

bench-runtask: ## measure RunTask beside ctr run
	$(SUDO) $(GO) run ./bench/runtask

bench-api: ## measure the API's requests a second beside moto's
	$(GO) run ./bench/api

bench-registry: ## measure pushes and pulls beside docker-registry's
	$(GO) run ./bench/registry

bench-store: ## measure how times change with what the store holds
	$(GO) run ./bench/store

bench-instances: ## measure launching instances, and the memory of a hundred idle ones
	$(SUDO) $(GO) run ./bench/instances

bench-placement: ## measure placements a second from 10 instances to 5,000, and RunTask beside moto's
	$(GO) run ./bench/placement

bench-alb: ## measure the application load balancer beside nginx and HAProxy on one core
	$(GO) run ./bench/alb

bench-nlb: ## measure the network load balancer beside connections without it
	$(SUDO) $(GO) run ./bench/nlb

bench-kill: ## kill -9 in the middle of writes, and look what is left
	$(GO) run ./bench/kill

clean: ## remove what was built
	rm -rf bin dist
