#!/usr/bin/env bash
# Measures the operator against a real API server and etcd, with nothing behind them: requests for each resource, memory,
# idle CPU, what a restart writes, and how long all takes beside a plain client.
#
#   bench/operator.sh [N]          N cameras and N sinks (default 500)
#   PODS=1 bench/operator.sh [N]   and each has a ready pod, which is a status and nothing else
#
# BIN is the operator (default target/release/edgereel-operator). Counts and a ratio, not times: they are the same on any
# machine. The ratio is the operator's time, from its start until all children of the resources are there, to the time in
# which `kubectl apply` makes the same children in another namespace, with nobody else at work.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
n=${1:-500}
bin=${BIN:-target/release/edgereel-operator}
[ -x "$bin" ] || { echo "bench/operator.sh: no $bin: cargo build --release --bin edgereel-operator" >&2; exit 2; }
run=$(mktemp -d) port=${PORT:-26643} http=127.0.0.1:$((${PORT:-26643} + 10)) pid=
trap '[ -z "$pid" ] || kill "$pid" 2> /dev/null || true; dev/cluster/api-down.sh "$run" > /dev/null || true; rm -rf "$run"' EXIT
KUBECONFIG=$(dev/cluster/api-up.sh "$run" "$port" 2> "$run/up.log" | tail -1)
export KUBECONFIG
PATH=$(sed -n 's/.*PATH=\([^:]*\):.*/\1/p' "$run/up.log" | tail -1):$PATH
kubectl apply --server-side -f crds/yaml > /dev/null
kubectl wait --for=condition=Established --timeout=60s crd/{camerastreams,framesinks,kafkaconnections}.edgereel.dev > /dev/null

start() {
  "$bin" --worker-image edgereel:bench --allowed-host-paths /data --lease-namespace default --http "$http" > "$run/operator.log" 2>&1 &
  pid=$!
  for _ in $(seq 300); do
    [ "$(metric 'edgereel_operator_leader ')" = 1 ] && return
    sleep 0.1
  done
  cat "$run/operator.log" >&2
  exit 1
}
metric() { curl -s "http://$http/metrics" | awk -v of="$1" 'index($0, of) == 1 { sum += $NF } END { print sum + 0 }'; }
# Requests by verb and resource, without leases and watches.
requests() {
  curl -s "http://$http/metrics" | awk '/^edgereel_operator_api_requests_total/ && !/leases|verb="(list|watch)"/ {
    match($0, /verb="[a-z]+",resource="[^"]+"/); key = substr($0, RSTART, RLENGTH); gsub(/verb=|resource=|"/, "", key)
    sum[key] += $NF } END { for (key in sum) print key, sum[key] }' | sort
}
writes() { requests | awk '!/^get/ { sum += $2 } END { print sum + 0 }'; }
# Resident memory; that of the program itself is shared with other copies, and larger in a development build.
memory() { awk '/VmRSS|RssFile/ { m[$1] = int($2 / 1024) } END { print m["VmRSS:"] " MB (" m["RssFile:"] " of the program)" }' "/proc/$pid/status"; }
ticks() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }
quiet() { # until no request was made for five seconds
  local before=-1 now
  while now=$(requests | awk '{ sum += $2 } END { print sum + 0 }'); [ "$now" != "$before" ]; do
    before=$now
    sleep 5
  done
}
item() { printf '%s{"apiVersion":"edgereel.dev/v1alpha1","kind":"%s","metadata":{"name":"%s"},"spec":%s}' "$comma" "$1" "$2" "$3"; comma=,; }

stop() {
  kill "$pid"
  wait "$pid" || true
  pid=
}
now() { date +%s%N; }

