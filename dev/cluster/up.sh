#!/usr/bin/env bash
# Starts a real Kubernetes cluster on this machine and waits until its nodes are ready: etcd, API server, controller
# manager, scheduler, kube-proxy, DNS and a storage provisioner, then a containerd and a kubelet for each node. All of
# them are plain processes; pods are real containers. Nothing is pulled from an image registry.
#
#   [NODES=2] up.sh [IMAGE.tar…]
#
# Needs root. Run again while the cluster is up, it starts what is missing. One cluster a machine. Settings: lib.sh.
# The last line on stdout is the path of the kubeconfig.
#
# What differs from other clusters: images are loaded, not pulled (imagePullPolicy IfNotPresent or Never). The default
# storage class makes a folder of this machine for each claim. Network policies are accepted, and enforced for the pods of
# one node once policies.sh has been called. There are no load balancers, metrics API or host ports. Pods resolve names of
# the cluster only. Every node shows all of the machine's processors and memory.
set -euo pipefail
# shellcheck source=dev/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
case ${1-} in -h | --help) usage; exit 0 ;; esac

began=$SECONDS
[ "$(id -u)" = 0 ] || fail "containers need root: run it as root or with sudo -E"
[ -d "$CNI_BIN" ] || CNI_BIN=/opt/cni/bin
for tool in containerd ctr runc ip nft openssl "$CNI_BIN/bridge"; do
  command -v "$tool" > /dev/null || fail "$tool is missing on this machine: run dev/setup.sh cluster (make setup)"
done
[ ${#RUN} -le 60 ] || fail "the path $RUN is too long for the sockets in it: set CLUSTER_RUN"
# All but the last address of the bridge's /16 is taken for nodes and their pods.
[[ $NODES =~ ^[1-9]$ ]] || fail "NODES is $NODES, and has to be 1 to 9"
"$here/build.sh" > /dev/null
PATH=$BIN:$PATH
export KUBECONFIG=$RUN/admin.kubeconfig
mkdir -p "$RUN/pid" "$RUN/log" "$RUN/volumes"
: > "$RUN/resolv.conf"

# --- network: one bridge; this machine's address on it is every pod's gateway ---

if ! ip link show "$BRIDGE" > /dev/null 2>&1; then
  ip link add "$BRIDGE" type bridge
  ip addr add "$HOST/16" dev "$BRIDGE"
  ip link set "$BRIDGE" up
fi
for setting in net/ipv4/ip_forward net/bridge/bridge-nf-call-iptables; do
  [ -f "/proc/sys/$setting" ] || continue # without the module bridge-nf nothing has to be set
  [ -f "$RUN/was-${setting##*/}" ] || cat "/proc/sys/$setting" > "$RUN/was-${setting##*/}"
  echo 1 > "/proc/sys/$setting"
done
nft -f - << NFT
table ip edgereel-cluster
delete table ip edgereel-cluster
table ip edgereel-cluster {
  chain postrouting {
    type nat hook postrouting priority srcnat
    ip saddr $NET.0.0/16 ip daddr != $NET.0.0/16 masquerade
  }
}
NFT

# --- control plane ---

api_server "$HOST" 6443 12379
for name in kube-controller-manager kube-scheduler; do
  client $name /CN=system:$name "https://$HOST:6443"
  flags=(--kubeconfig "$RUN/$name.kubeconfig" --authentication-kubeconfig "$RUN/$name.kubeconfig"
    --authorization-kubeconfig "$RUN/$name.kubeconfig" --leader-elect=false --bind-address 127.0.0.1)
  [ $name = kube-scheduler ] || flags+=(--use-service-account-credentials=true --root-ca-file "$RUN/pki/ca.crt"
    --service-account-private-key-file "$RUN/pki/service-accounts.key"
    --cluster-signing-cert-file "$RUN/pki/ca.crt" --cluster-signing-key-file "$RUN/pki/ca.key"
    --node-monitor-period 2s --node-monitor-grace-period 20s)
  start $name $name "${flags[@]}"
done

# A new kube-proxy trusts the endpoint chains that a former one left, even empty ones.
running kube-proxy || nft delete table ip kube-proxy 2> /dev/null || true
client kube-proxy /CN=system:kube-proxy "https://$HOST:6443"
start kube-proxy kube-proxy --kubeconfig "$RUN/kube-proxy.kubeconfig" --proxy-mode nftables \
  --cluster-cidr "$NET.0.0/16" --hostname-override node-1 --conntrack-max-per-core 0 --oom-score-adj 0 \
  --nodeport-addresses "$NET.0.0/24" --healthz-bind-address 127.0.0.1:10256 --metrics-bind-address 127.0.0.1:10249

cat > "$RUN/Corefile" << COREFILE
.:53 {
  bind $HOST
  errors
  ready 127.0.0.1:18181
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $RUN/admin.kubeconfig
    ttl 2
  }
  cache 2
}
COREFILE
start coredns coredns -conf "$RUN/Corefile"

start provisioner provisioner --kubeconfig "$RUN/admin.kubeconfig" --dir "$RUN/volumes"
kubectl apply -f - > /dev/null << YAML
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: edgereel.invalid/dir
volumeBindingMode: WaitForFirstConsumer
reclaimPolicy: Delete
allowVolumeExpansion: true
YAML

# --- nodes ---

# Overlays cannot lie on overlays: inside another container, layers are copied.
[ "$(stat -f -c %T "$RUN")" = overlayfs ] && SNAPSHOTTER=${SNAPSHOTTER:-native}

for ((n = 1; n <= NODES; n++)); do
  node=node-$n ip=$NET.0.$n dir=$RUN/node-$n
  mkdir -p "$dir/cni" "$dir/kubelet"
  client "$node" "/O=system:nodes/CN=system:node:$node" "https://$HOST:6443"
  [ "$n" = 1 ] || ip addr replace "$ip/32" dev "$BRIDGE"

  cat > "$dir/cni/10-bridge.conflist" << JSON
{"cniVersion": "1.0.0", "name": "edgereel-cluster-$n", "plugins": [
  {"type": "bridge", "bridge": "$BRIDGE", "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$dir/ipam", "routes": [{"dst": "0.0.0.0/0"}],
            "ranges": [[{"subnet": "$NET.0.0/16", "rangeStart": "$NET.$n.1", "rangeEnd": "$NET.$n.254", "gateway": "$HOST"}]]}}]}
