#!/usr/bin/env bash
# Starts the appliance on embedded defaults in ./.run, with a demo API.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .run
if [ ! -s .run/admin-password ]; then
  (umask 077 && head -c 18 /dev/urandom | base64 | tr '+/' 'Zz' >.run/admin-password)
fi
cargo build --locked -p gatehouse-daemon -p gatehouse-tui
echo "administrator: admin   password: $(cat .run/admin-password)"
export GATEHOUSE_ADMIN_PASSWORD_FILE=.run/admin-password
exec target/debug/gatehoused --data-dir .run/data --runtime-dir .run/run --listen "${LISTEN:-127.0.0.1:8080}" --demo