start
echo "empty: $(memory)"
stop
comma=
{
  printf '{"apiVersion":"v1","kind":"List","items":['
  item KafkaConnection k '{"bootstrapServers":["k:9092"]}'
  for i in $(seq "$n"); do
    item CameraStream "c-$i" "{\"source\":{\"mjpeg\":{\"url\":\"http://c-$i/video\"}},\"topic\":{\"name\":\"c-$i\"},\"kafka\":{\"connectionRef\":{\"name\":\"k\"}}}"
    item FrameSink "s-$i" "{\"from\":{\"streamRef\":{\"name\":\"c-$i\"}},\"output\":{\"jpegFiles\":{\"directory\":\"$i\"}},\"storage\":{\"hostPath\":{\"path\":\"/data\"}},\"placement\":{\"nodes\":[\"edge\"]}}"
  done
  printf ']}'
} > "$run/resources.json"
kubectl create -f "$run/resources.json" > /dev/null
began=$(now)
start
# By the operator's own count first, so that the API server is asked only at the end.
children() { requests | awk '/^(patch|create),(deployments|statefulsets)/ { sum += $NF } END { print sum + 0 }'; }
workloads() { kubectl get deployments,statefulsets --no-headers | wc -l; }
before=-1 still=0
while total=$(children); [ "$total" -lt $((2 * n)) ] || [ "$(workloads)" != $((2 * n)) ]; do
  # A busy machine may be quiet for a while in the middle.
  if [ "$total" = "$before" ]; then still=$((still + 1)); else still=0; fi
  [ "$still" -lt 100 ] || { echo "only $(workloads) of $((2 * n)) workloads were made" >&2; exit 1; }
  before=$total
  sleep 0.2
done
took=$(($(now) - began))
quiet
echo "requests for $n cameras, $n sinks and one connection:"
requests | sed 's/^/  /'
echo "writes for each camera or sink: $(awk -v w="$(writes)" -v n="$n" 'BEGIN { printf "%.3f", w / (2 * n) }') (the least is 5: three children, a status, an event)"
echo "memory with all of them: $(memory)"
if [ "${PODS:-}" = 1 ]; then
  # As the controllers and the kubelet would have made them.
  kubectl create serviceaccount default > /dev/null 2>&1 || true
  kubectl get deployments,statefulsets -o json | jq -c '[.items[] | {apiVersion: "v1", kind: "Pod",
    metadata: {name: (.metadata.name + "-0"), namespace: .metadata.namespace,
      labels: .spec.template.metadata.labels, annotations: .spec.template.metadata.annotations},
    spec: (.spec.template.spec + {nodeName: "edge"})}] | {apiVersion: "v1", kind: "List", items: .}' > "$run/pods.json"
  kubectl create -f "$run/pods.json" > /dev/null
  kubectl get pods -o json | jq -c '.items[].status = {phase: "Running", podIP: "127.0.0.1", podIPs: [{ip: "127.0.0.1"}],
    conditions: [{type: "PodScheduled", status: "True"}, {type: "Ready", status: "True"}],
    containerStatuses: [{name: "worker", image: "edgereel:bench", imageID: "", ready: true, restartCount: 0,
      state: {running: {startedAt: "2024-06-04T10:30:00Z"}}}]}' > "$run/statuses.json"
  kubectl replace --subresource status -f "$run/statuses.json" > /dev/null
  quiet
  echo "memory with $((2 * n)) pods: $(memory)"
fi
before=$(ticks)
sleep 60
echo "idle CPU: $(awk -v t=$(($(ticks) - before)) 'BEGIN { printf "%.2f", t / 60 }') % of one core over a minute"
stop
start
quiet
echo "writes after a restart: $(writes); memory: $(memory)"
stop
kubectl create namespace plain > /dev/null
kubectl get deployments,statefulsets,configmaps,services,poddisruptionbudgets -l app.kubernetes.io/name=edgereel -o json | jq -c '
  .items[] |= (del(.status, .metadata.uid, .metadata.resourceVersion, .metadata.ownerReferences, .metadata.creationTimestamp,
    .metadata.generation, .metadata.managedFields, .spec.clusterIP?, .spec.clusterIPs?) | .metadata.namespace = "plain")' > "$run/children.json"
began=$(now)
kubectl apply --server-side -f "$run/children.json" > /dev/null
plain=$(($(now) - began))
echo "children: $(jq '.items | length' "$run/children.json"); time beside a plain client's: $(awk -v a=$took -v b=$plain 'BEGIN { printf "%.2f (%.1f s and %.1f s)", a / b, a / 1e9, b / 1e9 }')"
