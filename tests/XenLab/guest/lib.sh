# What dom0 can ask of the guest beyond busybox. Background jobs give up their output: the command that starts them waits for its end.
up() { cut -d' ' -f1 /proc/uptime; }

# load NAME...: loads drivers with all that they need; what is loaded already stays.
load() {
  for want in "$@"; do
    want=$(echo "$want" | tr - _)
    for m in /more/*.ko; do
      name=${m##*/*-}
      name=${name%.ko}
      case " $(cat /more/for/"$want") " in *" $name "*) ;; *) continue ;; esac
      grep -q "^$name " /proc/modules || insmod "$m" || return
    done
  done
}

# disk NAME...: makes /dev/hda (or hdb, hdc, hdd) and its partitions, links to the disk in that place on the IDE channels. The kernel's own names
# (sda, sdb) go to whichever disk is ready first.
disk() {
  for want in "$@"; do
    case $want in hda) at=1:0 ;; hdb) at=1:1 ;; hdc) at=2:0 ;; hdd) at=2:1 ;; esac
    for try in 1 2 3 4 5 6 7 8 9 10; do
      for b in /sys/devices/pci*/*/ata"${at%:*}"/host*/target*:"${at#*:}"/*/block/sd?; do
        [ -e "$b" ] || continue
        ln -sf "${b##*/}" "/dev/$want"
        for part in "$b/${b##*/}"?; do [ ! -e "$part" ] || ln -sf "${part##*/}" "/dev/$want${part##*/sd?}"; done
        continue 3
      done
      sleep 0.5
    done
    echo "no disk $want"
    return 1
  done
}

# rd NAME [MIB [SKIP]]: MD5 sum of part of a device, read past the page cache.
rd() { [ -e "/dev/$1" ] || disk "${1%[0-9]}" || return; dd if="/dev/$1" bs=1M count="${2:-64}" skip="${3:-0}" iflag=direct 2>/dev/null | md5sum | cut -c1-32; }

# pv NAME...: loads the PV disk driver and waits for its disks (xvda, ...).
pv() {
  load xen-blkfront || return
  for want in "$@"; do
    for try in $(seq 50); do [ -b "/dev/$want" ] && [ "$(cat "/sys/block/$want/size")" -gt 0 ] && continue 2; sleep 0.2; done
    echo "no disk $want"
    return 1
  done
}
# repeats N...: who speaks on one of these channels (xl's channel=), which are /dev/hvcN, hears it once more, in capitals.
repeats() {
  for want in "$@"; do
    for try in $(seq 50); do true 2>/dev/null <"/dev/hvc$want" && break; sleep 0.2; done
    true <"/dev/hvc$want" || return
    { stty raw -echo; while read -r said; do echo "$said" | tr a-z A-Z; done; } <"/dev/hvc$want" >"/dev/hvc$want" 2>/dev/null &
  done
  sleep 1
}
# unload_disks: takes the PV disk driver from its disks and out of the kernel.
unload_disks() {
  for d in /sys/bus/xen/drivers/vbd/vbd-*; do echo "${d##*/}" >/sys/bus/xen/drivers/vbd/unbind || return; done
  rmmod xen_blkfront
}
# reload_nics: takes the PV NIC driver out of the kernel and loads it again.
reload_nics() {
  for d in /sys/bus/xen/drivers/vif/vif-*/net/*; do ip link set "${d##*/}" down || return; done
  for d in /sys/bus/xen/drivers/vif/vif-*; do echo "${d##*/}" >/sys/bus/xen/drivers/vif/unbind || return; done
  for try in $(seq 50); do rmmod xen_netfront 2>/dev/null && break; sleep 0.1; done
  load xen-netfront
}

# no_disk NAME: waits until a disk is gone.
no_disk() {
  for try in $(seq 50); do [ -e "/sys/block/$1" ] || return 0; sleep 0.2; done
  echo "$1 is still there"
  return 1
}

# nic MAC ADDRESS: gives the interface with this hardware address an IPv4 address and prints its name and driver.
nic() {
  for try in $(seq 50); do
    for i in /sys/class/net/*; do
      [ "$(cat "$i/address")" = "$1" ] || continue
      ip link set "${i##*/}" up && ip addr add "$2/24" dev "${i##*/}" || return
      for up in $(seq 50); do [ "$(cat "$i/carrier" 2>/dev/null)" = 1 ] && break; sleep 0.2; done
      driver=$(readlink "$i/device/driver")
      echo "${i##*/} ${driver##*/}"
      return 0
    done
    sleep 0.2
  done
  echo "no NIC $1"
  return 1
}

