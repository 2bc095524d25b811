#!/bin/bash
# build.sh - makes a file system with the distribution's X.Org server, its drivers for our display adapters, a few clients, and the files of this folder
# in the cache, and prints its name; or on standard error why it cannot be had. Nothing is installed on this host, and no mount is needed.
set -uo pipefail
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
cache=${XENDM_CACHE:-$HOME/.cache/xendm}/packages
image=$cache/xorg-$(cd "$here" && cat build.sh guest.sh xorg.conf draw.sh pointer.xbm mask.xbm | sha256sum | cut -c1-12).ext4
[ ! -e "$image" ] || { touch -c "$image"; echo "$image"; exit; }
mkdir -p "$cache"
exec 9>"$cache/xorg.lock"
flock 9
[ ! -e "$image" ] || { echo "$image"; exit; }
root=$(mktemp -d "$cache/xorg.XXXXXX")
trap 'rm -rf "$root"' EXIT

wanted='xserver-xorg-core xserver-xorg-video-cirrus xserver-xorg-video-vesa xserver-xorg-input-evdev x11-xkb-utils x11-apps x11-xserver-utils xinput xterm'
# OpenGL, and what only installing needs.
unwanted='libgl1|libegl1|cpp|udev|man-db|x11-common|keyboard-configuration|xbitmaps|fontconfig-config|debconf'
packages=$wanted more=$wanted
while [ -n "$more" ]; do
  # shellcheck disable=SC2086
  needed=$(apt-cache depends -i $more | sed -nE 's/^ *\|?Depends: ([^<]*)$/\1/p' | sort -u | grep -vxE "$unwanted")
  more=$(comm -13 <(tr ' ' '\n' <<<"$packages" | sort -u) - <<<"$needed")
  packages+=${more:+ ${more//$'\n'/ }}
done
mkdir "$root/deb" "$root/x"
# shellcheck disable=SC2086
(cd "$root/deb" && apt-get -qq download $packages busybox-static) >"$root/log" 2>&1 || { echo "packages of X.Org cannot be downloaded: $(tail -1 "$root/log")" >&2; exit 1; }
for package in "$root"/deb/*.deb; do dpkg-deb -x "$package" "$root/x" || exit 1; done
cd "$root/x" || exit 1
rm -rf usr/share/{doc,man,locale,icons,bug,lintian,info,perl5,pixmaps,applications} usr/lib/x86_64-linux-gnu/{gconv,perl*,dri} usr/lib/{systemd,udev} etc/init.d var
mkdir -p dev proc sys tmp run etc var
for name in sh cat ls seq sleep; do [ -e "bin/$name" ] || ln -s busybox "bin/$name"; done
ln -s ../tmp var/log && ln -s ../tmp var/lib
cp "$here/guest.sh" . && cp "$here"/{xorg.conf,draw.sh,pointer.xbm,mask.xbm} etc/X11/ && truncate -s $(($(du -sm . | cut -f1) + 16))M "$root/image" &&
  mke2fs -q -t ext4 -O ^has_journal -m 0 -d . "$root/image" && mv "$root/image" "$image" || { echo 'mke2fs makes no file system' >&2; exit 1; }
find "$cache" -maxdepth 1 -name 'xorg-*.ext4' -mtime +14 ! -path "$image" -delete
echo "$image"
