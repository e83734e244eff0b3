#!/usr/bin/env bash
# Installs the Debian packages that are missing, through apt-get, as root or with sudo.
#
#   dev/setup.sh [--check] [GROUP…]
#
#     build      what cargo needs to compile Edgereel
#     demo       what `make demo` needs: Java and Maven for Kafka, FFmpeg's players
#     test       what `make test` needs beside that: cameras and clients that others wrote
#     cluster    what `make cluster-up`, `make e2e` and `make images` need beside build and demo; Go is not among it
#     packages   what `make packages` needs beside build
#     packages-test   what `make packages-test` needs
#     bench      what `make bench` needs beside build and demo
#
#   Without a group: all of them. With --check nothing is installed; what is missing is printed, and the exit status is 1.
#   Rust itself comes from https://rustup.rs, Go (1.26 or later, for the test cluster and Helm) from https://go.dev/dl; Kafka and
#   Python packages are fetched by the tests, once.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
die() { echo "setup: $*" >&2; exit 1; }

# A group's packages; PACKAGE:COMMAND where any package (or none) may bring the command.
build='gcc:cc g++:c++ make:make perl:perl cmake:cmake nasm:nasm pkg-config:pkg-config clang:clang libclang-dev
  libssl-dev libzstd-dev zlib1g-dev libavcodec-dev libavformat-dev libavutil-dev libswscale-dev'
demo='default-jre-headless:java maven:mvn ffmpeg:ffmpeg'
test="$demo openssl:openssl kcat:kcat ustreamer:ustreamer vlc-bin:cvlc vlc-plugin-base
  gstreamer1.0-tools:gst-launch-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly
  python3-gst-1.0 gir1.2-gst-rtsp-server-1.0
  python3:python3 python3-venv util-linux:unshare shellcheck:shellcheck
  qemu-system-x86:qemu-system-x86_64 kmod cpio:cpio busybox-static"
cluster="$build $demo python3-gst-1.0 gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
  gstreamer1.0-plugins-ugly openssl:openssl containerd:containerd runc:runc containernetworking-plugins nftables:nft iptables:iptables ipset:ipset iproute2:ip
  util-linux:flock buildah:buildah mmdebstrap:mmdebstrap shellcheck:shellcheck"
deb='dpkg-dev:dpkg-shlibdeps help2man:help2man'
deb_test="$deb $demo lintian:lintian mmdebstrap:mmdebstrap systemd-container:systemd-nspawn util-linux:nsenter"
bench="$build $demo python3:python3 python3-venv"

check=0 groups=()
for argument in "$@"; do
  case $argument in
    --check) check=1 ;;
    build | demo | test | cluster | packages | packages-test | bench) groups+=("$argument") ;;
    -h | --help) sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) die "unknown argument $argument; --help lists them" ;;
  esac
done
[ ${#groups[@]} -gt 0 ] || groups=(build demo test cluster packages packages-test bench)

# Rust does not come from Debian: its own is often too old.
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
  PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
fi
command -v cargo >/dev/null || die "Rust is not installed. Edgereel needs $wanted or later:
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""
have=$(rustc --version | cut -d' ' -f2)
[ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n1)" = "$wanted" ] ||
  die "Rust is $have, and Edgereel needs $wanted or later: rustup update stable"

missing=() packages=()
for group in "${groups[@]}"; do
  case $group in
    build) list=$build ;; demo) list=$demo ;; test) list=$test ;; cluster) list=$cluster ;;
    packages) list=$deb ;; packages-test) list=$deb_test ;; *) list=$bench ;;
  esac
  for entry in $list; do
    case $entry in
      *:*) command -v "${entry#*:}" >/dev/null || missing+=("${entry%%:*}") ;;
      *) packages+=("$entry") ;;
    esac
  done
done
if [ ${#packages[@]} -gt 0 ]; then
  # Elsewhere than on Debian only the commands can be looked for.
  if command -v dpkg-query >/dev/null; then
    installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true)
    for package in "${packages[@]}"; do
      grep -qx "installed $package" <<< "$installed" || missing+=("$package")
    done
  fi
fi
# A Python from elsewhere brings its own venv.
if [[ " ${missing[*]-} " = *" python3-venv "* ]] && python3 -c 'import ensurepip, venv' 2>/dev/null; then
  kept=()
  for package in "${missing[@]}"; do [ "$package" = python3-venv ] || kept+=("$package"); done
  missing=(${kept[@]+"${kept[@]}"})
fi
[ ${#missing[@]} -gt 0 ] || exit 0

mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
install=(apt-get install --yes --no-install-recommends "${missing[@]}")
if [ $check = 1 ]; then
  echo "setup: missing: ${missing[*]}" >&2
  exit 1
fi
command -v apt-get >/dev/null || die "this is not Debian: install what these Debian packages hold: ${missing[*]}"
as_root=()
if [ "$(id -u)" != 0 ]; then
  # Without a terminal, sudo must not ask for a password.
  ask=(-n)
  [ ! -t 0 ] || ask=()
  if ! command -v sudo >/dev/null || ! sudo ${ask[@]+"${ask[@]}"} true; then
    die "packages are missing. As root:  apt-get update && ${install[*]}"
  fi
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}" >&2
${as_root[@]+"${as_root[@]}"} apt-get update -qq
${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive "${install[@]}"
