#!/usr/bin/env bash
# Starts a real Apache Kafka (brokers that are their own quorum, no ZooKeeper) and waits until it is ready.
#
#   kafka-up.sh BROKERS DIR PORT [options]
#   kafka-up.sh --fetch [--kafka VERSION]        fetch Kafka, unless it is there, and start nothing
#
#     BROKERS    1 to 9; from 3 on there are three copies of everything and two have to be in sync
#     DIR        where data, settings and logs go: DIR/node-I/{server.properties,data,server.log,pid}
#     PORT       broker I (from 0) serves clients on PORT+I; its quorum uses PORT+50+I
#
#     --secure            TLS and SCRAM-SHA-512 for clients, ACLs that allow nothing by default, mutual TLS in the
#                         quorum. DIR/secure has ca.crt, admin.pw (user `admin` may do everything), guest.pw (user
#                         `guest` may do nothing) and admin.properties for the command-line tools.
#     --host ADDRESS      this machine's address for clients and brokers; 127.0.0.1 unless given
#     --set KEY=VALUE     one more line of server.properties; repeatable
#     --heap SIZE         each broker's Java heap; 512m unless given
#     --only I            broker I alone: start it again after a stop, its data is kept
#     --prepare           write settings and format the storage, start nothing
#     --foreground        with --only: become that broker's process instead of leaving it in the background
#     --kafka VERSION     another release, 3.8 or 4.x; the default stands in pom.xml
#
# The last line on stdout is `bootstrap=HOST:PORT,…`; all else goes to stderr. Stop it with kafka-down.sh DIR.
# Kafka's jars are fetched once, by Maven, into ${XDG_CACHE_HOME:-~/.cache}/edgereel/kafka-VERSION/libs; two runs at once
# fetch them once, and one that was cut off leaves nothing half.
# More throughput, slower start: KAFKA_JVM_OPTS=-XX:+UseG1GC and --heap 1g.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() { echo "kafka-up: $*" >&2; exit 1; }
say() { echo "kafka-up: $*" >&2; }
usage() { sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"; }
case ${1-} in -h | --help) usage; exit 0 ;; esac
fetch=0 n='' dir='' port=''
if [ "${1-}" = --fetch ]; then
  fetch=1
  shift
else
  [ $# -ge 3 ] || { usage >&2; exit 2; }
  n=$1 dir=$2 port=$3
  shift 3
fi
secure=0 prepare=0 foreground=0 heap=512m only='' version='' host=127.0.0.1 extra=()
while [ $# -gt 0 ]; do
  case $1 in
    --secure) secure=1 ;;
    --prepare) prepare=1 ;;
    --foreground) foreground=1 ;;
    --host | --set | --heap | --only | --kafka)
      [ $# -ge 2 ] || die "$1 needs a value"
      case $1 in
        --host) host=$2 ;; --set) extra+=("$2") ;; --heap) heap=$2 ;; --only) only=$2 ;; --kafka) version=$2 ;;
      esac
      shift
      ;;
    *) die "unknown option $1; --help lists them" ;;
  esac
  shift
done
[[ $fetch = 1 || $n =~ ^[1-9]$ ]] || die "BROKERS is $n, and has to be 1 to 9"
[[ $foreground = 0 || -n $only ]] || die "--foreground needs --only"
command -v java >/dev/null || die "Java is not installed: run dev/setup.sh demo (make setup)"
version=${version:-$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")}

# --- the jars ----------------------------------------------------------------
cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgereel/kafka-$version

# Through Maven, and not from a list of addresses: it knows the mirror, proxy and password of whoever runs this.
fetch_jars() {
  local files=0 line silent_until=$((SECONDS + 5))
  say "fetching Kafka $version with Maven, once: 160 files, 49 MB; seconds on a fast line, minutes on a slow one"
  # What an earlier run was cut off from.
  rm -rf "$cache/fetching" "$cache/fetching.notes"
  mvn -B -f "$here/pom.xml" antrun:run -DoutputDirectory="$cache/fetching" "-Dkafka.version=$version" 2>&1 |
    while read -r -t 5 line || [ $? -gt 128 ]; do # a large file is silent for long
      case $line in
        *' Downloaded from '*) files=$((files + 1)) ;;
        *'[INFO]'* | *'[WARNING]'*) ;;
        *) [ -z "${line//[![:print:]]/}" ] || echo "$line" >&2 ;;
      esac
      [ $SECONDS -lt $silent_until ] || { say "fetching Kafka: $files files so far" && silent_until=$((SECONDS + 5)); }
    done || die "Maven could not fetch Kafka $version: see above"
  # Kafka 3 has a logging backend of its own, and two are one too many.
  [[ $version != 3.* ]] || rm -f "$cache/fetching/"log4j-slf4j-impl-*.jar
  mv -T "$cache/fetching" "$cache/libs"
  rm -rf "$cache/fetching.notes"
  say "Kafka $version is fetched"
}

