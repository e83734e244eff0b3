#!/bin/busybox sh
# shellcheck shell=dash
# The first program of the virtual machine (see prepare.sh): mounts this machine's root to be read, and the directory that the
# kernel's command line names in `share=` to be written, and goes on with `guest` of that directory, which is guest.py.
busybox=/bin/busybox
mount() { $busybox mount "$@"; }
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /m/*; do $busybox insmod "$module"; done
share=
directory=
for word in $($busybox cat /proc/cmdline); do
  case $word in
    share=*) share=${word#share=} ;;
    directory=*) directory=${word#directory=} ;;
  esac
done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 root /r
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 share "/r$share"
mount -o move /dev /r/dev
mount -t proc proc /r/proc
mount -t sysfs sys /r/sys
mount -t tmpfs run /r/run
exec $busybox chroot /r /usr/bin/python3 "$share/guest" "$share" "$directory"
