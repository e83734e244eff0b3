#!/usr/bin/env bash
# Builds the test cluster's programs (Kubernetes, etcd, CoreDNS and the pause image) from Go modules into the cache:
# ${XDG_CACHE_HOME:-~/.cache}/edgereel/kubernetes-VERSION-HASH/bin. What is there already is not built again; the first
# time takes about 16 CPU-minutes, and 4 GB in Go's own caches.
#
# Needs Go 1.24 or later and a C compiler with a static libc. The last line on stdout is the path of bin.
set -euo pipefail
# shellcheck source=dev/cluster/lib.sh
. "$(dirname "$0")/lib.sh"
case ${1-} in -h | --help) usage; exit 0 ;; esac

command -v go > /dev/null || fail "Go is not installed. Edgereel's tests need 1.24 or later: https://go.dev/dl"
have=$(go env GOVERSION)
[ "$(printf '%s\n' 1.24 "${have#go}" | sort -V | head -n1)" = 1.24 ] ||
  fail "Go is ${have#go}, and the test cluster needs 1.24 or later: https://go.dev/dl (Debian 12's own is older)"
export CGO_ENABLED=0 GOFLAGS=-trimpath

mkdir -p "$BIN" "$CACHE/images"
# Two builds at once would only take each other's processors.
exec 9> "$CACHE/lock"
flock 9
work=$(mktemp -d "$CACHE/building.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Packs $work/layer.tar as an image of one layer, in the form of `docker save`, with no container tool at all.
image() { # its name and its configuration
  local digest
  digest=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"%s","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(go env GOARCH)" "$2" "$digest" > "$work/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$1" > "$work/manifest.json"
  tar -C "$work" -cf "$work/image.tar" manifest.json config.json layer.tar
  mv "$work/image.tar" "$CACHE/images/pause.tar"
}

if [ ! -x "$BIN/kube" ]; then
  say 'building Kubernetes and what it needs'
  v=k8s.io/component-base/version
  (cd "$here/kube" && nice -n 10 go build -o "$work/kube" \
    -ldflags "-s -w -X $v.gitVersion=v$VERSION -X $v.gitMajor=${VERSION%%.*} -X $v.gitMinor=$(cut -d. -f2 <<< "$VERSION") -X k8s.io/client-go/pkg/version.gitVersion=v$VERSION" .) >&2
  mv "$work/kube" "$BIN/kube"
fi
for name in etcd coredns provisioner kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
  ln -sfn kube "$BIN/$name"
done
if [ ! -f "$CACHE/images/pause.tar" ]; then
  mkdir "$work/root"
  "${CC:-cc}" -Os -static -s -o "$work/root/pause" "$here/pause.c"
  tar -C "$work/root" --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$work/layer.tar" .
  image localhost/pause:1 '{"Entrypoint":["/pause"],"User":"65535:65535"}'
fi
echo "$BIN"