if [ ! -d "$cache/libs" ]; then
  command -v mvn >/dev/null || die "Maven is not installed: run dev/setup.sh demo (make setup)"
  mkdir -p "$cache"
  # One at a time; and what stands at its place is whole.
  (
    if ! flock -n 9; then
      say "waiting for another run, which fetches Kafka"
      flock 9
    fi
    [ -d "$cache/libs" ] || fetch_jars
  ) 9> "$cache/lock"
fi
[ $fetch = 0 ] || exit 0

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
[ -e "$dir/libs" ] || ln -sfn "$cache/libs" "$dir/libs"
libs=$dir/libs

# --- keys and passwords -------------------------------------------------------
sec=$dir/secure
make_keys() {
  command -v openssl >/dev/null || die "openssl is not installed: run dev/setup.sh test (make setup)"
  mkdir -p "$sec"
  cd "$sec"
  openssl rand -hex 16 > admin.pw
  openssl rand -hex 16 > guest.pw
  openssl ecparam -name prime256v1 -genkey -noout -out ca.key
  openssl req -x509 -new -sha256 -key ca.key -days 30 -subj "/CN=test-ca" -out ca.crt \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"
  # Kafka's PEM store wants PKCS#8 (`BEGIN PRIVATE KEY`).
  openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out node.key
  openssl req -new -key node.key -subj "/CN=kafka-node" -out node.csr
  openssl x509 -req -sha256 -in node.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out node.crt \
    -extfile <(printf '%s\n' "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:$host" "extendedKeyUsage=serverAuth,clientAuth")
  cat node.key node.crt ca.crt > node.pem
  cat > admin.properties <<P
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="$(cat admin.pw)";
ssl.truststore.type=PEM
ssl.truststore.location=$sec/ca.crt
P
}
if [ $secure = 1 ] && [ ! -s "$sec/admin.properties" ]; then
  if ! (umask 077 && make_keys) 2> "$dir/keys.log"; then
    cat "$dir/keys.log" >&2
    die "cannot make the keys"
  fi
fi

# --- settings and storage -----------------------------------------------------
[ -s "$dir/cluster.id" ] || head -c 16 /dev/urandom | base64 | tr '+/' 'xy' | cut -c1-22 > "$dir/cluster.id"
voters=() boot=()
for ((i = 0; i < n; i++)); do
  voters+=("$i@$host:$((port + 50 + i))") boot+=("$host:$((port + i))")
done
join() { local IFS=,; echo "$*"; }
copies=$((n >= 3 ? 3 : 1)) in_sync=$((n >= 3 ? 2 : 1))

