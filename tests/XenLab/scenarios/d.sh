# d: two vCPUs, both reading the disk at the same time.
dd if=/data/data.img of=/data/d.img bs=1M count=16 2>/dev/null
config d "$(direct)" vcpus=2 "cpus=[\"$CPU\",\"$CPU2\"]" 'disk=["file:/data/d.img,hda,w"]'
start d
up d 240
must d nproc
want 'CPUs' "$reply" 2
must_use_dma d
must d 'disk hda; (taskset 2 sh -c ". /lib.sh; rd hda 8" >/tmp/1) & taskset 1 sh -c ". /lib.sh; rd hda 8 8"; wait; cat /tmp/1' 180
want 'sums read by the two CPUs' "$reply" "$(file_sum /data/d.img 8 8) $(file_sum /data/d.img 8)"
xlq destroy destroy d
rm /data/d.img
