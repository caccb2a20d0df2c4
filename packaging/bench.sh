#!/usr/bin/env bash
# Measures target/release/gatehoused beside nginx and HAProxy; QUICK=1 takes about six minutes instead of ten.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
for tool in nginx haproxy wrk strace; do [ -x "/usr/sbin/$tool" ] || [ -x "/usr/bin/$tool" ] || missing+=("$tool"); done
[ -x /usr/bin/h2load ] || missing+=(nghttp2-client)
[ -x /usr/bin/callgrind_control ] || missing+=(valgrind)
[ -x /usr/bin/taskset ] || missing+=(util-linux)
if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"
  else
    echo "missing; as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p target/bench
target/release/bench target/release/gatehoused "$folder" target/bench/results.json ${QUICK:+--quick}
