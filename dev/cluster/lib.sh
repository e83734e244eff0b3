# shellcheck shell=bash disable=SC2034 # what stands here is used elsewhere
# What the scripts here share: settings, processes that can be found again, keys. Sourced, not run.
#
# Settings, each of which the environment can give:
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
me=$(basename "$0" .sh)
NODES=${NODES:-1}                      # kubelets, each with a containerd of its own
BRIDGE=${BRIDGE:-kube0}                # all pods of all nodes are on this bridge
NET=${NET:-10.244}                     # /16: .0.1 is this machine, .0.N is node N, .N.0/24 are its pods
SERVICES=${SERVICES:-10.96.0.0/16}     # ClusterIPs; the first is the API server's Service
CNI_BIN=${CNI_BIN:-/usr/lib/cni}       # the CNI plugins bridge, host-local and loopback
# What runs, and all that pods write. Sockets are in it: the path has to be short. Gone after down.sh.
RUN=${CLUSTER_RUN:-/var/lib/edgereel-cluster}

HOST=$NET.0.1
VERSION=$(sed -n 's/^\tk8s\.io\/kubernetes v\([0-9.]*\)$/\1/p' "$here/kube/go.mod")
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/edgereel/kubernetes-$VERSION-$(
  cd "$here" && sed '/^ *#/d' build.sh pause.c kube/* | sha256sum | cut -c1-12 # comments build nothing
)
BIN=$CACHE/bin

fail() { echo "$me: $*" >&2; exit 1; }
say() { echo "$me: $*" >&2; }
usage() { sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0"; }

# The machine's cgroup trees: one in version 2, one for each controller in version 1.
cgroups() {
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; else printf '%s\n' /sys/fs/cgroup/*/; fi
}

# --- processes -------------------------------------------------------------------------------------------------------
# Each has its number in $RUN/pid/NAME and its output in $RUN/log/NAME; a variable marks it as this cluster's.

# Is this process number (still) one that this cluster started? Numbers are used again.
ours() { grep -qzxF "EDGEREEL_CLUSTER=$RUN" "/proc/$1/environ" 2>/dev/null; }

running() { [ -s "$RUN/pid/$1" ] && ours "$(cat "$RUN/pid/$1")"; }

# start NAME COMMAND… runs it in the background, in a session of its own, unless it runs already.
start() {
  local name=$1
  shift
  if running "$name"; then return; fi
  EDGEREEL_CLUSTER=$RUN setsid "$@" >> "$RUN/log/$name" 2>&1 < /dev/null &
  echo $! > "$RUN/pid/$name"
}

# await SECONDS NAME COMMAND… waits until COMMAND succeeds. When it does not in time, or process NAME is gone, the end of
# NAME's log is shown.
await() {
  local limit=$((SECONDS + $1)) name=$2
  shift 2
  until "$@" > /dev/null 2> "$RUN/log/await"; do
    # The mark appears a moment after the fork.
    if ! kill -0 "$(cat "$RUN/pid/$name")" 2>/dev/null; then
      tail -n 20 "$RUN/log/$name" >&2
      fail "$name ended; its log is $RUN/log/$name"
    fi
    if [ $SECONDS -ge "$limit" ]; then
      tail -n 5 "$RUN/log/await" >&2
      tail -n 20 "$RUN/log/$name" >&2
      fail "gave up waiting for: $*; the log of $name is $RUN/log/$name"
    fi
    sleep 0.1
  done
}

# stop NAME… ends these processes and waits until they are gone.
stop() {
  local name pid limit
  for name; do
    if running "$name"; then kill "$(cat "$RUN/pid/$name")" 2>/dev/null || true; fi
  done
  for name; do
    [ -s "$RUN/pid/$name" ] || continue
    pid=$(cat "$RUN/pid/$name") limit=$((SECONDS + 3)) # the API server would take a minute to let its clients go
    while ours "$pid"; do
      [ $SECONDS -lt $limit ] || kill -KILL "$pid" 2>/dev/null || true
      sleep 0.05
    done
    rm -f "$RUN/pid/$name"
  done
}

# --- keys, certificates, kubeconfigs ------------------------------------------------------------------------------------

key() { [ -f "$RUN/pki/$1.key" ] || (umask 077 && openssl ecparam -name prime256v1 -genkey -noout -out "$RUN/pki/$1.key"); }

# authority NAME
authority() {
  key "$1"
  [ -f "$RUN/pki/$1.crt" ] ||
    openssl req -x509 -new -key "$RUN/pki/$1.key" -subj "/CN=edgereel-test-$1" -days 30 -out "$RUN/pki/$1.crt"
}

