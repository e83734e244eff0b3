#!/usr/bin/env bash
# Checks the charts and the manifests of the examples, without a cluster.
#
#   dev/charts-check.sh [--fix]
#
#     helm lint --strict; values that the schema has to refuse; each value set to null; names that are no strings to YAML;
#     the charts' unit tests (helm-unittest)
#     the definitions' chart holds what crds/yaml holds; the tables in the charts' READMEs are those of values.yaml
#     alerts fire when they should and not otherwise, and the dashboards' questions can be asked (promtool)
#     what the examples pin is this version, and what a release publishes of the charts is whole (dev/release.sh)
#     what the charts and the examples come to is what Kubernetes takes (kubeconform) and good practice (kube-score)
#
#   --fix writes the READMEs' tables anew. The programs are built once: dev/tools.sh, dev/schemas.sh.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
fix=0
case ${1-} in
  '') ;;
  --fix) fix=1 ;;
  -h | --help) sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
  *) echo "charts-check: unknown argument $1; --help lists them" >&2; exit 2 ;;
esac

PATH=$(dev/tools.sh):$PATH
export PATH
cargo build --locked --quiet --bin edgereel --bin kubeschema
schemas=$(dev/schemas.sh)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
wrong() { echo "charts-check: $*" >&2; failed=1; }
# Helm without a cluster takes a version for granted that is too old for the charts.
render() { helm template edgereel "$@" --namespace edgereel-system --kube-version 1.34.0; }

# --- the charts ---------------------------------------------------------------

for values in '' charts/edgereel/ci/*-values.yaml; do
  helm lint --strict --quiet --kube-version 1.34.0 charts/edgereel ${values:+--values "$values"} || wrong "helm lint ${values:-with the defaults}"
done
for values in '' charts/edgereel-crds/ci/*-values.yaml; do
  helm lint --strict --quiet --kube-version 1.34.0 charts/edgereel-crds ${values:+--values "$values"} ||
    wrong "helm lint edgereel-crds ${values:-with the defaults}"
done

while IFS='|' read -r value words; do
  value=${value% } words=${words# }
  if said=$(render charts/edgereel --set "$value" 2>&1 >/dev/null); then
    wrong "the value $value is taken, and should be refused"
  elif [[ $said != *"$words"* ]]; then
    wrong "the value $value is refused without the words «$words»: $said"
  fi
done < <(grep -v '^#' charts/edgereel/ci/refused.txt)

# Who sets a value to null takes its default away: what is left is either rendered, or the schema says what is missing.
mkdir "$work/nulls"
while read -r value; do
  if ! render charts/edgereel --values charts/edgereel/ci/everything-values.yaml --set "$value=null" \
    > "$work/nulls/$value.yaml" 2> "$work/said"; then
    rm "$work/nulls/$value.yaml"
    grep -q "values don't meet the specifications of the schema" "$work/said" ||
      wrong "the value $value=null is refused by a template, and should be by the schema: $(cat "$work/said")"
  fi
done < <(awk '/^ *[A-Za-z_]+:/ { match($0, /^ */); depth = RLENGTH / 2; key = $0; gsub(/^ *|:.*/, "", key); path[depth] = key
  name = path[0]; for (i = 1; i <= depth; i++) name = name "." path[i]; print name }' charts/edgereel/values.yaml)

helm-unittest --strict charts/edgereel charts/edgereel-crds || wrong 'the unit tests of the charts'

# Whoever installs from charts/ gets the definitions that the types have.
for file in crds/yaml/*.yaml; do
  name=${file##*/}
  if ! diff -u "$file" <(render charts/edgereel-crds --show-only "templates/$name" |
    sed -e '/^---$/d' -e '/^# Source: /d' -e '/^  annotations:$/,/resource-policy: keep$/d'); then
    wrong "charts/edgereel-crds/templates/$name is not $file: make crds"
  fi
  grep -q 'helm.sh/resource-policy: keep' "charts/edgereel-crds/templates/$name" ||
    wrong "charts/edgereel-crds/templates/$name would be deleted on uninstall, and every resource with it"
done

