#!/usr/bin/env bash
# Installs what the tests need from Debian's packages and crates.io.
set -euo pipefail
missing=()
for tool in git gcc g++ make kill strace mount tmux setpriv; do command -v "$tool" >/dev/null || missing+=("$tool"); done
if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends git gcc g++ libc6-dev make procps strace mount tmux util-linux
  else
    echo "missing: ${missing[*]}; as root: apt-get install git gcc g++ libc6-dev make procps strace mount tmux util-linux" >&2
    exit 1
  fi
fi
# For the suite's test of the container engine; Debian's package brings a daemon, which the suite starts by itself.
if ! command -v dockerd >/dev/null; then
  if [ "$(id -u)" != 0 ] || ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends docker.io; }; then
    echo "dockerd is missing and could not be installed; as root: apt-get install --no-install-recommends docker.io" >&2
    echo "The suite's test of a real container engine WILL FAIL." >&2
  fi
fi
# A real OpenID provider for the suite.
if [ ! -x target/oidc/bin/oidc-provider-mock ]; then
  { python3 -m venv target/oidc && target/oidc/bin/pip install -q oidc-provider-mock; } ||
    echo "oidc-provider-mock could not be installed (needs python3-venv); the suite's login at a provider WILL FAIL." >&2
fi
cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest
# A debug build: 3 minutes on two cores instead of 11, and a check takes a second longer. Without it packaging/deny.sh says SKIPPED.
cargo deny --version >/dev/null 2>&1 ||
  CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --debug --version 0.20.2 cargo-deny ||
  echo "cargo-deny could not be installed" >&2
# The suite has it ask a living daemon whether it keeps to docs/openapi.json. Without it that test says SKIPPED.
schemathesis=4.32.5 venv=target/schemathesis
if [ "$($venv/bin/st --version 2>/dev/null)" != "st, version $schemathesis" ]; then
  rm -rf $venv
  if ! python3 -m venv $venv >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv
    rm -rf $venv
    python3 -m venv $venv
  fi
  $venv/bin/pip install -q --disable-pip-version-check "schemathesis==$schemathesis" || {
    rm -rf $venv
    echo "SKIPPED: schemathesis could not be installed from PyPI; the contract WILL NOT BE TESTED" >&2
  }
fi