JSON
  cat > "$dir/containerd.toml" << TOML
version = 2
root = "$dir/containerd"
state = "$dir/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "$dir/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true # without CAP_SYS_RESOURCE no pod would start
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$CNI_BIN"
    conf_dir = "$dir/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "${SNAPSHOTTER:-overlayfs}"
TOML
  start "containerd-$n" containerd --config "$dir/containerd.toml"

  cat > "$dir/kubelet.yaml" << YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $ip
healthzBindAddress: $ip
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "$RUN/pki/ca.crt"}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$dir/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /edgereel-cluster/$node
failCgroupV1: false
oomScoreAdj: 0
failSwapOn: false
makeIPTablesUtilChains: false
clusterDNS: [$HOST]
clusterDomain: cluster.local
resolvConf: $RUN/resolv.conf
podLogsDir: $dir/pod-logs
volumePluginDir: $dir/volume-plugins
serverTLSBootstrap: false
# Neither evict pods nor drop images because the machine's disk is full: nothing can be pulled again.
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%"}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
# Quicker than the usual 1m, 5s and 10s, so that tests wait less.
syncFrequency: 10s
nodeStatusUpdateFrequency: 4s
nodeLeaseDurationSeconds: 16
fileCheckFrequency: 10s
YAML
  cgroups | while read -r tree; do
    tree=${tree%/}
    mkdir -p "$tree/edgereel-cluster"
    for parent in "$tree" "$tree/edgereel-cluster"; do # version 2 hands no controller down by itself
      [ "$tree" != /sys/fs/cgroup ] || sed 's/[^ ]*/+&/g' "$parent/cgroup.controllers" > "$parent/cgroup.subtree_control"
    done
    mkdir -p "$tree/edgereel-cluster/$node"
  done
done
for ((n = 1; n <= NODES; n++)); do
  await 30 "containerd-$n" ctr -a "$RUN/node-$n/containerd.sock" plugins ls
done
"$here/load-image.sh" "$CACHE"/images/*.tar "$@"
for ((n = 1; n <= NODES; n++)); do
  node=node-$n dir=$RUN/node-$n
  start "kubelet-$n" kubelet --config "$dir/kubelet.yaml" --kubeconfig "$RUN/$node.kubeconfig" \
    --root-dir "$dir/kubelet" --cert-dir "$dir/kubelet/pki" --hostname-override "$node" --node-ip "$NET.0.$n"
done
for ((n = 1; n <= NODES; n++)); do
  await 60 "kubelet-$n" kubectl wait --for=condition=Ready --timeout=1s "node/node-$n"
done
await 30 kube-controller-manager kubectl get serviceaccount default # pods of namespace default need it
dns_ready() {
  exec 3<> /dev/tcp/127.0.0.1/18181
  printf 'GET /ready HTTP/1.0\r\n\r\n' >&3
  grep -q '200 OK' <&3
}
export -f dns_ready
await 30 coredns bash -c dns_ready

say "up in $((SECONDS - began)) s: export KUBECONFIG=$KUBECONFIG PATH=$BIN:\$PATH"
echo "$KUBECONFIG"
