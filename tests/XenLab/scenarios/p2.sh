# p2: a PVH guest, for which libxl starts the device model as the backend of its PV disks and channel (-machine xenpv): the checks of p1.
dd if=/data/data.img of=/data/p2a.img bs=1M count=16 2>/dev/null
truncate -s 16M /data/p2b.img
truncate -s 8M /data/p2c.img
config p2 "$(direct | sed 's/console=ttyS0/console=hvc0/')" 'type="pvh"' "disk=[\"$(qdisk xvda /data/p2a.img)\", \"$(qdisk xvdf /data/p2b.img)\"]" "channel=[$(channel none pty), $(channel socket socket /tmp/p2.channel)]"
start p2
up p2 240
must p2 'pv xvda xvdf'
pv_disk_checks p2 p2
must p2 'repeats 1'
channel_checks p2 'channel' /tmp/p2.channel

say '--- destroy'
must p2 'dd if=/dev/xvda of=/dev/xvdf bs=1M count=4 seek=12 2>/dev/null && sync'
pid=$(dm_pid "$domid")
xlq destroy destroy p2
dm_gone "$pid"
pv_image_checks p2
