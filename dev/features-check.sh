#!/usr/bin/env bash
# Checks that tests need no feature of a library which programs are built without. Cargo would compile that library, and all
# that stands on it, once for `cargo build` and once more for `cargo test`.
#
#   dev/features-check.sh
set -euo pipefail
case ${1-} in -h | --help) sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Every package with its features, for these kinds of dependencies.
packages() { cargo tree --quiet --locked --workspace --prefix none --format '{p} {f}' --edges "$1" | sed 's/ (\*)$//' | sort -u; }
built=$(packages normal,build)
tested=$(packages normal,build,dev)
twice=$(comm -23 <(echo "$built") <(echo "$tested"))
[ -z "$twice" ] && exit 0
echo "features-check: tests are built with other features of these than programs are:
$twice
Whatever a crate's [dev-dependencies] add, tests/Cargo.toml asks for too, under [dependencies]: see there." >&2
exit 1