settings() { # of which broker
  local d=$dir/node-$1 clients=PLAINTEXT quorum=PLAINTEXT
  [ $secure = 1 ] && clients=SASL_SSL quorum=SSL
  cat <<P
process.roles=broker,controller
node.id=$1
controller.quorum.voters=$(join "${voters[@]}")
controller.listener.names=CONTROLLER
listeners=CLIENT://$host:$((port + $1)),CONTROLLER://$host:$((port + 50 + $1))
advertised.listeners=CLIENT://$host:$((port + $1))
inter.broker.listener.name=CLIENT
listener.security.protocol.map=CLIENT:$clients,CONTROLLER:$quorum
log.dirs=$d/data
default.replication.factor=$copies
min.insync.replicas=$in_sync
num.partitions=3
auto.create.topics.enable=false
offsets.topic.replication.factor=$copies
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$in_sync
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$in_sync
share.coordinator.state.topic.num.partitions=5
# What a test wants, not what production wants: a first join answers at once, a dead broker is noticed in 3 s.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=3000
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1500
# Messages of 100 MB; a request holds a little more than its record.
message.max.bytes=104857600
replica.fetch.max.bytes=104857600
replica.fetch.response.max.bytes=104857600
socket.request.max.bytes=115343360
# Small and quiet.
num.network.threads=2
num.io.threads=4
log.segment.bytes=268435456
log.cleaner.dedupe.buffer.size=8388608
log.retention.check.interval.ms=10000
unclean.leader.election.enable=false
P
  if [ $secure = 1 ]; then
    cat <<P
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="$(cat "$sec/admin.pw")";
# SCRAM's passwords lie in the quorum's own log, so the quorum itself uses mutual TLS.
listener.name.controller.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location=$sec/node.pem
ssl.truststore.type=PEM
ssl.truststore.location=$sec/ca.crt
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:CN=kafka-node
allow.everyone.if.no.acl.found=false
P
  fi
  [ ${#extra[@]} = 0 ] || printf '%s\n' "${extra[@]}"
}

nodes=()
if [ -n "$only" ]; then nodes=("$only"); else for ((i = 0; i < n; i++)); do nodes+=("$i"); done; fi
formatting=()
for i in "${nodes[@]}"; do
  d=$dir/node-$i
  mkdir -p "$d"
  # A broker that is started again keeps its settings.
  if [ -z "$only" ] || [ ! -s "$d/server.properties" ]; then (umask 077 && settings "$i" > "$d/server.properties"); fi
  [ -s "$d/data/meta.properties" ] && continue
  users=()
  if [ $secure = 1 ]; then
    for user in admin guest; do users+=(--add-scram "SCRAM-SHA-512=[name=$user,password=$(cat "$sec/$user.pw")]"); done
  fi
  "$here/kafka-cli.sh" "$dir" storage format -t "$(cat "$dir/cluster.id")" -c "$d/server.properties" \
    --ignore-formatted ${users[@]+"${users[@]}"} > "$d/format.log" 2>&1 &
  formatting+=($!)
done
for p in ${formatting[@]+"${formatting[@]}"}; do
  wait "$p" || { tail -n 20 "$dir"/node-*/format.log >&2; die "cannot format the storage"; }
done
if [ $prepare = 1 ]; then
  echo "bootstrap=$(join "${boot[@]}")"
  exit 0
fi

# --- the brokers ----------------------------------------------------------------
# The serial collector and the first compiler alone: half the memory and a start in 5 s.
read -ra jvm <<< "${KAFKA_JVM_OPTS:--XX:+UseSerialGC -XX:TieredStopAtLevel=1}"
java_of() {
  broker=(java -Xms128m "-Xmx$heap" "${jvm[@]}" -Djava.awt.headless=true
    "-Dlog4j2.configurationFile=$here/log4j2-broker.properties"
    "-Dlog4j.configuration=file:$here/log4j1.properties" -Dkafka.log.level=INFO -cp "$libs/*" kafka.Kafka "$dir/node-$1/server.properties")
}
for i in "${nodes[@]}"; do
  d=$dir/node-$i
  if [ -s "$d/pid" ] && kill -0 "$(cat "$d/pid")" 2>/dev/null; then die "broker $i runs already (pid $(cat "$d/pid"))"; fi
  # Kafka would say so in a page of Java.
  for p in $((port + i)) $((port + 50 + i)); do
    if (exec 3<> "/dev/tcp/$host/$p") 2>/dev/null; then
      die "port $p of $host is taken by another process (ss -ltnp 'sport = :$p' shows it): stop that, or give another PORT"
    fi
  done
done
if [ $foreground = 1 ]; then
  java_of "$only"
  exec "${broker[@]}"
fi
for i in "${nodes[@]}"; do
  d=$dir/node-$i
  java_of "$i"
  # A session of its own: it outlives the shell that called, and Ctrl-C there.
  setsid "${broker[@]}" > "$d/server.log" 2>&1 < /dev/null &
  echo $! > "$d/pid"
done
deadline=$((SECONDS + ${KAFKA_UP_TIMEOUT:-60}))
for i in "${nodes[@]}"; do
  d=$dir/node-$i
  until grep -qs 'Kafka Server started' "$d/server.log"; do
    kill -0 "$(cat "$d/pid")" 2>/dev/null || { tail -n 20 "$d/server.log" >&2; die "broker $i ended"; }
    [ $SECONDS -lt $deadline ] || { tail -n 20 "$d/server.log" >&2; die "broker $i is not ready in time"; }
    sleep 0.05
  done
  say "broker $i is ready on $host:$((port + i)), pid $(cat "$d/pid")"
done
echo "bootstrap=$(join "${boot[@]}")"
