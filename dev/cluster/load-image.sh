#!/usr/bin/env bash
# Imports image archives (`docker save` or OCI layout) on every node of the running cluster.
#
#   load-image.sh FILE.tar…
#
# Pods must use imagePullPolicy IfNotPresent or Never.
set -euo pipefail
# shellcheck source=dev/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
case ${1-} in -h | --help) usage; exit 0 ;; esac
for socket in "$RUN"/node-*/containerd.sock; do
  [ -S "$socket" ] || fail "there is no containerd at $socket: is the cluster up?"
  for file; do
    timeout 300 ctr -a "$socket" -n k8s.io images import "$file" > /dev/null
  done
done
