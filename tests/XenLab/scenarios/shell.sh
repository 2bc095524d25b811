# shell: not a check: a guest with a disk and a CD whose shell is on the terminal (run.sh --by-hand shell). `poweroff -f` ends it.
[ -n "$HAND" ] || skip 'only by hand'
truncate -s 64M /data/shell.img
config shell "$(direct)" 'disk=["file:/data/data.img,hda,w","file:/data/shell.img,hdb,w","file:/data/boot.iso,hdc:cdrom,r"]'
start shell
up shell 300
printf 'hand by_hand\n' >&4
cat <&4 >/dev/ttyS1 &
cat /dev/ttyS1 >&4 &
gone shell 80000
kill $! $(($! - 1)) 2>/dev/null || true
