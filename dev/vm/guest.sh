#!/bin/sh
# What the virtual machine does when its disks are there (see init.sh): it runs each NAME.sh that comes into the shared
# directory, in a process group of its own. NAME.out and NAME.err have what it says, NAME.pid its number, NAME.rc how it ended.
#
#   guest SHARED_DIRECTORY DIRECTORY_OF_PREPARE
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run MODULES="$2"
cd "$1" || exit 1
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
run() {
  setsid sh "$1.run" > "$1.out" 2> "$1.err" &
  echo $! > "$1.pid.new" && mv "$1.pid.new" "$1.pid"
  wait $!
  echo $? > "$1.rc.new" && mv "$1.rc.new" "$1.rc"
}
echo ready > ready
while :; do
  for script in *.sh; do
    [ -e "$script" ] || continue
    name=${script%.sh}
    mv "$script" "$name.run"
    run "$name" &
  done
  sleep 0.1
done