# secs COMMAND...: runs it and prints the seconds it took on the guest's clock.
secs() {
  local a b
  read -r a b </proc/uptime
  "$@" >/dev/null 2>&1 || return
  read -r b _ </proc/uptime
  awk "BEGIN { print $b - $a }"
}

# sum N: the known sum of the N-th 4 MiB of the data, N from 0.
sum() { sed -n "$(($1 + 2))p" /sums; }

# same DEVICE N: compares the N-th 4 MiB of a device with the known sum.
same() {
  a=$(rd "$1" 4 $(($2 * 4)))
  b=$(sum "$2")
  [ "$a" = "$b" ] || { echo "$1 piece $2: $a, not $b" >>/tmp/wrong; return 1; }
}

# io_start READ WRITE: reads the data on READ over and over, and copies it to WRITE and reads it back, until io_stop; each piece is compared
# with its known sum. io_stop prints the pieces read, written, and wrong.
io_start() {
  disk "$1" "$2" || return
  rm -f /tmp/stop /tmp/reads /tmp/writes
  (
    n=0 bad=0
    while [ ! -e /tmp/stop ]; do
      same "$1" $((n % 16)) || bad=$((bad + 1))
      n=$((n + 1))
      echo "$n $bad" >/tmp/r
    done
    mv /tmp/r /tmp/reads
  ) >/dev/null 2>&1 &
  (
    n=0 bad=0
    while [ ! -e /tmp/stop ]; do
      o=$((n % 16 * 4))
      dd if="/dev/$1" of="/dev/$2" bs=1M count=4 skip=$o seek=$o iflag=direct oflag=direct conv=fsync,notrunc 2>/dev/null || bad=$((bad + 1))
      same "$2" $((n % 16)) || bad=$((bad + 1))
      n=$((n + 1))
      echo "$n $bad" >/tmp/w
    done
    mv /tmp/w /tmp/writes
  ) >/dev/null 2>&1 &
}
io_state() { cat /tmp/r /tmp/w 2>/dev/null; true; }
io_stop() {
  touch /tmp/stop
  for i in $(seq 300); do [ -e /tmp/reads ] && [ -e /tmp/writes ] && break; sleep 0.2; done
  cat /tmp/reads /tmp/writes
}

# watch_button: powers off when the power button is pressed (ACPI), as an ordinary distribution does.
watch_button() {
  for d in /sys/class/input/input*; do
    case $(cat "$d/name") in
      Power*) e=$(ls -d "$d"/event*) && (dd if="/dev/input/${e##*/}" of=/dev/null bs=24 count=1 2>/dev/null && poweroff -f) >/dev/null 2>&1 & ;;
    esac
  done
}

# by_hand: an interactive shell on the serial line, instead of the commands from dom0.
by_hand() {
  stty echo icrnl opost onlcr </dev/ttyS0
  ENV=/lib.sh setsid sh -i </dev/ttyS0 >/dev/ttyS0 2>&1
}

# framebuffer: waits for the framebuffer and takes the text console off it; prints its width, height and depth.
framebuffer() {
  for try in $(seq 50); do [ -e /dev/fb0 ] && break; sleep 0.2; done
  for v in /sys/class/vtconsole/vtcon*; do ! grep -q 'frame buffer' "$v/name" || echo 0 >"$v/bind"; done
  echo "$(tr , ' ' </sys/class/graphics/fb0/virtual_size) $(cat /sys/class/graphics/fb0/bits_per_pixel)"
}

# keys: takes note of the keys that are pressed from now on. keys_got: their codes.
keys() {
  rm -f /tmp/keys.*
  for d in /sys/class/input/input*; do
    case $(cat "$d/name") in *eyboard*) ;; *) continue ;; esac
    e=$(ls -d "$d"/event*) || return
    dd if="/dev/input/${e##*/}" of="/tmp/keys.${e##*/}" bs=24 >/dev/null 2>&1 &
  done
}
keys_got() { cat /tmp/keys.* | od -An -v -tu2 -w24 | awk '$9 == 1 && $11 == 1 { print $10 }'; }
