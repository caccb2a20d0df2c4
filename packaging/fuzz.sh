#!/usr/bin/env bash
# Fuzzes each target of tests/fuzz for SECS seconds (15); "fuzz.sh check" only asks the compiler whether they build. The passes and options are those of LLVM's coverage for libFuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
# A folder of its own: what is built with other flags would push the workspace's own build aside.
export CARGO_TARGET_DIR=$PWD/target/fuzz
# The workspace's versions; cargo leaves out what is not needed and adds libFuzzer.
cp Cargo.lock tests/fuzz/Cargo.lock
if [ "${1:-}" = check ]; then
  RUSTFLAGS="--cfg fuzzing" exec cargo check --manifest-path tests/fuzz/Cargo.toml
fi
# With a target named, programs that run while building are not instrumented.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" \
  cargo build --release --target "$host" --manifest-path tests/fuzz/Cargo.toml
for corpus in tests/fuzz/corpus/*/; do
  target=$(basename "$corpus")
  mkdir -p "target/fuzz/corpus/$target"
  echo "fuzz: $target"
  # An input may not take long, nor much memory: a parser is to bound both.
  "target/fuzz/$host/release/$target" -max_total_time="${SECS:-15}" -timeout=2 -rss_limit_mb=1024 -max_len=20000 -print_final_stats=1 \
    -artifact_prefix="target/fuzz/$target-" "target/fuzz/corpus/$target" "$corpus" 2>"target/fuzz/$target.log" || {
    tail -40 "target/fuzz/$target.log" >&2
    exit 1
  }
  grep -E 'stat::number_of_executed_units|DONE' "target/fuzz/$target.log"
done
