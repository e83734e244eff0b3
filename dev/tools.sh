#!/usr/bin/env bash
# Builds the programs that check charts and manifests, and the one that enforces network policies in the test cluster, from Go
# modules, once; prints the directory that they stand in.
#
#   dev/tools.sh [TOOL…]      helm helm-unittest kubeconform kube-score kube-router kustomize promtool; all of them unless
#                             named
#
# They are kept in ${XDG_CACHE_HOME:-~/.cache}/edgereel/tools/TOOL-VERSION, so that another version is another directory.
# What stands there already costs nothing. Needs Go; a first build of all takes some minutes and a gigabyte of modules.
set -euo pipefail
die() { echo "tools: $*" >&2; exit 1; }

# The oldest Go that compiles them all.
go_wanted=1.26

# Each: the module, its version, the program's folder in it, build tags.
# helm and helm-unittest are of one Helm: what the tests render is what users install.
# (kube-linter would do what kube-score does; it is not among the modules that every proxy offers.)
declare -A source=(
  [helm]='helm.sh/helm/v3 v3.21.3 cmd/helm'
  [helm-unittest]='github.com/helm-unittest/helm-unittest v1.1.2 cmd/helm-unittest'
  [kubeconform]='github.com/yannh/kubeconform v0.8.0 cmd/kubeconform'
  [kube-score]='github.com/zegl/kube-score v1.20.0 cmd/kube-score'
  # Only its policy controller is used.
  [kube-router]='github.com/cloudnativelabs/kube-router/v2 v2.1.0 cmd/kube-router'
  [kustomize]='sigs.k8s.io/kustomize/kustomize/v5 v5.8.1 .'
  # Without the libraries of the clouds that Prometheus can find its targets in.
  [promtool]='github.com/prometheus/prometheus v0.310.0 cmd/promtool remove_all_sd'
)
all=(helm helm-unittest kubeconform kube-score kube-router kustomize promtool)

for argument in "$@"; do
  case $argument in
    -h | --help) sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) [ -n "${source[$argument]-}" ] || die "there is no tool $argument; they are: ${all[*]}" ;;
  esac
done
[ $# -gt 0 ] || set -- "${all[@]}"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgereel/tools
# Links to the versions above; another set of versions is another directory.
bin=$cache/bin-$(for tool in "${all[@]}"; do echo "${source[$tool]}"; done | cksum | cut -d' ' -f1)
mkdir -p "$bin"

need_go() {
  command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
  command -v go >/dev/null || die "Go is not installed: take $go_wanted or later from https://go.dev/dl"
  local have
  have=$(go env GOVERSION)
  have=${have#go}
  [ "$(printf '%s\n' "$go_wanted" "${have%% *}" | sort -V | head -n1)" = "$go_wanted" ] ||
    die "Go is $have, and the tools need $go_wanted or later: https://go.dev/dl"
}

for tool in "$@"; do
  read -r module version folder tags <<< "${source[$tool]}"
  home=$cache/$tool-$version
  if [ ! -x "$home/$tool" ]; then
    need_go
    echo "tools: building $tool $version" >&2
    # Beside its place and moved there whole: two runs at once, or one that was cut off, leave nothing half.
    work=$(mktemp -d "$cache/build.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    # In the module's own folder, with its own go.sum: `go install` refuses modules that replace others.
    (cd "$work" && go mod download -json "$module@$version") > "$work/module" || die "$(cat "$work/module")"
    code=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' "$work/module")
    stamp=''
    [ "$tool" != helm ] || stamp="-X helm.sh/helm/v3/internal/version.version=$version"
    (cd "$code" && GOWORK=off CGO_ENABLED=0 nice -n 10 go build -trimpath -tags "$tags" -ldflags "-s -w $stamp" \
      -o "$work/$tool" "./$folder") >&2 || die "cannot build $tool: see above"
    mkdir -p "$home"
    mv -f "$work/$tool" "$home/$tool"
    rm -rf "$work"
    trap - EXIT
  fi
  ln -sfn "../$tool-$version/$tool" "$bin/$tool.$$"
  mv -f "$bin/$tool.$$" "$bin/$tool"
done
echo "$bin"
