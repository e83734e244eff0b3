#!/usr/bin/env bash
# Makes all that a release consists of, in target/release-files, and publishes nothing. docs/releasing.md says how it is published.
#
#   release.sh [--check] [--trial] [--only PART]… [--output DIR] [IMAGES OPTION…]
#
#     --check        only look whether this can be released, and make nothing
#     --trial        make it although it cannot be released yet; what is missing is said all the same. For `--profile dev`, too
#     --only PART    charts, images, package or sbom; several times; all of them unless named
#     --output DIR   another directory; what a former run left there goes
#     --from-host, --engine ENGINE, --profile dev    as dev/images.sh takes them
#
# It can be released when Cargo.toml and the charts have one version, CHANGELOG.md has a section for it with a date, nothing is
# uncommitted, and the commit has the tag vVERSION. What is made:
#
#     charts     edgereel-VERSION.tgz, edgereel-crds-VERSION.tgz, as `helm package` makes them; each also as an OCI image layout
#                in a tar, NAME-VERSION.oci.tar; the definitions as YAML
#     images     of this machine's architecture: edgereel-image-VERSION-linux-ARCH.tar, edgereel-operator-image-…
#     package    the Debian package of the worker
#     sbom       what is compiled into each binary, as CycloneDX: edgereel-VERSION.cdx.json, edgereel-operator-VERSION.cdx.json
#     and notes-VERSION.md, the changelog's section, and SHA256SUMS of all
#
# Files have the commit's date: charts of one commit are the same byte for byte.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
die() { echo "release: $*" >&2; exit 1; }
say() { echo "release: $*" >&2; }

# Version 1.5 of CycloneDX is the latest that it writes.
cargo_cyclonedx=0.5.9

check=0 trial=0 profile=release output=$root/target/release-files images=() only=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    --check) check=1 ;;
    --trial) trial=1 ;;
    --from-host) images+=("$1") ;;
    --only | --output | --engine | --profile)
      [ $# -ge 2 ] || die "$1 needs a value"
      case $1 in
        --only)
          [[ $2 =~ ^(charts|images|package|sbom)$ ]] || die "there is no part $2; they are charts, images, package, sbom"
          only+=("$2")
          ;;
        --output) output=$2 ;;
        --engine) images+=("$1" "$2") ;;
        --profile) profile=$2 ;;
      esac
      shift
      ;;
    *) die "unknown argument $1; --help lists them" ;;
  esac
  shift
