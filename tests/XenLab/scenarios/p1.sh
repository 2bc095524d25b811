# p1: an HVM guest on backendtype=qdisk: it unplugs its emulated disk and takes the PV one in its place; data read and written, block-attach,
# block-detach, xentop's counters; channels; xl save and restore in the middle of writes; after a shutdown what was written is in the images.
dd if=/data/data.img of=/data/p1a.img bs=1M count=16 2>/dev/null
truncate -s 16M /data/p1b.img
truncate -s 8M /data/p1c.img
UNPLUG=all
config p1 "$(direct)" "disk=[\"$(qdisk hda /data/p1a.img)\", \"$(qdisk xvdf /data/p1b.img)\"]" "channel=[$(channel none pty), $(channel socket socket /tmp/p1.channel), $(channel pty pty)]"
start p1
up p1 240
must p1 'cat /sys/hypervisor/type /sys/devices/system/clocksource/clocksource0/current_clocksource'
say "the guest runs on $reply"
case $reply in xen*) ;; *) fail "the guest does not know that it runs on Xen: $reply" ;; esac
must p1 'pv xvda xvdf'
must p1 'ls /sys/block | grep -c ^sd || true'
want 'emulated disks after the unplug' "$reply" 0
pv_disk_checks p1 p1
must p1 'repeats 1 2'
channel_checks p1 'channels' /tmp/p1.channel pty

say '--- save and restore'
must p1 '{ n=0; until [ -e /stop ]; do dd if=/dev/xvda of=/dev/xvdf bs=64k count=32 seek=192 oflag=direct conv=fsync || touch /failed; n=$((n + 1)); echo $n >/round; done; touch /stopped; } >/dev/null 2>&1 & until [ -s /round ]; do sleep 0.2; done'
pid=$(dm_pid "$domid")
xlq save save p1 "$OUT/save"
dm_gone "$pid"
start p1 "$OUT/save"
rm "$OUT/save"
back p1 60
must p1 'cat /round'
before=$reply
must p1 'sleep 5; touch /stop; until [ -e /stopped ]; do sleep 0.2; done; cat /round; [ ! -e /failed ]' 120
[ "$reply" -gt $((before + 1)) ] || fail "writes do not go on after the restore: $before and $reply rounds"
must p1 'echo 3 >/proc/sys/vm/drop_caches; rd xvda 16' 120
want 'sum of 16 MiB after the restore' "$reply" "$(file_sum /data/data.img 16)"
must p1 'rd xvdf 8 2' 120
want 'what was written before the save' "$reply" "$(file_sum /data/data.img 8)"
must p1 'rd xvdf 2 12' 120
want 'what was written meanwhile' "$reply" "$(file_sum /data/data.img 2)"
must p1 'ls /sys/block | grep -c ^sd || true'
want 'emulated disks after the restore' "$reply" 0
must p1 'dmesg | grep -ciE "i/o error|Buffer I/O|call trace" || true'
want 'errors in the log' "$reply" 0
# Linux hangs up who has a channel open.
must p1 'repeats 1 2'
channel_checks p1 'channels after the restore' /tmp/p1.channel pty
xlq attach block-attach p1 "$(qdisk xvdg /data/p1c.img)"
must p1 'pv xvdg && rd xvdg 8' 60
want 'a disk attached after the restore' "$reply" "$(file_sum /data/data.img 8)"
xlq detach block-detach p1 xvdg
must p1 'no_disk xvdg' 30

say '--- shutdown'
must p1 'dd if=/dev/xvda of=/dev/xvdf bs=1M count=4 seek=12 2>/dev/null && sync'
pid=$(dm_pid "$domid")
send p1 'poweroff -f'
gone p1 60
dm_gone "$pid"
pv_image_checks p1
