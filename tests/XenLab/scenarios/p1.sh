# p1: an HVM guest on backendtype=qdisk: it unplugs its emulated disk and takes the PV one in its place; data read and written, block-attach,
# block-detach, xentop's counters; after a shutdown and after xl destroy what was written is in the images.
dd if=/data/data.img of=/data/p1a.img bs=1M count=16 2>/dev/null
truncate -s 16M /data/p1b.img
truncate -s 8M /data/p1c.img
UNPLUG=all
config p1 "$(direct)" "disk=[\"$(qdisk hda /data/p1a.img)\", \"$(qdisk xvdf /data/p1b.img)\"]"
start p1
up p1 240
must p1 'cat /sys/hypervisor/type /sys/devices/system/clocksource/clocksource0/current_clocksource'
say "the guest runs on $reply"
case $reply in xen*) ;; *) fail "the guest does not know that it runs on Xen: $reply" ;; esac
must p1 'pv xvda xvdf'
must p1 'ls /sys/block | grep -c ^sd || true'
want 'emulated disks after the unplug' "$reply" 0
pv_disk_checks p1 p1

say '--- shutdown'
must p1 'dd if=/dev/xvda of=/dev/xvdf bs=1M count=4 seek=12 2>/dev/null && sync'
pid=$(dm_pid "$domid")
send p1 'poweroff -f'
gone p1 60
dm_gone "$pid"
pv_image_checks p1
