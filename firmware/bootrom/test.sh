#!/bin/bash
# Boots a Linux kernel through the boot ROM in QEMU: test.sh [KERNEL]. Needs qemu-system-x86_64, a static busybox, cpio, and Debian's kernel
# (downloaded from the package archive unless one is given). Says SKIPPED and succeeds where something is missing.
#
# QEMU serves fw_cfg and deploys a ROM of its own for -kernel: linuxboot_dma.bin, or linuxboot.bin without fw_cfg DMA. A folder given with -L has
# ours under both names. The kernel tells which one ran: ours gives the loader type 0xff, QEMU's 0xb0.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
skip() { echo "SKIPPED: $*; the boot ROM is NOT tested"; exit 0; }
for tool in qemu-system-x86_64 busybox cpio gzip; do command -v $tool > /dev/null || skip "no $tool here"; done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kernel=${1:-}
if [ -z "$kernel" ]; then
    cd "$work"
    package=$(apt-cache depends linux-image-amd64 2> /dev/null | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -1)
    [ -n "$package" ] || skip "no kernel was given and the package archive has none"
    apt-get download -q "$package" > /dev/null 2>&1 || skip "cannot download $package"
    dpkg-deb -x linux-image-*.deb kernel
    kernel=$(ls "$work"/kernel/boot/vmlinuz-*)
fi

# The initial RAM disk: prints what it was given and powers off. The filler makes it big enough to meet a wrong address.
mkdir -p "$work/root/bin"
cp "$(command -v busybox)" "$work/root/bin/busybox"
cat > "$work/root/init" << 'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc 2> /dev/null || { /bin/busybox mkdir /proc; /bin/busybox mount -t proc proc /proc; }
echo "BOOTED sum=$(/bin/busybox md5sum < /filler | /bin/busybox cut -c1-32) loader=$(/bin/busybox cat /proc/sys/kernel/bootloader_type) cmdline=$(/bin/busybox cat /proc/cmdline)"
/bin/busybox poweroff -f
INIT
chmod +x "$work/root/init"
head -c 20000000 /dev/urandom > "$work/root/filler"
sum=$(md5sum < "$work/root/filler" | cut -c1-32)
(cd "$work/root" && find . | cpio -o -H newc --quiet) > "$work/initrd"
mkdir "$work/roms"
cp "$here/xendm-linuxboot.bin" "$work/roms/linuxboot_dma.bin"
cp "$here/xendm-linuxboot.bin" "$work/roms/linuxboot.bin"

# NAME MEMORY QEMU-ARGUMENTS...
run() {
    local name=$1 memory=$2 log="$work/$1.log"
    shift 2
    timeout 300 qemu-system-x86_64 -accel tcg -m "$memory" -nodefaults -no-user-config -display none -serial stdio -no-reboot \
        -chardev file,id=bios,path="$work/$name.bios" -device isa-debugcon,iobase=0x402,chardev=bios \
        -kernel "$kernel" -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1 marker=$name" \
        -L "$work/roms" "$@" > "$log" 2>&1 < /dev/null || true
    if ! grep -q "BOOTED sum=$sum loader=255 cmdline=console=ttyS0 quiet panic=-1 marker=$name" "$log"; then
        tail -n 20 "$log"; tail -n 40 "$work/$name.bios"
        echo "FAILED: $name"
        exit 1
    fi
    echo "passed: $name"
}

run pc-dma 512 -M pc
run pc-bytes 512 -M pc -global fw_cfg_io.dma_enabled=off
run q35-3584M 3584 -M q35
run pc-256M 256 -M pc
