#!/bin/sh
# From a bare Debian machine with a Rust toolchain to a signed apt repository in public/: Erlang/OTP and
# Elixir built from source for Debian bookworm. Needs Debian's archive and crates.io, nothing else.
set -eu
cd "$(dirname "$0")"

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=
for package in debian-archive-keyring gcc libc6-dev mmdebstrap pkg-config; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
	as_root apt-get update
	# shellcheck disable=SC2086
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
fi
cargo build --release --locked
forge=${CARGO_TARGET_DIR:-target}/release/forge
test -e keys/archive.asc || "$forge" key new keys/archive.asc --user-id "forge quick start <forge@localhost>"
"$forge" --profile quick update
exec "$forge" --profile quick run publish "$@"
