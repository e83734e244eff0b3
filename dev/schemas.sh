#!/usr/bin/env bash
# Makes the JSON schemas that manifests are checked against, once; prints the directory that they stand in.
#
#   dev/schemas.sh
#
# Kubernetes' own kinds, and those of the Prometheus operator, Flux, Argo CD, External Secrets and KEDA, are made from what these projects publish as Go
# modules, by crds/src/bin/kubeschema.rs. They are kept in ${XDG_CACHE_HOME:-~/.cache}/edgereel/schemas-KEY.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
die() { echo "schemas: $*" >&2; exit 1; }
case ${1-} in -h | --help) sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;; esac

# Each: a module, its version, files in it. kubeconform looks at no version of Kubernetes but this one.
sources=(
  'k8s.io/kubernetes v1.34.4 api/openapi-spec/swagger.json'
  'github.com/prometheus-operator/prometheus-operator v0.85.0 example/prometheus-operator-crd/*_[ps]*ors.yaml example/prometheus-operator-crd/*rules.yaml'
  'github.com/fluxcd/kustomize-controller v1.7.3 config/crd/bases/*.yaml'
  'github.com/argoproj/argo-cd/v3 v3.3.0 manifests/crds/application-crd.yaml'
  'github.com/fluxcd/source-controller v1.7.0 config/crd/bases/*gitrepositories.yaml config/crd/bases/*helmrepositories.yaml'
  'github.com/external-secrets/external-secrets v1.3.2 config/crds/bases/*.io_externalsecrets.yaml'
  'github.com/kedacore/keda/v2 v2.21.0 config/crd/bases/keda.sh_scaledobjects.yaml'
)

key=$( (printf '%s\n' "${sources[@]}"; cat "$root/crds/src/bin/kubeschema.rs") | cksum | cut -d' ' -f1)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgereel
schemas=$cache/schemas-$key
if [ ! -d "$schemas" ]; then
  command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
  command -v go >/dev/null || die "Go is not installed: https://go.dev/dl"
  mkdir -p "$cache"
  # Beside its place and moved there whole: two runs at once, or one that was cut off, leave nothing half.
  work=$(mktemp -d "$cache/schemas.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  files=()
  for source in "${sources[@]}"; do
    read -r module version pattern <<< "$source"
    echo "schemas: fetching $module $version" >&2
    (cd "$work" && go mod download -json "$module@$version") > "$work/module" || die "$(cat "$work/module")"
    folder=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' "$work/module")
    # Each word is a pattern below the module's folder.
    for word in $pattern; do
      for file in "$folder"/$word; do
        [ -f "$file" ] || die "$module $version has no $word"
        files+=("$file")
      done
    done
  done
  (cd "$root" && cargo run --locked --quiet --bin kubeschema -- "$work/schemas" "${files[@]}") >&2
  mv -T "$work/schemas" "$schemas" 2>/dev/null || [ -d "$schemas" ] || die "cannot move the schemas to $schemas"
fi
echo "$schemas"
