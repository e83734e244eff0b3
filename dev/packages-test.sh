#!/usr/bin/env bash
# Installs the Debian package in a Debian of its own, which has nothing but the smallest system and a running systemd, and
# uses it as one does on an edge box: configure, start, reload, restart, upgrade, remove, purge. Kafka is a real one.
#
#   packages-test.sh [--profile dev]      of the binary of `cargo build` instead of that of `cargo build --release`
#
# Needs root, the Debian release that the package is for, and a kernel that lets systemd-nspawn boot. What goes wrong is said
# with the service's log. Debian's packages are kept in ${XDG_CACHE_HOME:-~/.cache}/edgereel/packages.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
die() { echo "packages-test: $*" >&2; exit 1; }
say() { echo "packages-test: $*" >&2; }

make=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    --profile)
      [ $# -ge 2 ] || die "$1 needs a value"
      make=(--profile "$2")
      shift
      ;;
    *) die "unknown argument $1; --help lists them" ;;
  esac
  shift
done
[ "$(id -u)" = 0 ] || die "a Debian of its own needs root: sudo -E make packages-test"
# shellcheck disable=SC1091
suite=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME") || die "this is not Debian"
for tool in mmdebstrap systemd-nspawn nsenter lintian; do
  command -v $tool > /dev/null || die "$tool is missing: run dev/setup.sh packages-test (make setup)"
done
cd "$root"

