#!/usr/bin/env bash
# Prints the Debian packages, one a line, that hold the libraries which a binary is linked with.
#
#   packages.sh BINARY        on the Debian release that it was built on
set -euo pipefail
[ $# = 1 ] || { sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
wanted=$(objdump -p "$1" | awk '$1 == "NEEDED" { print $2 }')
# Libraries may be under /lib or /usr/lib, which are one on Debian, and dpkg knows only one of the two.
ldd "$1" | awk '$2 == "=>" { print $1, $3 }' | while read -r name path; do
  grep -qxF "$name" <<< "$wanted" || continue
  dpkg -S "*/$(basename "$(readlink -f "$path")")" | awk -F: -v name="$name" 'NR == 1 { print $1; found = 1 }
    END { if (!found) { print "packages: no Debian package has " name > "/dev/stderr"; exit 1 } }'
done | sort -u
