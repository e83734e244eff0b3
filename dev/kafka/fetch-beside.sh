#!/usr/bin/env bash
# Runs a command, such as `cargo build`, while Kafka is fetched, and waits for both.
#
#   fetch-beside.sh COMMAND [ARGUMENT…]
#
# Its exit status is the command's; when only the fetch failed, the fetch's. With Kafka there already, the command alone.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage() { sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"; }
case ${1-} in -h | --help) usage; exit 0 ;; '') usage >&2; exit 2 ;; esac

# A process group of its own, so that Maven ends with it.
set -m
"$here/kafka-up.sh" --fetch < /dev/null &
fetch=$!
set +m
trap 'kill -- "-$fetch" 2> /dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$@"
wait "$fetch"
