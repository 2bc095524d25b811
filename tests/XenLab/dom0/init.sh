#!/bin/sh
# dom0's init: the smallest set of services xl needs, then the payload disk's own start script. All that changes often is on that disk.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/xen-4.17/bin HOME=/root
ln -s /proc/self/fd /dev/fd
for n in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${n%:*}" "/dev/${n#*:}"; done
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t tmpfs log /var/log
mkdir -p /run/lock /run/xen /var/log/xen
mount -t xenfs xenfs /proc/xen
ip link set lo up
hostname dom0
xenstored --pid-file=/run/xenstored.pid
xen-init-dom0 >/dev/null
xenconsoled --pid-file=/run/xenconsoled.pid
mkdir -p /data /lab
mount -t ext4 /dev/vdb /data && mount -t ext4 /dev/vdc /lab && sh /lab/dom0/main.sh || echo 'LAB: the payload did not start'
sync
busybox poweroff -f
