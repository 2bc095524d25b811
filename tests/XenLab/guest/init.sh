#!/bin/busybox sh
# The guest's init: loads the drivers and serves a command line on ttyS0 for dom0. A command is "ID WORDS", its answer one line "#ID:STATUS:OUTPUT".
# Nothing else is written there, because every character is several accesses to the device model.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec <>/dev/ttyS0 >&0 2>&0
stty -echo -opost -icrnl
for m in /mod/*.ko; do insmod "$m" || echo "no $m"; done
. /lib.sh
echo "UP $(up)"
while :; do
  read -r id words || { sleep 1; continue; }
  [ -n "$id" ] || continue
  out=$(eval "$words" 2>&1 </dev/null)
  echo "#$id:$?:$(echo $out)"
done
