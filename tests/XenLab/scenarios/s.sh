# s: the strict unplug: a guest with PV drivers that keeps its emulated disk cannot use it while they have the same image. Linux takes no PV disk with
# the number of an IDE disk that it has not unplugged, so that this one is there under another number too.
dd if=/data/data.img of=/data/s.img bs=1M count=16 2>/dev/null
UNPLUG=unnecessary
config s "$(direct)" "disk=[\"$(qdisk hda /data/s.img)\", \"$(qdisk xvdf /data/s.img)\"]" 'device_model_args=["-global", "xen-platform.strict-unplug=on"]'
start s
up s 240
must s 'rd hda 4' 120
want 'the emulated disk, before the PV one is connected' "$reply" "$(file_sum /data/s.img 4)"
must s 'pv xvdf && rd xvdf 16' 120
want 'the PV disk' "$reply" "$(file_sum /data/s.img 16)"
must s 'dd if=/dev/hda of=/dev/null bs=1M skip=8 count=1 iflag=direct 2>/dev/null; echo $?' 120
want 'a read of the emulated disk ends with' "$reply" 1
must s 'dd if=/dev/xvdf of=/dev/hda bs=1M seek=12 count=1 oflag=direct 2>/dev/null; echo $?' 120
want 'a write to the emulated disk ends with' "$reply" 1
must s 'rd xvdf 16' 120
want 'the PV disk after that' "$reply" "$(file_sum /data/data.img 16)"
must s 'unload_disks && rd hda 4' 120
want 'the emulated disk, when the PV driver has gone' "$reply" "$(file_sum /data/s.img 4)"
xlq destroy destroy s
want 'the image' "$(file_sum /data/s.img 16)" "$(file_sum /data/data.img 16)"
rm /data/s.img
