#!/usr/bin/env bash
# Stops what api-up.sh started under DIR.
#
#   api-down.sh DIR [--wipe]        --wipe removes DIR afterwards
set -euo pipefail
case ${1-} in -h | --help) set -- ;; *) [ ! -d "${1-}" ] || CLUSTER_RUN=$(cd "$1" && pwd) ;; esac
# shellcheck source=dev/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || { usage >&2; exit 2; }
[ -d "$1" ] || exit 0
stop kube-apiserver
stop etcd
[ "${2-}" != --wipe ] || rm -rf "$RUN"