# cert NAME SUBJECT EXTENSIONS [AUTHORITY]
cert() {
  [ ! -f "$RUN/pki/$1.crt" ] || return 0
  key "$1"
  local by=$RUN/pki/${4:-ca}
  openssl req -new -key "$RUN/pki/$1.key" -subj "$2" |
    openssl x509 -req -CA "$by.crt" -CAkey "$by.key" -set_serial "0x$(openssl rand -hex 8)" -days 30 \
      -extfile <(echo "$3") -out "$RUN/pki/$1.crt.part" 2>/dev/null
  mv "$RUN/pki/$1.crt.part" "$RUN/pki/$1.crt"
}

# client NAME SUBJECT SERVER writes $RUN/NAME.kubeconfig.
client() {
  cert "$1" "$2" extendedKeyUsage=clientAuth
  [ -f "$RUN/$1.kubeconfig" ] || (
    umask 077
    cat > "$RUN/$1.kubeconfig.part" << YAML
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "$3", certificate-authority-data: $(base64 -w0 "$RUN/pki/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$RUN/pki/$1.crt"), client-key-data: $(base64 -w0 "$RUN/pki/$1.key")}}]
contexts: [{name: test, context: {cluster: test, user: $1}}]
current-context: test
YAML
    mv "$RUN/$1.kubeconfig.part" "$RUN/$1.kubeconfig"
  )
}

# --- etcd and the API server --------------------------------------------------------------------------------------------

# api_server ADDRESS PORT ETCD_PORT [FLAG…] starts both and waits until they are ready.
api_server() {
  local address=$1 port=$2 etcd=$3 pki=$RUN/pki first=${SERVICES%.*}.1
  shift 3
  mkdir -p "$pki" "$RUN/log" "$RUN/pid" "$RUN/audit"
  authority ca
  authority front-proxy-ca # for aggregated API servers
  key service-accounts
  cert apiserver /CN=kube-apiserver "extendedKeyUsage=serverAuth
subjectAltName=IP:$address,IP:127.0.0.1,IP:$first,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  cert front-proxy /CN=front-proxy extendedKeyUsage=clientAuth front-proxy-ca
  client admin /O=system:masters/CN=admin "https://$address:$port"

  local urls=(http://127.0.0.1:"$etcd" http://127.0.0.1:$((etcd + 1)))
  start etcd etcd --data-dir "$RUN/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "${urls[0]}" --advertise-client-urls "${urls[0]}" \
    --listen-peer-urls "${urls[1]}" --initial-advertise-peer-urls "${urls[1]}" --initial-cluster "default=${urls[1]}"
  start kube-apiserver kube-apiserver --etcd-servers "${urls[0]}" \
    --bind-address "$address" --advertise-address "$address" --secure-port "$port" \
    --service-cluster-ip-range "$SERVICES" --allow-privileged=true --kubelet-preferred-address-types InternalIP \
    --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
    --client-ca-file "$pki/ca.crt" --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
    --kubelet-client-certificate "$pki/admin.crt" --kubelet-client-key "$pki/admin.key" \
    --requestheader-client-ca-file "$pki/front-proxy-ca.crt" --requestheader-allowed-names front-proxy \
    --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
    --requestheader-extra-headers-prefix X-Remote-Extra- \
    --proxy-client-cert-file "$pki/front-proxy.crt" --proxy-client-key-file "$pki/front-proxy.key" \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$pki/service-accounts.key" \
    --service-account-signing-key-file "$pki/service-accounts.key" \
    --audit-policy-file "$here/audit.yaml" --audit-log-path "$RUN/audit/audit.log" --audit-log-maxsize 1000 "$@"
  await 60 etcd true
  await 60 kube-apiserver kubectl --kubeconfig "$RUN/admin.kubeconfig" get --raw /readyz
}

# --- what policies.sh leaves in this machine's network ------------------------------------------------------------------

# forget_policies removes the chains and sets that kube-router made; they are known by their names.
forget_policies() {
  local chain hook set rule
  command -v iptables > /dev/null || return 0
  for hook in INPUT FORWARD OUTPUT; do
    while read -r rule; do
      # shellcheck disable=SC2086 # its words, and a comment in quotes
      eval iptables -w -D ${rule#-A }
    done < <(iptables -w -S "$hook" 2> /dev/null | grep -- "-j KUBE-ROUTER-$hook\$")
  done
  mapfile -t chains < <(iptables -w -S 2> /dev/null | sed -nE 's/^-N (KUBE-(ROUTER|POD-FW|NWPLCY)-.*)$/\1/p')
  for chain in ${chains[@]+"${chains[@]}"}; do iptables -w -F "$chain"; done
  for chain in ${chains[@]+"${chains[@]}"}; do iptables -w -X "$chain"; done
  command -v ipset > /dev/null || return 0
  while read -r set; do
    ipset destroy "$set"
  done < <(ipset list -n | grep -E '^(inet6:)?KUBE-(SRC|DST)-')
}
