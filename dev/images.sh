#!/usr/bin/env bash
# Builds the images, ghcr.io/edgereel/edgereel (the worker) and ghcr.io/edgereel/edgereel-operator, with docker, podman or
# buildah, whichever is there.
#
#   images.sh [options] [worker] [operator] [ffmpeg-camera]      the first two unless named
#
#     --tag TAG        instead of the workspace's version
#     --save DIR       also write each as an archive, DIR/NAME.tar, as `docker save` does
#     --engine ENGINE  docker, podman or buildah
#     --from-host      take the binaries that cargo built here (on Debian; needs buildah and mmdebstrap), and bases made
#                      of Debian packages: nothing is pulled from an image registry. The rest of the Dockerfile is the same.
#     --profile dev    with --from-host: the binaries of `cargo build` instead of those of `cargo build --release`
#     --bases          with --from-host: make the bases, unless they are there, and nothing else
#
# REPOSITORY (ghcr.io/edgereel) goes before the names. `ffmpeg-camera` is for tests: Debian and FFmpeg.
# With SOURCE_DATE_EPOCH set, files and images have that date.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
die() { echo "images: $*" >&2; exit 1; }
say() { echo "images: $*" >&2; }

repository=${REPOSITORY:-ghcr.io/edgereel} tag='' save='' engine='' from_host=0 bases=0 profile=release wanted=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    --from-host) from_host=1 ;;
    --bases) bases=1 ;;
    --tag | --save | --engine | --profile)
      [ $# -ge 2 ] || die "$1 needs a value"
      case $1 in --tag) tag=$2 ;; --save) save=$2 ;; --engine) engine=$2 ;; --profile) profile=$2 ;; esac
      shift
      ;;
    worker | operator | ffmpeg-camera) wanted+=("$1") ;;
    *) die "unknown argument $1; --help lists them" ;;
  esac
  shift