done
[ ${#only[@]} -gt 0 ] || only=(charts images package sbom)
wanted() { [[ " ${only[*]} " = *" $1 "* ]]; }
[[ $output = /* ]] || output=$PWD/$output
cd "$root"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

# --- can it be released? ---

missing=0
lacks() { echo "release: $*" >&2; missing=1; }

# The changelog's section of this name, without its heading.
section() { awk -v name="$1" '/^## / { inside = ($2 == name || $2 == "[" name "]"); next } inside' CHANGELOG.md; }

for chart in charts/*/Chart.yaml; do
  for key in version appVersion; do
    have=$(sed -n "s/^$key: \"\{0,1\}\([^\"]*\)\"\{0,1\}$/\1/p" "$chart")
    [ "$have" = "$version" ] || lacks "$chart: $key is $have, and Cargo.toml has $version: write $version"
  done
done
heading=$(grep -E "^## \[?${version//./[.]}\]?( |$)" CHANGELOG.md || true)
if [ -z "$heading" ]; then
  lacks "CHANGELOG.md has no section for $version: call what is unreleased '## $version - $(date -u +%F)', and begin a new '## Unreleased'"
elif [[ ! $heading =~ \ -\ [0-9]{4}-[0-9]{2}-[0-9]{2}$ ]]; then
  lacks "CHANGELOG.md: '$heading' has no date: '## $version - $(date -u +%F)'"
elif ! section "$version" | grep -q '^- '; then
  lacks "CHANGELOG.md: the section of $version says nothing"
fi
[ -z "$(git status --porcelain)" ] || lacks "there are changes that are not committed: git status"
[ "$(git describe --exact-match --match "v$version" HEAD 2> /dev/null)" = "v$version" ] ||
  lacks "this commit has no tag v$version: git tag --annotate v$version"

[ "$profile" = release ] || lacks "the profile is $profile: what is released has the profile release"

if [ $missing = 1 ]; then
  [ $trial = 1 ] || die "$version cannot be released; --trial makes the files all the same"
  say "$version cannot be released: a trial"
fi
if [ $check = 1 ]; then
  [ $missing = 1 ] || say "$version can be released"
  exit $missing
fi

# --- make it ---

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Only what a former run has made is cleared away.
[ -z "$(ls -A "$output" 2> /dev/null)" ] || [ -f "$output/SHA256SUMS" ] ||
  die "$output holds other files than those of a release: name an empty directory"
rm -rf "$output"
mkdir -p "$output"

# archive FILE DIR NAME…: what has these names in DIR, as a tar that nothing else decides about.
archive() {
  tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=go=u-w --format=ustar \
    -C "$2" -cf "$1" -- "${@:3}"
}

# blob FILE puts a file into the layout $layout and prints its descriptor's `"digest": …, "size": …`.
blob() {
  local digest
  digest=$(sha256sum "$1" | cut -d' ' -f1)
  cp "$1" "$layout/blobs/sha256/$digest"
  printf '"digest":"sha256:%s","size":%d' "$digest" "$(stat -c %s "$1")"
}

# chart NAME: what `helm package` makes, and the same as an OCI artifact of the kind that Helm pushes and pulls.
chart() {
  local name=$1 file=$output/$1-$version.tgz work=$scratch/$1 layout=$scratch/$1/layout config layer manifest
  mkdir -p "$work/files" "$work/json/templates" "$layout/blobs/sha256"
  helm package "charts/$name" --destination "$work" > "$work/log" 2>&1 || die "helm package charts/$name: $(cat "$work/log")"
  # Helm gives the files the present time.
  tar --warning=no-timestamp -xzf "$work/$name-$version.tgz" -C "$work/files"
  archive "$work/chart.tar" "$work/files" "$name"
  gzip -9n < "$work/chart.tar" > "$file"

  # Its metadata as JSON, which Helm alone can make of Chart.yaml here.
  printf 'apiVersion: v2\nname: json\nversion: 0.0.0\n' > "$work/json/Chart.yaml"
  cp "charts/$name/Chart.yaml" "$work/json/chart"
  # shellcheck disable=SC2016 # a template of Helm's
  echo '{{ .Files.Get "chart" | fromYaml | toRawJson }}' > "$work/json/templates/json"
  helm template "$work/json" | sed -n 's/^{.*}$/&/p' | tr -d '\n' > "$work/config"
  [ -s "$work/config" ] || die "cannot write charts/$name/Chart.yaml as JSON"

  config=$(blob "$work/config") layer=$(blob "$file")
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"%s",%s},"layers":[{"mediaType":"%s",%s}],"annotations":{"org.opencontainers.image.title":"%s","org.opencontainers.image.version":"%s","org.opencontainers.image.revision":"%s","org.opencontainers.image.created":"%s"}}' \
    application/vnd.cncf.helm.config.v1+json "$config" application/vnd.cncf.helm.chart.content.v1.tar+gzip "$layer" \
    "$name" "$version" "$(git rev-parse HEAD)" "$(date -ud "@$SOURCE_DATE_EPOCH" +%FT%TZ)" > "$work/manifest"
  manifest=$(blob "$work/manifest")
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}' \
    "$manifest" "$version" > "$layout/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' > "$layout/oci-layout"
  archive "$output/$name-$version.oci.tar" "$layout" blobs index.json oci-layout
}

if wanted charts; then
  PATH=$(dev/tools.sh helm):$PATH
  export PATH
  for name in edgereel edgereel-crds; do
    say "chart $name"
    chart $name
  done
  for file in crds/yaml/*.yaml; do
    echo ---
    cat "$file"
  done > "$output/edgereel-crds-$version.yaml"
fi

if wanted images || wanted package; then
  say 'compiling'
  cargo build --locked --profile "$profile" --bin edgereel --bin edgereel-operator --features edgereel-worker/vendored
fi

if wanted images; then
  dev/images.sh ${images[@]+"${images[@]}"} --profile "$profile" --save "$scratch/images" worker operator >&2
  case $(uname -m) in x86_64) platform=linux-amd64 ;; aarch64) platform=linux-arm64 ;; *) platform=linux-$(uname -m) ;; esac
  mv "$scratch/images/worker.tar" "$output/edgereel-image-$version-$platform.tar"
  mv "$scratch/images/operator.tar" "$output/edgereel-operator-image-$version-$platform.tar"
fi

if wanted package; then
  say 'Debian package'
  dev/packages.sh --profile "$profile" --output "$output" >&2
fi

if wanted sbom; then
  tool=${XDG_CACHE_HOME:-$HOME/.cache}/edgereel/tools/cargo-cyclonedx-$cargo_cyclonedx
  if [ ! -x "$tool/bin/cargo-cyclonedx" ]; then
    say "building cargo-cyclonedx $cargo_cyclonedx, once"
    cargo install --quiet --locked --root "$tool" "cargo-cyclonedx@$cargo_cyclonedx" >&2
  fi
  say 'bills of materials'
  # It writes beside each Cargo.toml: in a copy, then.
  mkdir "$scratch/source"
  git archive HEAD | tar -x -C "$scratch/source"
  for binary in edgereel:worker edgereel-operator:operator; do
    folder=$scratch/source/${binary#*:} binary=${binary%:*}
    (cd "$folder" && "$tool/bin/cargo-cyclonedx" cyclonedx --quiet --describe binaries --format json --spec-version 1.5) >&2
    mv "$folder/${binary}_bin.cdx.json" "$output/$binary-$version.cdx.json" || die "cargo-cyclonedx has made no bill for $binary"
  done
fi

name=$version
[ -n "$heading" ] || name=Unreleased
section "$name" | sed -e '/./,$!d' > "$output/notes-$version.md"
(cd "$output" && sha256sum -- * > "$scratch/sums" && mv "$scratch/sums" SHA256SUMS)
say "made in $output:"
(cd "$output" && du -h --apparent-size -- *) >&2
echo "$output"
