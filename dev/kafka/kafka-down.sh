#!/usr/bin/env bash
# Stops the brokers that kafka-up.sh started under DIR, by the process ids that it wrote there.
#
#   kafka-down.sh DIR [--only I] [--kill] [--wipe]
#
#     --only I   broker I alone
#     --kill     SIGKILL at once, as in a crash
#     --wipe     remove data, keys and logs afterwards
set -euo pipefail
usage() { sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"; }
case ${1-} in -h | --help) usage; exit 0 ;; '') usage >&2; exit 2 ;; esac
dir=$1
shift
only='' signal=TERM wipe=0
while [ $# -gt 0 ]; do
  case $1 in
    --only) only=${2-}; shift ;;
    --kill) signal=KILL ;;
    --wipe) wipe=1 ;;
    *) echo "kafka-down: unknown option $1; --help lists them" >&2; exit 2 ;;
  esac
  shift
done
runs() { # does this process still run that broker? Process ids are used again.
  { tr '\0' ' ' < "/proc/$1/cmdline"; } 2>/dev/null | grep -q "kafka.Kafka .*$2/server.properties"
}
files=("$dir"/node-*/pid)
[ -z "$only" ] || files=("$dir/node-$only/pid")
for f in "${files[@]}"; do
  [ -s "$f" ] || continue
  if runs "$(cat "$f")" "$(basename "$(dirname "$f")")"; then kill -$signal "$(cat "$f")" || true; fi
done
for f in "${files[@]}"; do
  [ -s "$f" ] || continue
  pid=$(cat "$f") node=$(basename "$(dirname "$f")") looks=0
  while runs "$pid" "$node"; do
    # When all stop at once there is no quorum left to agree with: after 10 s it is killed.
    looks=$((looks + 1))
    [ $looks -le 100 ] || kill -KILL "$pid" 2>/dev/null || true
    sleep 0.1
  done
  rm -f "$f"
done
[ $wipe = 0 ] || rm -rf "$dir"/node-* "$dir/secure" "$dir/cluster.id"
