#!/bin/busybox sh
# The guest's init: loads the drivers and serves a command line for dom0 on its console: ttyS0, or hvc0 where there is no serial port. A command is "ID WORDS", its answer one line "#ID:STATUS:OUTPUT".
# Nothing else is written there, because every character is several accesses to the device model.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
tty=ttyS0
case $(cat /proc/cmdline) in *console=hvc0*) tty=hvc0 ;; esac
exec <>/dev/$tty >&0 2>&0
stty -echo -opost -icrnl
. /lib.sh
root=$(sed -n 's/.*lab\.root=\([^ ]*\).*/\1/p' /proc/cmdline)
if [ -n "$root" ] && ! grep -q "^/dev/$root / " /proc/mounts; then
  pv "$root" && load crc32c_generic ext4 && mkdir /new && mount -t ext4 "/dev/$root" /new && exec switch_root /new /init
  echo "no root on $root"
fi
for m in /mod/*.ko; do insmod "$m" || echo "no $m"; done
echo "UP $(up)"
while :; do
  read -r id words || { sleep 1; continue; }
  [ -n "$id" ] || continue
  out=$(eval "$words" 2>&1 </dev/null)
  echo "#$id:$?:$(echo $out)"
done
