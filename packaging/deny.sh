#!/usr/bin/env bash
# Advisories, bans, licences and sources of every crate in Cargo.lock. Where the RustSec database cannot be fetched,
# the snapshot in packaging/advisories stands in for it.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo deny --version >/dev/null 2>&1; then
  echo "SKIPPED: cargo-deny is not installed; advisories, bans, licences and sources were not checked" >&2
  exit 0
fi

stand_in() {
  local snapshot=packaging/advisories date days unseen repository
  date=$(cat $snapshot/DATE)
  days=$((($(date +%s) - $(date -d "$date" +%s)) / 86400))
  echo "SNAPSHOT: the RustSec database is out of reach; advisories are those of $date ($days days old) in $snapshot" >&2
  [ "$days" -le 90 ] || echo "SNAPSHOT: it is OLDER THAN 90 DAYS; renew it: $snapshot/README.md" >&2
  unseen=$(sed -n 's/^name = "\(.*\)"/\1/p' Cargo.lock | grep -v '^gatehouse-' | LC_ALL=C sort -u |
    LC_ALL=C comm -23 - $snapshot/looked-up | tr '\n' ' ')
  [ -z "$unseen" ] || echo "SNAPSHOT: it knows nothing of these crates, so they were NOT CHECKED: $unseen" >&2
  # The name cargo-deny gives the folder of https://github.com/RustSec/advisory-db; without it the check fails.
  repository=$1/advisory-db-3157b0e258782691
  rm -rf "$1" && mkdir -p "$repository"
  cp -r $snapshot/crates "$repository"
  git -C "$repository" init -q
  git -C "$repository" add crates
  git -C "$repository" -c user.name=gatehouse -c user.email=gatehouse@localhost -c commit.gpgsign=false \
    commit -q -m "advisories of $date"
}

unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
export GIT_TERMINAL_PROMPT=0 GATEHOUSE_ADVISORIES=$PWD/target/advisories/fetched
mkdir -p "$GATEHOUSE_ADVISORIES"
if timeout 20 cargo deny fetch db >/dev/null 2>&1; then
  echo "advisories: the RustSec database, fetched now" >&2
else
  rm -rf "$GATEHOUSE_ADVISORIES" # what a broken fetch left
  GATEHOUSE_ADVISORIES=$PWD/target/advisories/snapshot
  stand_in "$GATEHOUSE_ADVISORIES"
fi
cargo fetch --locked --quiet # crates of other targets, which no build fetched
cargo deny --locked --offline check advisories bans licenses sources
