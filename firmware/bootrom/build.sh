#!/bin/sh
# Builds the boot ROM: build.sh [OUT]   (default: xendm-linuxboot.bin beside this script). Needs as, ld, od and awk.
set -e
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/xendm-linuxboot.bin}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# FILE FIRST COUNT: what the bytes lack to add up to a multiple of 256.
lack() {
    od -An -v -tu1 -j "$2" -N "$3" "$1" | awk '{ for (i = 1; i <= NF; i++) s += $i } END { print (256 - s % 256) % 256 }'
}

assemble() {
    as --32 --defsym pnp_checksum="$1" -o "$work/rom.o" "$here/xendm-linuxboot.S"
    ld -m elf_i386 -N -Ttext=0 --oformat binary -o "$work/rom.bin" "$work/rom.o"
}

assemble 0
assemble "$(lack "$work/rom.bin" 32 32)"
size=$(wc -c < "$work/rom.bin")
printf "\\$(printf %03o "$(lack "$work/rom.bin" 0 "$size")")" | dd of="$work/rom.bin" bs=1 seek=$((size - 1)) conv=notrunc status=none
cp "$work/rom.bin" "$out"
echo "$out: $size bytes"
