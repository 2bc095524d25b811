#!/bin/bash
# guest.sh IMAGE - makes the disk image of the guest in guest.S; needs binutils.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
as --32 -o "$work/guest.o" "$here/guest.S"
ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o "$1" "$work/guest.o"
truncate -s 1M "$1"