scratch=$(mktemp -d)
machine='' system=''
# Where no systemd is that could give it a unit of its own, systemd-nspawn makes do with two control groups.
alone=()
[ -d /run/systemd/system ] || alone=(--register=no --keep-unit)
finish() {
  local status=$?
  trap - EXIT
  # With process 1 all go; systemd-nspawn itself would leave them behind.
  [ -z "$machine" ] || { ps -o pid= --ppid "$machine" | xargs -r kill -KILL; wait "$machine"; } 2> /dev/null || true
  [ ! -d "$scratch/kafka" ] || dev/kafka/kafka-down.sh "$scratch/kafka" > /dev/null 2>&1 || true
  [ ${#alone[@]} = 0 ] || find /sys/fs/cgroup/{unified,systemd,.}/{payload,supervisor} -depth -type d -exec rmdir {} \; 2> /dev/null || true
  rm -rf --one-file-system "$scratch"
  exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

# --- the packages: this one, and one that comes after it ---

package=$(dev/packages.sh ${make[@]+"${make[@]}"} --output "$scratch")
say "made $(basename "$package")"
lintian --allow-root --fail-on error,warning "$package" || die "lintian objects: see above"
dpkg-deb -R "$package" "$scratch/next"
sed -i 's/^Version: .*/Version: 99.0-1/' "$scratch/next/DEBIAN/control"
dpkg-deb -Zgzip --root-owner-group -b "$scratch/next" "$scratch/next.deb" > /dev/null
rm -rf "$scratch/next"

# --- a Debian that has just been installed ---

cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgereel/packages
mkdir -p "$cache/archives/partial"
# One at a time: they share packages and control groups.
exec 9> "$cache/lock"
flock 9
if [ ! -f "$cache/$suite.tar" ]; then
  say "making a smallest Debian $suite, once"
  mmdebstrap --quiet --variant=minbase --include=systemd "$suite" "$cache/$suite.$$.tar" ||
    die "cannot make a Debian $suite: see above"
  mv -f "$cache/$suite.$$.tar" "$cache/$suite.tar"
fi
debian=$scratch/debian
mkdir "$debian"
tar -xf "$cache/$suite.tar" -C "$debian"
cp "$package" "$scratch/next.deb" "$debian/root/"
package=/root/$(basename "$package")

# The network is this machine's: packages come through it, and Kafka is there.
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --boot --console=pipe ${alone[@]+"${alone[@]}"} \
  --machine="edgereel-test-$$" --bind="$cache/archives:/var/cache/apt/archives" -D "$debian" \
  < /dev/null > "$scratch/console" 2>&1 &
machine=$!

inside() { nsenter -t "$system" --mount --pid --uts --ipc --root --wd -- env -i \
  HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
quietly() { "$@" > "$scratch/log" 2>&1 || { tail -n 30 "$scratch/log" >&2; failed "$* failed"; }; }
failed() {
  [ -z "$system" ] || inside journalctl --no-pager -n 40 -u edgereel >&2 || true
  die "$@"
}
# until SECONDS WHAT COMMAND…: waits for the command to succeed.
until_() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" > "$scratch/asked" 2>&1; do
    [ $SECONDS -lt $end ] || { cat "$scratch/asked" >&2; failed "not within its time: $what"; }
    kill -0 "$machine" 2> /dev/null || { cat "$scratch/console" >&2; die "the Debian of its own has ended"; }
    sleep 0.2
  done
}
booted() { system=$(pgrep -P "$machine") && inside systemctl is-system-running --quiet; }
ok() { say "ok: $*"; }

until_ 60 "systemd has started" booted
ok "systemd runs as process 1 of a Debian of its own"

# --- install: nothing runs that nobody has configured ---

say "installing, with what it depends on"
quietly inside apt-get update -q
quietly inside apt-get install -qy --no-install-recommends "$package"
state() { inside systemctl show --value -p "$1" edgereel; }
as() { inside runuser -u "$1" -- "${@:2}"; }
is() { [ "$2" = "$3" ] || failed "$1 is $2 and should be $3"; }
quietly inside systemd-analyze verify --man=no edgereel.service
quietly inside edgereel --version
is "the service's start" "$(state UnitFileState) $(state ActiveState)" "disabled inactive"
of() { inside stat -c '%a %U:%G' "$1"; }
is /etc/edgereel/resources "$(of /etc/edgereel/resources)" "2750 root:edgereel"
is /etc/edgereel/secrets "$(of /etc/edgereel/secrets)" "2750 root:edgereel"
for file in bash-completion/completions/edgereel zsh/vendor-completions/_edgereel fish/vendor_completions.d/edgereel.fish \
  man/man1/edgereel-run.1.gz doc/edgereel/{copyright,changelog.gz,docs/guide.md,examples/quickstart/quickstart.yaml}; do
  inside test -s "/usr/share/$file" || failed "/usr/share/$file is missing"
done
inside sh -c 'umask 027; mkdir /etc/edgereel/secrets/login; printf word > /etc/edgereel/secrets/login/password'
is "a secret" "$(as edgereel cat /etc/edgereel/secrets/login/password)" word
! as nobody cat /etc/edgereel/secrets/login/password > /dev/null 2>&1 || failed "anyone may read a secret"
quietly inside systemctl start edgereel
is "the service without a resource" "$(state ConditionResult) $(state ActiveState)" "no inactive"
ok "installed: a user, its directories, a unit that waits for resources"

# --- configure and start: frames on a disk ---

taken() { (: > "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
free_port() {
  local port
  for port in $(shuf -n 20 -i 20000-29900); do
    # Kafka takes two.
    ! taken "$port" && ! taken $((port + 50)) && break
  done
  echo "$port"
}
port=$(free_port) http=127.0.0.1:$(free_port)
quietly dev/kafka/kafka-up.sh 1 "$scratch/kafka" "$port" 9>&-

resources() {
  cat << YAML
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: local}
spec: {bootstrapServers: ["127.0.0.1:$port"]}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: gate}
spec:
  source: {synthetic: {size: 640x480, frameBytes: 20k}}
  frameRate: {target: 10}
  topic: {name: gate}
  kafka: {connectionRef: {name: local}}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: gate-frames}
spec:
  from: {streamRef: {name: gate}}
  output: {jpegFiles: {directory: gate}}
  storage: {hostPath: {path: /srv/disk}}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: gate-video}
spec:
  from: {streamRef: {name: gate}}
  output: {video: {directory: video, codec: xvid}}
  storage: {hostPath: {path: /srv/disk}}
YAML
}
another() {
  cat << YAML
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: yard}
spec:
  source: {synthetic: {size: 640x480, frameBytes: 20k}}
  frameRate: {target: 5}
  topic: {name: yard}
  kafka: {connectionRef: {name: local}}
YAML
}
put() { inside tee "/etc/edgereel/resources/$1.yaml" > /dev/null; }
logged() { inside journalctl --no-pager -u edgereel -g "$1"; }
ask() { exec 3<> "/dev/tcp/${http/://}" && printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&3 && timeout 5 cat <&3; }
answers() { (ask "$1") 2> /dev/null | grep -aq "$2"; }
frames() { [ "$(inside find "$1" -name 'frame_*.jpg' 2> /dev/null | wc -l)" -gt "${2:-20}" ]; }

