#!/usr/bin/env bash
# Runs one of Kafka's own command-line tools.
#
#   kafka-cli.sh DIR TOOL [ARGUMENTS…]        DIR is the one given to kafka-up.sh
#
#   kafka-cli.sh .run/kafka topics --bootstrap-server 127.0.0.1:9092 --describe
#   kafka-cli.sh .run/kafka consumer-groups --bootstrap-server 127.0.0.1:9092 --describe --group frame_consumer_group
#
# With --secure brokers add --command-config DIR/secure/admin.properties.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage() { sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"; }
case ${1-} in -h | --help) usage; exit 0 ;; esac
[ $# -ge 2 ] || { usage >&2; exit 2; }
dir=$1 tool=$2
shift 2
[ -d "$dir/libs" ] || { echo "kafka-cli: there is no $dir/libs: run kafka-up.sh first" >&2; exit 2; }
t=org.apache.kafka.tools
case $tool in
  acls) class=$t.AclCommand ;;
  api-versions) class=$t.BrokerApiVersionsCommand ;;
  configs) class=kafka.admin.ConfigCommand ;;
  console-consumer) class=$t.consumer.ConsoleConsumer ;;
  console-producer) class=$t.ConsoleProducer ;;
  consumer-groups) class=$t.consumer.group.ConsumerGroupCommand ;;
  consumer-perf) class=$t.ConsumerPerformance ;;
  dump-log) class=$t.DumpLogSegments ;;
  get-offsets) class=$t.GetOffsetShell ;;
  metadata-quorum) class=$t.MetadataQuorumCommand ;;
  producer-perf) class=$t.ProducerPerformance ;;
  storage) class=kafka.tools.StorageTool ;;
  topics) class=$t.TopicCommand ;;
  *) echo "kafka-cli: unknown tool $tool" >&2; exit 2 ;;
esac
# A small heap and the first compiler alone: a call lives for about a second.
exec java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto \
  "-Dlog4j2.configurationFile=$here/log4j2-cli.properties" \
  "-Dlog4j.configuration=file:$here/log4j1.properties" -Dkafka.log.level=ERROR -cp "$dir/libs/*" "$class" "$@"
