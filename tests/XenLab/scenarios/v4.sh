# v4: dm_restrict=1 with vga="stdvga": exact pictures by VNC, from a device model that is bound to its guest.
dd if=/data/data.img of=/data/v4.img bs=1M count=16 2>/dev/null
loop=$(losetup -f) && losetup "$loop" /data/v4.img || fail 'no loop device'
. /lab/dom0/screen.sh
config v4 "$(direct)" memory=176 'vga="stdvga"' vnc=1 'vnclisten="127.0.0.1"' dm_restrict=1 'device_model_user="xenlab"' "disk=[\"phy:$loop,hda,w\"]"
start v4
pid=$(dm_pid "$domid")
vnc_of "$domid"
up v4 240
must v4 'load bochs && disk hda' 60
pictures v4
xlq destroy destroy v4
dm_gone "$pid"
losetup -d "$loop"
rm /data/v4.img
