# f: dm_restrict=1: the device model runs as its own user in an empty root, with its Xen handles bound to its own guest, and without xenstore.
# The disk is a block device: libxl limits the size of files that a restricted device model writes to 256 KiB.
dd if=/data/data.img of=/data/f.img bs=1M count=16 2>/dev/null
loop=$(losetup -f) && losetup "$loop" /data/f.img || fail 'no loop device'
config f "$(direct)" dm_restrict=1 'device_model_user="xenlab"' "disk=[\"phy:$loop,hda,w\"]"
start f
pid=$(dm_pid "$domid")
python3 /lab/dom0/restricted.py "$pid" "$domid" 6400 >"$OUT/restricted" 2>&1 || fail "$(tail -1 "$OUT/restricted")"
up f 240
must f 'rd hda 16' 120
want 'sum of 16 MiB' "$reply" "$(file_sum /data/data.img 16)"
must f 'dd if=/dev/hda of=/dev/hda bs=1M count=4 seek=12 conv=fsync' 120
xlq pause pause f
xlq unpause unpause f
must f true
xlq destroy destroy f
dm_gone "$pid"
losetup -d "$loop"
want 'sum of what was written' "$(file_sum /data/f.img 4 12)" "$(file_sum /data/data.img 4)"
rm /data/f.img
