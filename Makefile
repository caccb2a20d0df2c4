export CARGO_TERM_COLOR ?= never

.PHONY: run test release bench deb test-package fuzz setup

run:            ## build and start the appliance with a demo API
	@packaging/run.sh

release:        ## target/release/gatehoused, gatehouse and gatehouse-workspace
	cargo build --release --locked -p gatehouse-daemon -p gatehouse-tui -p gatehouse-workspace

bench: release  ## beside nginx and HAProxy, into target/bench/results.json; QUICK=1 is shorter
	cargo build --release --locked -p gatehouse-tests --bin bench
	@packaging/bench.sh
	cargo build --locked -p gatehouse-daemon
	cargo nextest run --locked -p gatehouse-tests --test suite --run-ignored only -E 'test(/^streaming::/)'

deb:            ## target/deb/gatehouse_*.deb
	@packaging/deb.sh

test-package:   ## installs, upgrades, breaks and purges that .deb in a booted Debian of its own (root; a minute, three the first time)
	@packaging/test-package.sh

fuzz:           ## every parser by libFuzzer and by property tests, about two minutes beside the build; SECS=600 is longer
	@packaging/fuzz.sh
	PROPTEST_CASES=4000 cargo nextest run --locked --workspace --lib -E 'test(/panics|passes_loads|in_its_bucket/)'

setup:
	@packaging/setup.sh

test: setup     ## every check, cheapest first
	git ls-files '*.rs' | xargs rustfmt --edition 2024 --check
	cargo nextest run --locked -p gatehouse-tests --test suite -E 'test(/^(tidy|layering|registry)::/)'
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@packaging/fuzz.sh check
	@packaging/deny.sh
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --no-deps --quiet
	cargo build --locked -p gatehouse-daemon -p gatehouse-tui -p gatehouse-workspace
	cargo nextest run --locked --workspace
