#!/usr/bin/env bash
# Makes the Debian package of the worker, target/packages/edgereel_VERSION-1_ARCHITECTURE.deb, of the binary that cargo built.
#
#   packages.sh [--profile dev] [--output DIR]
#
#     --profile dev    the binary of `cargo build` instead of that of `cargo build --release`: for tests
#     --output DIR     another directory
#
# The package is for the Debian release that it is built on, and for later ones with the same libraries. What it holds stands
# in worker/Cargo.toml and packaging/deb. cargo-deb is compiled once, into ${XDG_CACHE_HOME:-~/.cache}/edgereel/tools.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
die() { echo "packages: $*" >&2; exit 1; }
say() { echo "packages: $*" >&2; }

cargo_deb=3.8.0

profile=release output=$root/target/packages
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    --profile | --output)
      [ $# -ge 2 ] || die "$1 needs a value"
      case $1 in --profile) profile=$2 ;; --output) output=$2 ;; esac
      shift
      ;;
    *) die "unknown argument $1; --help lists them" ;;
  esac
  shift
done
cd "$root"
[ "$profile" != dev ] || profile=debug
binary=target/$profile/edgereel
[ -x "$binary" ] || die "$binary is not there: run cargo build $([ "$profile" = debug ] || echo --release) --bin edgereel"
for tool in help2man dpkg-shlibdeps; do
  command -v $tool > /dev/null || die "$tool is missing: run dev/setup.sh packages (make setup)"
done

tool=${XDG_CACHE_HOME:-$HOME/.cache}/edgereel/tools/cargo-deb-$cargo_deb
if [ ! -x "$tool/bin/cargo-deb" ]; then
  say "building cargo-deb $cargo_deb, once"
  cargo install --quiet --locked --root "$tool" "cargo-deb@$cargo_deb" >&2
fi

# Laid out as cargo-deb looks for what is built, so that the package of another profile is made in the same way.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
made=$scratch/release/packaging
mkdir -p "$made/man" "$output"
cp "$binary" "$scratch/release/edgereel"
export PATH=$scratch/release:$PATH
version=$(edgereel --version | cut -d' ' -f2)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || date +%s)}
export SOURCE_DATE_EPOCH

for shell in bash zsh fish; do edgereel completions $shell > "$made/edgereel.$shell"; done

manual() { # the page's name, what it is a page of
  # The program calls itself by one name, the page of a command has another.
  help2man --no-info --locale=C.UTF-8 --version-string="$version" --source="Edgereel $version" \
    --name="$($2 --help | head -n 1)" "$2" |
    sed -e "s/^\.TH EDGEREEL /.TH ${1^^} /" -e "/^\.SH NAME/{n; s/^$2 /$1 /}" | gzip -9n > "$made/man/$1.1.gz"
}
manual edgereel edgereel
for command in $(edgereel --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]\+\) .*/\1/p'); do
  [ "$command" = help ] || manual "edgereel-$command" "edgereel $command"
done

gzip -9n > "$made/changelog.Debian.gz" << END
edgereel ($version-1) stable; urgency=medium

  * Version $version: see changelog.gz.

 -- Edgereel <edgereel@users.noreply.github.com>  $(date -uRd "@$SOURCE_DATE_EPOCH")
END

CARGO_TARGET_DIR=$scratch "$tool/bin/cargo-deb" --quiet --no-build --locked -p edgereel-worker --output "$output"
