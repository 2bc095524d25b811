#!/bin/bash
# image/dom0.sh OUT - makes the host's half of the lab in the new folder OUT: xen, vmlinux, initrd, dom0.img, and for the guests
# vmlinuz and modules/. The packages come from Debian, checked by debootstrap against the archive's key. They are unpacked, not
# configured: nothing in the lab needs a maintainer script, and unpacking takes seconds where configuring takes minutes.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
out=$1
suite=bookworm
packages=xen-hypervisor-4.17-amd64,xen-utils-4.17,xenstore-utils,qemu-system-xen,seabios,linux-image-amd64,iproute2,procps,kmod,busybox-static
# Modules of dom0, loaded in this order by its initrd, with all they depend on.
dom0_modules='virtio_pci virtio_blk crc32c_generic ext4 loop xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs xen-blkback tun bridge xen-netback'

mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -1)
[ -n "$mirror" ] || mirror=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) { print $i; exit } }' /etc/apt/sources.list 2>/dev/null || true)
mirror=${mirror:-http://deb.debian.org/debian}

root=$out/root
echo "fetching packages from $mirror"
debootstrap --download-only --variant=minbase --include="$packages" "$suite" "$out/dl" "$mirror" >"$out/debootstrap.log" 2>&1 || {
  tail -20 "$out/debootstrap.log" >&2
  exit 1
}
mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{dev,proc,sys,run,tmp,mnt,root,var/log/xen,var/lib/xen}
for d in bin sbin lib lib64; do ln -s "usr/$d" "$root/$d"; done
for deb in "$out"/dl/var/cache/apt/archives/*.deb; do
  case ${deb##*/} in
    # Not used by anything that runs in the lab.
    apt_*|dpkg_*|debconf_*|adduser_*|iso-codes_*|tzdata_*|initramfs-tools*|klibc-utils_*|linux-base_*|udev_*|passwd_*|login_*|systemd*) continue ;;
  esac
  dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$root" \
    --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*'
done
rm -rf "$out/dl"
rm -rf "$root/var/run" "$root/var/lock"
ln -s /run "$root/var/run"
ln -s /run/lock "$root/var/lock"
ln -sf mawk "$root/usr/bin/awk"
cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
echo 'xenlab:x:6400:6400:device model of a restricted guest:/nonexistent:/usr/sbin/nologin' >>"$root/etc/passwd"
echo 'xenlab:x:6400:' >>"$root/etc/group"

kver=$(ls "$root/lib/modules")
zcat "$root"/boot/xen-4.17-amd64.gz >"$out/xen"
mv "$root/boot/vmlinuz-$kver" "$out/vmlinuz"
mv "$root/lib/modules" "$out/modules"
mkdir -p "$out/dep/lib"; ln -s ../../modules "$out/dep/lib/modules"; depmod -b "$out/dep" "$kver"; rm -r "$out/dep"
rm -rf "$root/boot"

# Xen takes an uncompressed kernel, which spares it the slow unpacking of an xz stream in software. The bzImage header says where it is.
field() { od -An -v -t u"$2" -j "$1" -N "$2" "$out/vmlinuz" | tr -d ' '; }
start=$(( ($(field 0x1f1 1) + 1) * 512 + $(field 0x248 4) ))
dd if="$out/vmlinuz" of="$out/payload.xz" iflag=skip_bytes,count_bytes skip="$start" count=$(( $(field 0x24c 4) - 4 )) bs=1M status=none
xz -dc "$out/payload.xz" >"$out/vmlinux" || { echo 'the kernel is not an xz bzImage' >&2; exit 1; }
rm "$out/payload.xz"

# dom0's initrd: busybox, the modules, and a script that loads them and moves on to the disk.
i=$out/i
mkdir -p "$i"/{bin,dev,proc,sys,new,mod}
cp "$root/bin/busybox" "$i/bin/"
install -m755 "$here/dom0/initrd-init.sh" "$i/init"
"$here/image/modules.sh" "$out/modules/$kver" "$i/mod" $dom0_modules
(cd "$i" && find . | LC_ALL=C sort | cpio -o -H newc --quiet | gzip -1 >"$out/initrd")
install -m755 "$here/dom0/init.sh" "$root/init.sh"
truncate -s $(( $(du -sm "$root" | cut -f1) * 11 / 10 + 200 ))M "$out/dom0.img"
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$root" "$out/dom0.img"
cp "$root/bin/busybox" "$out/busybox"
rm -rf "$i" "$root"
