# a: a BIOS-booted IDE disk to its shell; the data read with DMA; what was written and synced is in the image after xl destroy.
config a 'disk=["file:/data/disk.img,hda,w"]' 'boot="c"'
start a
up a 240
must a 'cat /proc/cmdline'
case $reply in *lab.boot=disk*) ;; *) fail "booted otherwise: $reply" ;; esac
must_use_dma a
must a 'rd hda2' 240
want 'sum of the 64 MiB' "$reply" "$(data_sum)"
must a 'dd if=/dev/hda2 of=/dev/hda3 bs=1M count=16 skip=3 && sync' 240
pid=$(dm_pid "$domid")
xlq destroy destroy a
dm_gone "$pid"
want 'sum of what was written' "$(file_sum /data/disk.img 16 81)" "$(file_sum /data/data.img 16 3)"
