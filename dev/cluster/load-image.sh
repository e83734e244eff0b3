#!/usr/bin/env bash
# Imports image archives (`docker save` or OCI layout) on every node of the running cluster.
#
#   load-image.sh FILE.tar…
#
# Pods must use imagePullPolicy IfNotPresent or Never. An archive that a node has been given already is not imported again.
set -euo pipefail
# shellcheck source=dev/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
case ${1-} in -h | --help) usage; exit 0 ;; esac
for socket in "$RUN"/node-*/containerd.sock; do
  [ -S "$socket" ] || fail "there is no containerd at $socket: is the cluster up?"
done
for file; do
  hash=$(sha256sum < "$file" | cut -d' ' -f1)
  for socket in "$RUN"/node-*/containerd.sock; do
    loaded=$(dirname "$socket")/loaded/$hash
    [ ! -f "$loaded" ] || continue
    timeout 300 ctr -a "$socket" -n k8s.io images import "$file" > /dev/null
    mkdir -p "$(dirname "$loaded")"
    : > "$loaded"
  done
done
