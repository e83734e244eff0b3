#!/usr/bin/env bash
# Has the NetworkPolicies of a running cluster (up.sh) enforced for the pods of one node, by kube-router's policy controller,
# and ends that again.
#
#   policies.sh NODE        starts it, and waits until the node's pods have their chains
#   policies.sh --off       ends it, and removes its chains and sets from this machine
#
# One node: all nodes of this cluster share this machine's network, and two controllers would take each other's chains away.
# kube-router's own --cleanup-config wants IPVS, which it is not used for here.
set -euo pipefail
# shellcheck source=dev/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
case ${1-} in -h | --help) usage; exit 0 ;; '') fail 'which node? --help says more' ;; esac
[ -d "$RUN" ] || fail 'no cluster is up: dev/cluster/up.sh'
[ "$(id -u)" = 0 ] || fail 'must be root'

if [ "$1" = --off ]; then
  stop kube-router
  forget_policies
  exit 0
fi

tools=$("$here/../tools.sh" kube-router)
forget_policies
# From ingress to a policy's peers all is IPv4, and goes over the bridge: up.sh has it pass through iptables.
start kube-router "$tools/kube-router" --kubeconfig "$RUN/admin.kubeconfig" --hostname-override "$1" \
  --run-firewall=true --run-router=false --run-service-proxy=false --run-loadbalancer=false \
  --service-cluster-ip-range "$SERVICES" --iptables-sync-period 10s --health-port 20244
await 60 kube-router iptables -S KUBE-ROUTER-FORWARD 1
