#!/usr/bin/env bash
# Builds target/deb/gatehouse_VERSION_ARCH.deb, and its debug symbols beside it.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=(dpkg-dev debhelper)
have() { dpkg-query -W -f '${db:Status-Status}\n' "${tools[@]}" 2>/dev/null | grep -cx installed || true; }
if [ "$(have)" != "${#tools[@]}" ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "the package needs ${tools[*]}; as root: apt-get install --no-install-recommends ${tools[*]}" >&2
    exit 1
  fi
  apt-get update -qq && apt-get install -y -qq --no-install-recommends "${tools[@]}"
fi
# cargo is rustup's, so it is not among the Build-Depends that dpkg knows.
dpkg-checkbuilddeps
command -v cargo >/dev/null || { echo "cargo is missing: https://rustup.rs" >&2; exit 1; }
clean() { debian/rules clean >/dev/null; }
clean
trap clean EXIT
rm -rf target/deb && mkdir -p target/deb
export DEB_DIR=target/deb DEB_BUILD_OPTIONS="nocheck ${DEB_BUILD_OPTIONS:-}" DEB_RULES_REQUIRES_ROOT=no
debian/rules binary
if command -v lintian >/dev/null; then
  lintian --allow-root --fail-on error,warning target/deb/*.deb
else
  echo "SKIPPED: lintian is not installed; the package was not checked" >&2
fi
ls -l target/deb
