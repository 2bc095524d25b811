#!/bin/bash
# image/guest.sh HOST OUT - makes the guests' half of the lab in the new folder OUT from the host half HOST (image/dom0.sh): data.ext4, a file
# system that dom0 mounts at /data, with
#   vmlinuz, initramfs  for direct kernel boot
#   disk.img            bootable IDE disk: partition 1 FAT with syslinux, kernel and initramfs; 2 the 64 MiB of data; 3 32 MiB to write to
#   boot.iso            the same as a bootable CD, the data as a file
#   data.img            the data alone
#   root.img            the initramfs as a file system, for a kernel with lab.root=DISK
#   sums                MD5 sums of the data: of all of it, then of each 4 MiB
# No mounts and no loop devices are needed.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
host=$1
out=$2
kver=$(ls "$host/modules")
d=$out/data
mkdir -p "$d"

head -c 64M /dev/urandom >"$d/data.img"
{
  md5sum <"$d/data.img" | cut -c1-32
  for i in {0..15}; do dd if="$d/data.img" bs=4M skip="$i" count=1 status=none | md5sum | cut -c1-32; done
} >"$d/sums"

g=$out/g
mkdir -p "$g"/{bin,dev,proc,sys,tmp,mod,more}
cp "$host/busybox" "$g/bin/busybox"
install -m755 "$here/guest/init.sh" "$g/init"
cp "$here/guest/lib.sh" "$d/sums" "$g/"
as --64 -o "$out/pio.o" "$here/guest/pio.S"
ld -s -o "$g/bin/pio" "$out/pio.o"
gcc -Os -Wall -Werror -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables -nostdlib -static -s -o "$g/bin/qd" "$here/guest/qd.c"
"$here/image/modules.sh" "$host/modules/$kver" "$g/mod" ata_piix sd_mod sr_mod isofs evdev button
# Drivers that a test loads when it wants them (lib.sh: load).
more='psmouse xen-blkfront xen-netfront e1000 8139cp 8139too crc32c_generic ext4 bochs cirrus'
# shellcheck disable=SC2086
"$here/image/modules.sh" "$host/modules/$kver" "$g/more" $more
mkdir "$g/more/for"
for m in $more; do
  rm -rf "$out/one" && mkdir "$out/one" && "$here/image/modules.sh" "$host/modules/$kver" "$out/one" "$m"
  (cd "$out/one" && for f in *.ko; do f=${f#*-}; echo "${f%.ko}"; done | tr '\n' ' ') >"$g/more/for/${m//-/_}"
done
(cd "$g" && find . | LC_ALL=C sort | cpio -o -H newc --quiet | gzip -9n >"$d/initramfs")
cp "$host/vmlinuz" "$d/vmlinuz"
truncate -s 32M "$d/root.img"
mke2fs -q -t ext4 -d "$g" "$d/root.img"

append=$(cat "$here/guest/cmdline")
loader() { printf 'DEFAULT lab\nPROMPT 0\nTIMEOUT 1\nLABEL lab\n KERNEL /vmlinuz\n APPEND initrd=/initramfs %s lab.boot=%s\n' "$append" "$1"; }
loader disk >"$out/syslinux.cfg"
p=$out/p1.img
mkfs.vfat -C -F 16 -h 2048 "$p" $((16 * 1024)) >/dev/null
mcopy -i "$p" "$d/vmlinuz" "$d/initramfs" "$out/syslinux.cfg" ::
syslinux --install "$p"
truncate -s 114M "$d/disk.img"
printf 'label: dos\nstart=1MiB,size=16MiB,type=6,bootable\nstart=17MiB,size=64MiB,type=83\nstart=81MiB,size=32MiB,type=83\n' | sfdisk -q "$d/disk.img"
dd if=/usr/lib/SYSLINUX/mbr.bin of="$d/disk.img" conv=notrunc status=none
dd if="$p" of="$d/disk.img" bs=1M seek=1 conv=notrunc status=none
dd if="$d/data.img" of="$d/disk.img" bs=1M seek=17 conv=notrunc,sparse status=none

c=$out/cd
mkdir -p "$c/isolinux"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$c/isolinux/"
loader cd >"$c/isolinux/isolinux.cfg"
cp "$d/vmlinuz" "$d/initramfs" "$c/"
cp "$d/data.img" "$c/data"
xorriso -as mkisofs -quiet -V LAB -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table -o "$d/boot.iso" "$c" 2>/dev/null

truncate -s $(( $(du -sm "$d" | cut -f1) + 512 ))M "$out/data.ext4"
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$d" "$out/data.ext4"
mv "$d/sums" "$out/sums"
rm -rf "$d" "$g" "$c" "$p" "$out/pio.o" "$out/one" "$out/syslinux.cfg"