for chart in charts/*; do
  if ! awk -f dev/charts/values-table.awk "$chart/values.yaml" > "$work/table"; then
    wrong "$chart/values.yaml has values without a comment"
    continue
  fi
  awk -v table="$work/table" '
    /^<!-- begin: values/ { print; while ((getline line < table) > 0) print line; skip = 1; next }
    /^<!-- end/ { skip = 0 }
    !skip' "$chart/README.md" > "$work/README.md"
  if [ $fix = 1 ]; then
    cp "$work/README.md" "$chart/README.md"
  else
    cmp -s "$work/README.md" "$chart/README.md" ||
      wrong "the table in $chart/README.md is not that of values.yaml: dev/charts-check.sh --fix"
  fi
done

# An alert or a panel that asks for a metric that nobody has is silent for ever. docs/metrics.md lists them all.
while read -r metric; do
  # Histograms are asked for by their parts.
  name=$(sed -E 's/_(bucket|count|sum)$//' <<< "$metric")
  grep -qE "\`$name(\{[a-z,]+\})?\`" docs/metrics.md ||
    wrong "alerts or dashboards of charts/edgereel ask for $metric, which is not in docs/metrics.md"
done < <(grep -ohE '\bedgereel_[a-z0-9_]+' charts/edgereel/templates/_alerts.tpl charts/edgereel/files/dashboards/*.json | sort -u)

while read -r alert; do
  grep -qE "^    $alert: \{enabled: true, " charts/edgereel/values.yaml ||
    wrong "the alert $alert is not in prometheusRule.alerts of charts/edgereel/values.yaml"
  grep -qx "## $alert" docs/kubernetes/alerts.md || wrong "the alert $alert has no section in docs/kubernetes/alerts.md"
done < <(sed -n 's/^ *- alert: //p' charts/edgereel/templates/_alerts.tpl)

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
for chart in charts/*/Chart.yaml; do
  [ "$(sed -n 's/^\(version\|appVersion\): "\{0,1\}\([^"]*\)"\{0,1\}$/\2/p' "$chart" | sort -u)" = "$version" ] ||
    wrong "$chart: version and appVersion have to be $version, as in Cargo.toml"
done

# What the GitOps examples pin is this version, which `make release` makes.
if grep -rnE '(targetRevision|version|tag): *"?v?[0-9]' examples/kubernetes/gitops | grep -vE ": *\"?v?${version//./[.]}\"?$"; then
  wrong "examples/kubernetes/gitops pin another version than $version, that of Cargo.toml"
fi

# What a release publishes of the charts is whole: each part is what its digest says, and Helm reads what it reads here.
if dev/release.sh --trial --only charts --output "$work/release" > "$work/said" 2>&1; then
  (cd "$work/release" && sha256sum --quiet --check SHA256SUMS) || wrong 'SHA256SUMS of a release are wrong'
  for chart in edgereel edgereel-crds; do
    mkdir "$work/layout"
    tar -xf "$work/release/$chart-$version.oci.tar" -C "$work/layout"
    while read -r digest; do
      [ "$(sha256sum < "$work/layout/blobs/sha256/$digest" | cut -d' ' -f1)" = "$digest" ] ||
        wrong "the OCI archive of $chart names $digest, and has no such part"
    done < <(grep -rhoE 'sha256:[0-9a-f]{64}' "$work/layout/index.json" \
      "$work/layout/blobs/sha256/$(grep -oE '[0-9a-f]{64}' "$work/layout/index.json")" | cut -d: -f2)
    file=$work/release/$chart-$version.tgz
    [ -f "$work/layout/blobs/sha256/$(sha256sum < "$file" | cut -d' ' -f1)" ] ||
      wrong "the OCI archive of $chart holds another chart than its .tgz"
    cmp -s <(render "$file") <(render "charts/$chart") || wrong "the package of $chart comes to something else than charts/$chart"
    rm -r "$work/layout"
  done
else
  wrong "dev/release.sh: $(cat "$work/said")"
fi

# --- alerts and dashboards ----------------------------------------------------

mkdir "$work/alerts"
render charts/edgereel --values charts/edgereel/ci/everything-values.yaml --show-only templates/prometheusrule.yaml |
  sed -n '/^spec:/,$p' | sed -e 1d -e 's/^  //' > "$work/alerts/rules.yaml"
cp charts/edgereel/ci/alerts-test.yaml "$work/alerts"
promtool test rules "$work/alerts/alerts-test.yaml" || wrong 'the alerts do not do what charts/edgereel/ci/alerts-test.yaml says'

# Each panel's expression as a rule, with what Grafana puts in.
{
  printf 'groups:\n  - name: dashboards\n    rules:\n'
  sed -n 's/^ *"expr": \(".*"\),$/\1/p' charts/edgereel/files/dashboards/*.json | sed 's/[$]__rate_interval/5m/g' |
    awk '{ printf "      - {record: panel_%d, expr: %s}\n", NR, $0 }'
} > "$work/alerts/panels.yaml"
promtool check rules --lint none "$work/alerts/panels.yaml" > "$work/panels" 2>&1 || { cat "$work/panels" >&2; wrong 'dashboards'; }

# --- what they come to --------------------------------------------------------

render charts/edgereel > "$work/chart-defaults.yaml"
render charts/edgereel --values charts/edgereel/ci/everything-values.yaml > "$work/chart-everything.yaml"
render charts/edgereel-crds --values charts/edgereel-crds/ci/everything-values.yaml > "$work/chart-crds.yaml"
helm template y charts/edgereel --namespace on --kube-version 1.34.0 --values charts/edgereel/ci/names-values.yaml \
  > "$work/chart-names.yaml"
while read -r file; do
  folder=${file%/*}
  kustomize build "$folder" > "$work/${folder//\//-}.yaml" || wrong "kustomize build $folder"
done < <(git ls-files --cached --others --exclude-standard 'examples/**/kustomization.yaml')

# Whoever has no Helm gets the same dashboards.
kustomize build charts/edgereel/files/dashboards > "$work/dashboards.yaml" || wrong 'kustomize build charts/edgereel/files/dashboards'
for file in charts/edgereel/files/dashboards/*.json; do
  grep -q "^  edgereel-${file##*/}: " "$work/dashboards.yaml" ||
    wrong "${file##*/} is not in charts/edgereel/files/dashboards/kustomization.yaml"
done

if grep -nE "^ *- ['\"][*]['\"]$|[[ ]['\"][*]['\"][], ]" "$work"/chart-defaults.yaml "$work"/chart-everything.yaml; then
  wrong 'a role that allows everything is more than the operator needs'
fi

# Our own kinds are checked against the definitions as they are now. Strimzi and the Helm controller of Flux publish their
# definitions in no registry that this could read.
target/debug/kubeschema "$work/schemas" crds/yaml/*.yaml >/dev/null
kubeconform -strict -summary -kubernetes-version 1.34.4 \
  -schema-location "$work/schemas/{{.ResourceKind}}{{.KindSuffix}}.json" \
  -schema-location "$schemas/{{.ResourceKind}}{{.KindSuffix}}.json" \
  -skip kafka.strimzi.io/v1/Kafka,kafka.strimzi.io/v1/KafkaNodePool,kafka.strimzi.io/v1/KafkaTopic,kafka.strimzi.io/v1/KafkaUser,helm.toolkit.fluxcd.io/v2/HelmRelease \
  "$work"/*.yaml "$work"/nulls/*.yaml || wrong 'kubeconform'

# What a schema cannot see: references, and fields that do not go together.
for file in "$work"/examples-*.yaml; do
  if grep -q '^kind: CameraStream$' "$file"; then
    target/debug/edgereel validate -f "$file" || wrong "edgereel validate ${file##*/}"
  fi
done

# Left out, and why:
#   container-image-pull-policy         `Always` keeps an edge node without a network from starting what it has
#   container-ephemeral-storage-…       nothing is written but to volumes: the root file systems are read-only
#   container-resources (CPU limits)    a throttled worker drops frames; requests are what shares a CPU
#   deployment-replicas                 one operator is enough: the others would only wait
#   deployment-has-host-podantiaffinity likewise, and it is preferred, not required
#   networkpolicy-targets-pod           the workers are not the chart's
ignored=(container-image-pull-policy container-ephemeral-storage-request-and-limit deployment-replicas
  deployment-has-host-podantiaffinity networkpolicy-targets-pod)
kube-score score --kubernetes-version v1.34 --ignore-container-cpu-limit --output-format ci \
  "${ignored[@]/#/--ignore-test=}" "$work/chart-defaults.yaml" "$work/chart-everything.yaml" > "$work/score" ||
  { grep -E '^\[(CRITICAL|WARNING)\]' "$work/score" >&2; wrong 'kube-score'; }

[ $failed = 0 ] || exit 1
echo "charts-check: all is well"