resources | put gate
printf 'EDGEREEL_HTTP=%s\nEDGEREEL_LOG=info\nEDGEREEL_ARGS="--snapshots --no-table"\n' "$http" | inside tee /etc/default/edgereel > /dev/null
quietly inside systemctl enable --now edgereel
until_ 60 "/healthz answers" answers /healthz "200 OK"
is "the process's user" "$(inside stat -c %U "/proc/$(state MainPID)")" edgereel
until_ 60 "a snapshot is served" answers "/snapshot.jpg?camera=gate" "image/jpeg"
until_ 60 "the sink says that its disk is missing" answers /readyz "/srv/disk"
# A disk that is mounted when the service runs already.
inside mkdir /srv/disk
inside mount -t tmpfs tmpfs /srv/disk
inside chown edgereel: /srv/disk
until_ 60 "frames are on the disk that was mounted later" frames /srv/disk/gate
until_ 60 "all is ready" answers /readyz "200 OK"
quietly as edgereel edgereel check -f /etc/edgereel/resources --secrets-dir /etc/edgereel/secrets
ok "enabled and started: camera, Kafka and a disk that was mounted later"

# --- reload: what is wrong changes nothing, what is right is taken up without a restart ---

pid=$(state MainPID)
another | sed 's/target:/targt:/' | put yard
! inside systemctl reload edgereel 2> "$scratch/log" || failed "a reload of files with a problem succeeded"
logged 'did you mean .target.' > /dev/null || failed "the log does not say what is wrong with the files"
another | put yard
quietly inside systemctl reload edgereel
until_ 60 "the second camera is there" answers /status yard
until_ 60 "all is ready after the reload" answers /readyz "200 OK"
is "the process after reloads" "$(state MainPID)" "$pid"
ok "reloaded: a problem fails the reload, a change is taken up by the same process"

# --- a crash, an upgrade ---

inside sh -c "kill -KILL $pid"
restarted() { [ "$(state MainPID)" != "$pid" ] && [ "$(state ActiveState)" = active ] && answers /readyz "200 OK"; }
until_ 60 "a new process after a crash" restarted
pid=$(state MainPID)
quietly inside apt-get install -qy --no-install-recommends /root/next.deb
until_ 60 "a new process after an upgrade" restarted
is "the version after the upgrade" "$(inside dpkg-query -W edgereel | cut -f 2)" 99.0-1
inside grep -q "$http" /etc/default/edgereel || failed "an upgrade has overwritten /etc/default/edgereel"
ok "started again after a crash and after an upgrade, which kept what was configured"

# --- stop: in order, everything accounted for ---

quietly inside systemctl stop edgereel
is "the stop" "$(state Result) $(state ExecMainStatus)" "success 0"
logged "all stopped" > /dev/null || failed "the log has no last line"
quietly as edgereel edgereel verify -f /etc/edgereel/resources
quietly inside apt-get install -qy --no-install-recommends --allow-downgrades "$package"
is "the stopped service after an upgrade" "$(state ActiveState)" inactive
ok "stopped with status 0, every frame is on the disk, an upgrade starts nothing that was stopped"

# --- remove and purge ---

quietly inside systemctl start edgereel
until_ 60 "/healthz answers" answers /healthz "200 OK"
quietly inside apt-get remove -qy edgereel
is "the removed service" "$(inside systemctl is-active edgereel || true)" inactive
inside test -f /etc/edgereel/resources/gate.yaml -a -f /etc/default/edgereel || failed "a removal took the configuration"
quietly inside apt-get purge -qy edgereel
for gone in /usr/bin/edgereel /etc/edgereel /etc/default/edgereel /var/lib/edgereel /usr/share/doc/edgereel \
  /etc/systemd/system/edgereel.service /etc/systemd/system/multi-user.target.wants/edgereel.service; do
  ! inside test -e $gone -o -L $gone || failed "$gone is left after a purge"
done
frames /srv/disk/gate || failed "a purge took frames"
ok "removed and purged: the configuration is gone, the frames are there"

# In order, as a machine is shut down.
kill -TERM "$machine"
wait "$machine" || true
machine=''
say "all passed"
