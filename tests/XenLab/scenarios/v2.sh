# v2: a PVH guest with a PV framebuffer and keyboard: its VNC server's address in xenstore, exact pictures, keys, destroy.
dd if=/data/data.img of=/data/v2.img bs=1M count=16 2>/dev/null
. /lab/dom0/screen.sh
config v2 "$(direct | sed 's/console=ttyS0/console=hvc0/')" 'type="pvh"' 'vfb=["vnc=1,vnclisten=127.0.0.1,vncpasswd=sesame"]' "disk=[\"$(qdisk xvda /data/v2.img)\"]"
start v2
pid=$(dm_pid "$domid")
vnc_of "$domid"
up v2 240
must v2 'pv xvda && ln -s xvda /dev/hda'
pictures v2
typed v2
xlq destroy destroy v2
dm_gone "$pid"
rm /data/v2.img