done
[ ${#wanted[@]} -gt 0 ] || wanted=(worker operator)
[ $bases = 0 ] || [ $from_host = 1 ] || die "--bases needs --from-host"
cd "$root"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
tag=${tag:-$version}
revision=$(git rev-parse HEAD 2> /dev/null || echo unknown)

# --- the engine ---

usable() {
  command -v "$1" > /dev/null || return 1
  # Docker's command alone builds nothing.
  [ "$1" != docker ] || docker info > /dev/null 2>&1
}
if [ $from_host = 1 ]; then
  engine=buildah
elif [ -z "$engine" ]; then
  for engine in docker podman buildah none; do ! usable "$engine" || break; done
  [ "$engine" != none ] || die "there is neither a docker that answers, nor podman, nor buildah. Install one of them,
  on Debian: apt-get install buildah"
fi
usable "$engine" || die "$engine is not installed or does not answer${engine:+: on Debian, dev/setup.sh cluster installs buildah}"
tool=("$engine")
# Buildah's own default of isolation needs more rights than a container that builds images has.
[ "$engine" != buildah ] || export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}

# --- without a registry: bases of Debian packages, binaries of this machine ---

cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgereel/images
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
more=()

# base NAME COMMAND… makes an image of the archive that the command writes to its last argument, unless it is there.
base() {
  local name=$1 made container
  shift
  made=localhost/made:$(sha256sum <<< "$*" | cut -c1-12)
  if [ -z "$("${tool[@]}" images -q "$made" 2> /dev/null)" ]; then
    say "making $name of Debian packages, once"
    "$@" "$scratch/base.tar" > "$scratch/log" 2>&1 || { tail -n 20 "$scratch/log" >&2; die "cannot make $name"; }
    container=$("${tool[@]}" from scratch)
    "${tool[@]}" add -q "$container" "$scratch/base.tar" / > /dev/null
    "${tool[@]}" commit -q --rm "$container" "$made" > /dev/null
    rm "$scratch/base.tar"
  fi
  "${tool[@]}" tag "$made" "$name"
}

prepare_host() {
  local suite profile_dir=$profile name
  # shellcheck disable=SC1091
  suite=$(. /etc/os-release && echo "${ID}:${VERSION_CODENAME-}")
  [[ $suite == debian:* ]] || die "--from-host needs Debian, and this is $suite: build with docker or podman instead"
  suite=${suite#debian:}
  command -v mmdebstrap > /dev/null || die "mmdebstrap is missing: run dev/setup.sh cluster (make setup)"
  [ "$(id -u)" = 0 ] || die "--from-host needs root"
  [ "$profile" != dev ] || profile_dir=debug
  # A store of its own: what is made here must not pass for the real bases.
  tool=(buildah --root "$cache/store" --runroot "$scratch/run" --storage-driver "${STORAGE_DRIVER:-overlay}")

  # shellcheck disable=SC2016,SC2054 # mmdebstrap's hooks are shell commands of their own, its lists have commas
  local operator=(--include=base-files,netbase,tzdata,libc6,libgcc-s1,libssl3,ca-certificates
    --customize-hook='cat "$1"/usr/share/ca-certificates/mozilla/*.crt > "$1"/etc/ssl/certs/ca-certificates.crt'
    --customize-hook='printf "root:x:0:0::/root:/sbin/nologin\nnonroot:x:65532:65532::/home/nonroot:/sbin/nologin\n" > "$1"/etc/passwd'
    --customize-hook='printf "root:x:0:\nnonroot:x:65532:\n" > "$1"/etc/group')
  local lean=(--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright'
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*')
  for name in "${wanted[@]}"; do
    case $name in
      worker | ffmpeg-camera) base "localhost/debian:$suite-slim" mmdebstrap --variant=minbase "${lean[@]}" "$suite" ;;
      # As distroless' `cc`: nothing is configured, no shell, no package manager.
      operator) base "localhost/distroless-cc:$suite" mmdebstrap --variant=extract "${lean[@]}" "${operator[@]}" "$suite" ;;
    esac
  done
  [ $bases = 0 ] || exit 0

  mkdir "$scratch/binaries"
  for name in edgereel edgereel-operator; do
    if [ -x "target/$profile_dir/$name" ]; then
      strip --strip-debug -o "$scratch/binaries/$name" "target/$profile_dir/$name"
    fi
  done
  for name in "${wanted[@]}"; do
    case $name in worker) name=edgereel ;; operator) name=edgereel-operator ;; *) continue ;; esac
    [ -x "$scratch/binaries/$name" ] || die "target/$profile_dir/$name is not there: run cargo build $([ "$profile" = dev ] || echo --release) --bin $name"
  done
  [ ! -x "$scratch/binaries/edgereel" ] || docker/packages.sh "$scratch/binaries/edgereel" > "$scratch/binaries/edgereel.packages"
  more=(--pull-never --layers --network host --build-context "binaries=$scratch/binaries"
    --build-arg "WORKER_BASE=localhost/debian:$suite-slim" --build-arg "OPERATOR_BASE=localhost/distroless-cc:$suite")
}
[ $from_host = 0 ] || prepare_host

# --- the images ---

named() {
  case $1 in
    worker) echo "$repository/edgereel:$tag" ;;
    operator) echo "$repository/edgereel-operator:$tag" ;;
    ffmpeg-camera) echo "$repository/edgereel-ffmpeg-camera:$tag" ;;
  esac
}

build() {
  local file=docker/Dockerfile options=(--target "$1" ${more[@]+"${more[@]}"})
  if [ "$1" = ffmpeg-camera ]; then
    file=tests/src/bin/e2e/ffmpeg-camera.Dockerfile
    options=(${more[@]+"${more[@]}"})
  fi
  if [ -n "${SOURCE_DATE_EPOCH-}" ]; then
    case $engine in
      docker) options+=(--build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH") ;;
      *) options+=(--timestamp "$SOURCE_DATE_EPOCH") ;;
    esac
  fi
  "${tool[@]}" build -f "$file" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" "${options[@]}" \
    -t "$(named "$1")" . > "$scratch/log" 2>&1 || { tail -n 40 "$scratch/log" >&2; die "cannot build $(named "$1")"; }
}

for image in "${wanted[@]}"; do
  say "building $(named "$image") with $engine"
  build "$image"
  if [ -n "$save" ]; then
    mkdir -p "$save"
    archive=$save/$image.tar
    rm -f "$archive"
    case $engine in
      buildah) "${tool[@]}" push -q "$(named "$image")" "docker-archive:$archive:$(named "$image")" ;;
      *) "$engine" save -o "$archive" "$(named "$image")" ;;
    esac
  fi
  named "$image"
done
