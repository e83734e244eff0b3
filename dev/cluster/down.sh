#!/usr/bin/env bash
# Stops the cluster of up.sh and removes all that it and its pods left on this machine. What build.sh made stays, and so
# do hostPaths of pods. Does no harm when nothing runs.
set -uo pipefail
# shellcheck source=dev/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
case ${1-} in -h | --help) usage; exit 0 ;; esac

began=$SECONDS
[ -d "$RUN" ] || exit 0
[ "$(id -u)" = 0 ] || fail "must be root"

# named PATTERN… as grep takes it: which of our processes there are, by name
named() {
  local file
  for file in "$RUN"/pid/*; do
    [ ! -f "$file" ] || basename "$file"
  done | grep "$@"
}

mapfile -t kubelets < <(named '^kubelet-')
stop ${kubelets[@]+"${kubelets[@]}"}
for socket in "$RUN"/node-*/containerd.sock; do # no kubelet restarts what ends now
  [ -S "$socket" ] || continue
  timeout 10 ctr -a "$socket" -n k8s.io tasks ls -q 2> /dev/null |
    timeout 60 xargs -r -n 20 -P 4 ctr -a "$socket" -n k8s.io tasks rm -f > /dev/null 2>&1
done
mapfile -t others < <(named -v '^kubelet-\|^etcd$\|^kube-apiserver$')
stop ${others[@]+"${others[@]}"}
stop kube-apiserver
stop etcd

# What a containerd that had died left running: containers, then their shims.
cgroups | while read -r tree; do
  find "${tree%/}/edgereel-cluster" -name cgroup.procs -exec cat {} + 2> /dev/null
done | sort -u | xargs -r kill -KILL 2> /dev/null
for proc in /proc/[0-9]*; do
  if ours "${proc#/proc/}"; then kill -KILL "${proc#/proc/}"; fi
done

# What the CNI plugins noted about each of our pods: its network namespace, its id.
for note in /var/lib/cni/results/edgereel-cluster-*-eth0; do
  [ -f "$note" ] || continue
  ip netns del "$(grep -o 'netns/cni-[0-9a-f-]*' "$note" | head -n 1 | cut -d/ -f2)" 2> /dev/null
  id=${note%-eth0}
  rm -f "$note" /var/lib/cni/results/cni-loopback-"${id##*-}"-lo
done

forget_policies
mounts() { awk -v run="$RUN/" 'index($5, run) == 1 {print $5}' /proc/self/mountinfo | sort -r; }
mounts | xargs -r -d '\n' -n 1 umount -l
ip link del "$BRIDGE" 2> /dev/null
for table in edgereel-cluster kube-proxy; do
  nft delete table ip $table 2> /dev/null
done
nft delete table ip6 kube-proxy 2> /dev/null
for setting in net/ipv4/ip_forward net/bridge/bridge-nf-call-iptables; do
  cat "$RUN/was-${setting##*/}" > "/proc/sys/$setting" 2> /dev/null
done
cgroups | while read -r tree; do
  tree=${tree%/}/edgereel-cluster
  [ ! -d "$tree" ] || find "$tree" -depth -type d -exec rmdir {} + 2> /dev/null
done
[ -z "$(mounts)" ] || fail "still mounted, so nothing is deleted: $(mounts)"
rm -rf --one-file-system "$RUN"
find /var/log/containers -xtype l -lname "$RUN/*" -delete 2> /dev/null
rm -f /var/lib/kubelet/device-plugins/kubelet.sock # there whatever --root-dir is
rmdir --ignore-fail-on-non-empty -p /var/log/containers /var/lib/cni/results /var/lib/kubelet/device-plugins 2> /dev/null
[ ! -e "$RUN" ] || fail "could not remove all of $RUN"
say "down in $((SECONDS - began)) s"
