#!/usr/bin/env bash
# Starts a real etcd and a real Kubernetes API server on 127.0.0.1, with nothing behind them: no pod ever runs, no
# controller acts. For benchmarks and for tests that only need the API. Needs no root; several can run side by side, and
# beside the cluster of up.sh.
#
#   api-up.sh DIR PORT        DIR is for data, keys and logs; PORT serves clients, PORT+1 and PORT+2 are etcd's
#
# The last line on stdout is the path of the kubeconfig, whose user may do everything. DIR/audit/audit.log has all
# requests. Stop it with api-down.sh DIR.
set -euo pipefail
case ${1-} in -h | --help) set -- ;; *) [ $# -lt 1 ] || { mkdir -p "$1" && CLUSTER_RUN=$(cd "$1" && pwd); } ;; esac
# shellcheck source=dev/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
[ $# = 2 ] || { usage >&2; exit 2; }
command -v openssl > /dev/null || fail "openssl is not installed: run dev/setup.sh cluster (make setup)"
"$here/build.sh" > /dev/null
PATH=$BIN:$PATH
mkdir -p "$RUN/log" "$RUN/pid"
# Loopback may not stand in a Service's endpoints.
api_server 127.0.0.1 "$2" $(($2 + 1)) --endpoint-reconciler-type none
say "up: export KUBECONFIG=$RUN/admin.kubeconfig PATH=$BIN:\$PATH"
echo "$RUN/admin.kubeconfig"
