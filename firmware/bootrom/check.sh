#!/bin/sh
# Rebuilds the boot ROM and compares it with the image in the repository: both must be the same. Exit status 0 when they are, and also, with a
# loud line, where there is no assembler.
set -e
here=$(cd "$(dirname "$0")" && pwd)
for tool in as ld od awk cmp; do
    command -v $tool > /dev/null || { echo "SKIPPED: no $tool here; xendm-linuxboot.bin is NOT checked against its source"; exit 0; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/build.sh" "$work/rom.bin" > /dev/null
cmp "$work/rom.bin" "$here/xendm-linuxboot.bin" || { echo "xendm-linuxboot.bin does not match its source: run build.sh"; exit 1; }
echo "xendm-linuxboot.bin matches its source"
