#!/bin/busybox sh
# First program of dom0: loads every module the lab needs (so that the root file system holds none) and moves on to the disk.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for m in /mod/*.ko; do /bin/busybox insmod "$m" || echo "LAB: $m does not load"; done
for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; /bin/busybox sleep 0.2; done
/bin/busybox mount -t ext4 /dev/vda /new || echo 'LAB: no root file system'
for d in proc sys dev; do /bin/busybox mount --move /$d /new/$d; done
exec /bin/busybox switch_root /new /init.sh
