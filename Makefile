# `make` lists the targets. Each does its own set-up.

.DEFAULT_GOAL := help
# rustup puts cargo there; a shell that was open before does not know it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin
.PHONY: help setup build demo test e2e cluster-up cluster-down images packages packages-test release lint fmt fuzz bench docs charts crds clean

# Extra arguments for the demo: make demo ARGS="--brokers 3 --duration 60"
ARGS ?=
# Extra arguments for cargo test: make test TEST_ARGS=--no-fail-fast
TEST_ARGS ?=
FUZZ_SECONDS ?= 60

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install the Debian packages that are missing (apt-get, as root or with sudo)
	@dev/setup.sh

build: ## compile for use: target/release/edgereel
	@dev/setup.sh build
	CFLAGS=-O2 cargo build --locked --release --bin edgereel

demo: ## a real Kafka, two cameras, three sinks, a crash in the middle; every frame accounted for
	@dev/setup.sh build demo
	@[ -e target/debug/demo ] || echo 'The first time this compiles 300 libraries: 11 minutes of one core, some 6 of two.'
	dev/kafka/fetch-beside.sh cargo build --locked --bin edgereel --bin demo
	target/debug/demo $(ARGS)

test: ## all tests: unit, property, and against a real Kafka, cameras and clients
	@dev/setup.sh build test
	dev/kafka/fetch-beside.sh cargo build --locked --bins
# The integration tests wait more than they compute.
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(($$(nproc) + 1))} cargo test --locked --workspace $(TEST_ARGS)

e2e: ## operator and images in a real Kubernetes, as root; KUBECONFIG names another: make e2e ARGS=a_bad_image
	@dev/setup.sh build cluster
	dev/kafka/fetch-beside.sh cargo build --locked --bin edgereel --bin edgereel-operator --bin e2e
	dev/e2e.sh $(ARGS)

cluster-up: ## start a real Kubernetes on this machine, as root: NODES=2 make cluster-up
	@dev/setup.sh cluster
	@dev/cluster/up.sh

cluster-down: ## stop it and remove what it left
	@dev/cluster/down.sh

images: ## build both images with docker, podman or buildah: make images ARGS="--tag dev --save DIR"
	@dev/images.sh $(ARGS)

packages: ## the Debian package of the worker: target/packages/edgereel_*.deb
	@dev/setup.sh build packages
	CFLAGS=-O2 cargo build --locked --release -p edgereel-worker --bin edgereel --features vendored
	dev/packages.sh $(ARGS)

packages-test: ## install it in a Debian with systemd of its own, as root: make packages-test ARGS="--profile dev"
	@dev/setup.sh build packages-test
	dev/packages-test.sh $(ARGS)

release: ## all files of a release, in target/release-files: docs/releasing.md; make release ARGS=--check
	@dev/setup.sh build packages
	dev/release.sh $(ARGS)

lint: ## formatting, features, clippy, generated files, charts, shell scripts, licences
	@dev/setup.sh build test
	cargo fmt --all --check
	dev/features-check.sh
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo run --locked --quiet --bin crdgen -- --check
	shellcheck .ci/run packaging/deb/postrm $$(git ls-files '*.sh')
	dev/charts-check.sh
	@if command -v cargo-deny >/dev/null; then cargo deny --log-level error check licenses bans sources; \
	else echo 'cargo-deny is not installed, licences are not checked: cargo install --locked cargo-deny'; fi

fmt: ## format the code
	cargo fmt --all

fuzz: ## fuzz every parser for FUZZ_SECONDS each (needs cargo-fuzz and a nightly Rust)
	@dev/setup.sh build
	@command -v cargo-fuzz >/dev/null || { echo 'cargo-fuzz is missing: cargo install --locked cargo-fuzz'; exit 1; }
	@for target in $$(cargo +nightly fuzz list); do \
	  cargo +nightly fuzz run "$$target" -- -max_total_time=$(FUZZ_SECONDS) || exit 1; done

bench: ## measure against the Python scripts, in one run: make bench ARGS="--only capture --rounds 3"
	@dev/setup.sh bench
	CFLAGS=-O2 dev/kafka/fetch-beside.sh cargo build --locked --release --bin edgereel --bin bench
	target/release/bench $(ARGS)

docs: ## the code's documentation: target/doc
	cargo doc --locked --workspace --no-deps

charts: ## check the charts and the manifests of the examples; write the table of values anew
	dev/charts-check.sh --fix

crds: ## write the CRDs, the JSON Schema and docs/reference.md anew from the types
	cargo run --locked --quiet --bin crdgen

clean: ## remove what was built and what the demo left
	cargo clean
	rm -rf .run
