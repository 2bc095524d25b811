#!/bin/bash
# build.sh - makes all that run.sh needs from Debian packages, in a cache outside the checkout, and prints the cache folder's name.
# The folder's name holds a hash of what goes into it: nothing is done when it exists. Needs Debian 12, root and apt, and two minutes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XENDM_CACHE:-${HOME:-/root}/.cache/xendm}
export PATH=$PATH:/usr/sbin:/sbin DEBIAN_FRONTEND=noninteractive LC_ALL=C
cd "$here"
hash() { cat -- "$@" | sha256sum | cut -c1-12; }
host_inputs=(image/dom0.sh image/modules.sh dom0/initrd-init.sh dom0/init.sh)
host=$cache/xenlab-host-$(hash "${host_inputs[@]}")
lab=$cache/xenlab-$(hash "${host_inputs[@]}" image/guest.sh guest/*)

if [ ! -e "$lab" ]; then
  mkdir -p "$cache"
  exec 9>"$cache/xenlab.lock"
  flock 9
  # Somebody else may have built it meanwhile.
  [ ! -e "$lab" ] || { echo "$lab"; exit; }
  tmp=
  trap '[ -z "$tmp" ] || rm -rf "$tmp"' EXIT
  trap 'exit 1' INT TERM HUP
  # Half-made folders of builds that were killed: the lock says that nobody works in them.
  rm -rf "$cache"/xenlab-tmp.*
  tools='qemu-system-x86 debootstrap busybox-static kmod cpio e2fsprogs xz-utils xorriso isolinux syslinux syslinux-common mtools dosfstools fdisk binutils gcc'
  missing=$(for t in $tools; do dpkg-query -W -f '${Status}' "$t" 2>/dev/null | grep -q 'ok installed' || echo "$t"; done)
  if [ -n "$missing" ]; then
    [ "$(id -u)" = 0 ] || { echo "XenLab needs root to install:" $missing >&2; exit 1; }
    echo "XenLab: installing" $missing >&2
    apt-get update -qq >&2
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing </dev/null >"$cache/apt.log" 2>&1 || { tail -20 "$cache/apt.log" >&2; exit 1; }
  fi
  make_part() { # FOLDER SCRIPT ARGUMENT...
    local to=$1
    shift
    [ ! -e "$to" ] || return 0
    tmp=$(mktemp -d "$cache/xenlab-tmp.XXXXXX")
    "$@" "$tmp" >&2
    mv -T "$tmp" "$to"
    tmp=
  }
  echo "XenLab: building $lab" >&2
  make_part "$host" image/dom0.sh
  make_part "$lab.part" image/guest.sh "$host"
  for f in xen vmlinux initrd dom0.img; do ln -f "$host/$f" "$lab.part/$f"; done
  mv -T "$lab.part" "$lab"
  # Parts that no run has used for two weeks make room.
  find "$cache" -maxdepth 1 -name 'xenlab-*' -type d -mtime +14 ! -path "$host" ! -path "$lab" -exec rm -rf {} +
fi
touch -c "$lab" "$host"
echo "$lab"
