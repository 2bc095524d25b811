# b: a BIOS-booted emulated CD to its shell; the data on it read with DMA.
config b 'disk=["file:/data/boot.iso,hdc:cdrom,r"]' 'boot="d"'
start b
up b 240
must b 'cat /proc/cmdline'
case $reply in *lab.boot=cd*) ;; *) fail "booted otherwise: $reply" ;; esac
must_use_dma b
must b 'mkdir -p /cd && mount -t iso9660 -o ro /dev/sr0 /cd && md5sum </cd/data' 240
want 'sum of the 64 MiB' "${reply%% *}" "$(data_sum)"
ask b 'dd if=/dev/zero of=/dev/sr0 bs=2048 count=1' && fail 'the guest could write to the CD'
pid=$(dm_pid "$domid")
xlq destroy destroy b
dm_gone "$pid"
