# proa: two commands do it all — `sudo make up` and `sudo make test`.

export PATH := $(PATH):/usr/local/go/bin
# The same build from any folder, so that checkouts share one cache.
export GOFLAGS := -buildvcs=false -trimpath

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo v0.1.0-dev)
LDFLAGS   := -s -w -X github.com/proa-project/proa/internal/kit/version.Proa=$(VERSION)
DATA_DIR  ?= /var/lib/proa
# kubectl kustomize's Go plugins would need the dynamic linker, and with it a table
# of all symbols and every method of every type: 34 MB of the binary.
TAGS      := kustomize_disable_go_plugin_support
LINTER    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# pipefail: a test run piped into a file must fail when the tests do.
SHELL     := /bin/bash -o pipefail

.DEFAULT_GOAL := help
.PHONY: help setup build up down test unit lint fix bench critest conformance generate release clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing on a Debian-like machine
	@hack/setup.sh

build: bin/proa bin/proa-keeper bin/quickstart.tar ## build bin/proa and bin/proa-keeper

# Go knows best what is up to date. With the flags that tests are built with, so
# that the two share one build cache; a release is built without cgo.
.PHONY: bin/proa bin/proa-keeper
bin/proa:
	@mkdir -p bin
	go build -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $@ ./cmd/proa

# The keeper holds C code (libcontainer's namespace joining, libseccomp) and is
# linked statically, so that one file runs on any distribution. pause comes with it.
bin/proa-keeper:
	internal/runtime/pause/keeper.sh bin $(VERSION)

bin/quickstart.tar: $(wildcard cmd/quickstart/*.go cmd/quickstart/generate/*.go internal/runtime/images/imagetest/*.go)
	@mkdir -p bin
	go run ./cmd/quickstart/generate -o $@

up: setup build ## start a cluster and run a first pod
	bin/proa up --data-dir $(DATA_DIR)
	@bin/proa quickstart --data-dir $(DATA_DIR)

down: ## stop the cluster, keep its data
	bin/proa down --data-dir $(DATA_DIR)

test: setup build lint ## everything CI runs: lint, unit, property, simulation, integration, e2e
	PROA_SIM_SEEDS=10000 go test ./...

unit: ## the tests that need no cluster
	go test $$(go list ./... | grep -v /test/)

lint: ## vet, format and the linter's rules
	@test -z "$$(gofmt -l cmd internal test | tee /dev/stderr)" || { echo "run make fix"; exit 1; }
	go vet ./...
	go run $(LINTER) run ./...

fix: ## format, and what the linter can mend itself
	gofmt -w cmd internal test
	go run $(LINTER) run --fix ./...

# PAGE=docs/bench.md writes the last results' page, ONLY=pods,memory measures a part.
bench: build ## measure start, pods, deletion and memory, beside the goals
	go run ./test/bench $(if $(PAGE),-page $(PAGE)) $(if $(ONLY),-only $(ONLY))

critest: build ## the official tests of container runtimes: make critest [FOCUS=regexp] [SKIP=regexp]
	go run ./test/critest -focus '$(FOCUS)' -skip '$(SKIP)'

# FOCUS and SKIP are regular expressions; KEEP=1 leaves the cluster to the next run,
# RERUN=1 runs only what has not passed, ANY=1 chooses among all of the suite's tests.
conformance: build ## hold proa against the official suite; FOCUS=… SKIP=… PARALLEL=n NODES=n KEEP=1 RERUN=1 ANY=1 LIST=1
	@hack/setup.sh mmdebstrap bzip2
	go -C test/conformance build -o $(CURDIR)/bin/conformance .
	@bin/conformance -root $(CURDIR) -focus '$(value FOCUS)' -skip '$(value SKIP)' $(if $(PARALLEL),-parallel $(PARALLEL)) $(if $(NODES),-nodes $(NODES)) $(if $(LIMIT),-limit $(LIMIT)) \
		$(if $(KEEP),-keep) $(if $(RERUN),-rerun) $(if $(ANY),-any) $(if $(LIST),-list)

generate: ## make the generated files anew
	go generate ./...

release: ## one file for others: dist/proa, with keeper and pause inside
	hack/release.sh

clean: ## remove what was built
	rm -rf bin dist
