#!/usr/bin/env bash
# Makes what tests boot a small virtual machine from, for kernel modules that this machine's kernel does not have: Debian's kernel,
# its drivers of test cameras (vivid; v4l2loopback, compiled here), and an initramfs. Once: some 90 MB are fetched, 10 MB kept.
#
#   dev/vm/prepare.sh        prints the directory, in ${XDG_CACHE_HOME:-$HOME/.cache}/edgereel
#
#   The machine's root is this machine's, to be read only, by 9p; see init.sh and guest.py. QEMU runs it, without KVM too.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() { echo "vm: $*" >&2; exit 1; }

# Where Debian has depmod, which is not in everybody's path.
PATH=$PATH:/usr/sbin:/sbin

# What the machine itself needs, and the drivers of cameras.
base=(virtio_pci 9pnet_virtio 9p virtio_net)
cameras=(vivid v4l2loopback)

cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgereel
mkdir -p "$cache"
# A change of this script or of init.sh is another machine.
key=$(cat "$here/prepare.sh" "$here/init.sh" | sha256sum | cut -c1-12)
dir=$cache/vm-$key
exec 9> "$cache/vm.lock"
flock 9
if [ -e "$dir/ready" ]; then
  echo "$dir"
  exit 0
fi

[ "$(dpkg --print-architecture 2> /dev/null)" = amd64 ] || die "the machine is Debian's on amd64, and so has this one to be"
for program in qemu-system-x86_64:qemu-system-x86 depmod:kmod cpio:cpio busybox:busybox-static cc:gcc make:make; do
  command -v "${program%%:*}" > /dev/null || die "\`${program%%:*}\` is not installed: apt-get install ${program#*:} (\`make setup\`)"
done

work=$(mktemp -d "$cache/vm-work.XXXXXX")
trap 'rm -rf "$work"' EXIT
of() { apt-cache depends "$1" | sed -n "s/^ *Depends: \($2.*\)/\1/p" | head -n 1; }
if [ -z "$(of linux-image-amd64 linux-image-)" ]; then
  apt-get update -qq || die "apt knows no kernel: run apt-get update as root"
fi
image=$(of linux-image-amd64 linux-image-)
headers=$(of linux-headers-amd64 linux-headers-)
if [ -z "$image" ] || [ -z "$headers" ]; then
  die "apt knows no package linux-image-amd64: has /etc/apt Debian's main archive?"
fi
version=${image#linux-image-}
echo "vm: fetching Debian's kernel $version" >&2
(
  cd "$work"
  apt-get download -qq "$image" "$headers" "$(of "$headers" linux-headers-)" "$(of "$headers" linux-kbuild-)" \
    v4l2loopback-dkms 2> apt.log || { cat apt.log >&2; die "the kernel cannot be fetched"; }
  for package in *.deb; do dpkg -x "$package" root; done
)
root=$work/root
# Before Debian's usrmerge and after it.
modules=$root/lib/modules/$version
[ -d "$modules" ] || { mkdir -p "$root/lib" && ln -s "$root/usr/lib/modules" "$root/lib/modules"; }
build=$root/usr/src/linux-headers-$version
sed -i "s#/usr/src/#$root/usr/src/#g" "$build/Makefile"
for link in scripts tools; do
  ln -sfn "$(echo "$root"/usr/lib/linux-kbuild-*)/$link" "$build/$link"
done
loopback=$(echo "$root"/usr/src/v4l2loopback-*)
make -C "$build" M="$loopback" modules > "$work/make.log" 2>&1 || { tail -n 30 "$work/make.log" >&2; die "v4l2loopback does not compile"; }
mkdir -p "$modules/extra"
strip --strip-debug -o "$modules/extra/v4l2loopback.ko" "$loopback/v4l2loopback.ko"
depmod -b "$root" "$version"

# In the order in which they are loaded.
needed() {
  local module
  for module in "$@"; do modprobe -d "$root" -S "$version" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'; done | awk '!seen[$0]++'
}
new=$work/new
mkdir -p "$new/ird/bin" "$new/ird/m" "$new/ird/r" "$new/ird/proc" "$new/ird/sys" "$new/ird/dev"
count=100
while read -r module; do
  cp "$module" "$new/ird/m/$count-$(basename "$module")"
  count=$((count + 1))
done < <(needed "${base[@]}")
cp "$(command -v busybox)" "$new/ird/bin/busybox"
install -m 755 "$here/init.sh" "$new/ird/init"
(cd "$new/ird" && find . | cpio -o -H newc --quiet | gzip -1) > "$new/initrd.gz"
rm -rf "$new/ird"
while read -r module; do
  install -D -m 644 "$module" "$new/lib/modules/$version/${module#"$modules/"}"
done < <(needed "${cameras[@]}")
cp "$modules"/modules.order "$modules"/modules.builtin "$modules"/modules.builtin.modinfo "$new/lib/modules/$version/"
depmod -b "$new" "$version"
cp "$root/boot/vmlinuz-$version" "$new/vmlinuz"
touch "$new/ready"
rm -rf "$dir"
mv "$new" "$dir"
chmod 755 "$dir"
echo "$dir"
