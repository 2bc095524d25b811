# c: direct kernel boot, one guest, one vCPU, an IDE disk read with DMA.
config c "$(direct)" 'disk=["file:/data/data.img,hda,w"]'
start c
up c 200
must c 'cat /proc/cmdline'
case $reply in *lab.boot=direct*) ;; *) fail "booted otherwise: $reply" ;; esac
must_use_dma c
must c 'rd hda 16' 120
want 'sum of 16 MiB' "$reply" "$(file_sum /data/data.img 16)"
pid=$(dm_pid "$domid")
must c 'rd hda 1'
xlq destroy destroy c
dm_gone "$pid"
