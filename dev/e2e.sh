#!/usr/bin/env bash
# The end-to-end tests, on the cluster that KUBECONFIG names, or on that of dev/cluster, which is started and stopped again
# unless it is up. `make e2e` calls it, with everything compiled.
#
#   e2e.sh [FILTER] [--exact] [--skip …] [--list]        as `cargo test` takes them
#
# With KUBECONFIG: a cluster with an address for this machine (E2E_HOST) and with nodes that share TMPDIR with it, such as
# k3s here, or kind with an extraMount; images that it can get by E2E_REPOSITORY (ghcr.io/edgereel) and E2E_TAG (e2e):
# edgereel, the same again tagged TAG-next, edgereel-operator and edgereel-ffmpeg-camera. What needs the cluster's own
# processes (API server restarted, audit log, killed worker, full volume) is left out there, and said.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case ${1-} in -h | --help) sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;; esac
cd "$root"
bin=$(dev/cluster/build.sh)
helm=$(dev/tools.sh helm)
export PATH=$bin:$helm:$PATH
if [ "${1-}" = --list ] || [ -n "${KUBECONFIG-}" ]; then
  exec target/debug/e2e "$@"
fi

[ "$(id -u)" = 0 ] || { echo "e2e: the test cluster needs root: sudo -E make e2e, or give another cluster by KUBECONFIG" >&2; exit 1; }
export CLUSTER_RUN=${CLUSTER_RUN:-/var/lib/edgereel-cluster} E2E_TAG=e2e
images=$(mktemp -d)
trap 'rm -rf "$images"' EXIT
dev/images.sh --from-host --profile dev --tag e2e --save "$images" worker operator ffmpeg-camera >&2
if [ ! -d "$CLUSTER_RUN" ]; then
  trap 'rm -rf "$images"; dev/cluster/down.sh' EXIT
  # Ctrl-C ends the tests first; then the cluster goes.
  trap 'exit 130' INT TERM
fi
# Two nodes, so that a pod can be on the wrong one.
KUBECONFIG=$(NODES=${NODES:-2} dev/cluster/up.sh "$images"/*.tar)
export KUBECONFIG
for socket in "$CLUSTER_RUN"/node-*/containerd.sock; do
  ctr -a "$socket" -n k8s.io images tag --force ghcr.io/edgereel/edgereel:e2e ghcr.io/edgereel/edgereel:e2e-next > /dev/null
done
rm -rf "$images"
target/debug/e2e "$@"
