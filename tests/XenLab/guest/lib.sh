# What dom0 can ask of the guest beyond busybox. Background jobs give up their output: the command that starts them waits for its end.
up() { cut -d' ' -f1 /proc/uptime; }

# rd DEVICE [MIB [SKIP]]: MD5 sum of part of a device, read past the page cache.
rd() { dd if="$1" bs=1M count="${2:-64}" skip="${3:-0}" iflag=direct 2>/dev/null | md5sum | cut -c1-32; }

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

# io_start READ WRITE: reads the data on READ over and over, and copies it to WRITE and reads it back, until io_stop; each piece is compared
# with its known sum. io_stop prints the pieces read, written, and wrong.
io_start() {
  rm -f /tmp/stop /tmp/reads /tmp/writes
  (
    n=0 bad=0
    while [ ! -e /tmp/stop ]; do
      [ "$(rd "$1" 4 $((n % 16 * 4)))" = "$(sum $((n % 16)))" ] || bad=$((bad + 1))
      n=$((n + 1))
      echo "$n $bad" >/tmp/r
    done
    mv /tmp/r /tmp/reads
  ) >/dev/null 2>&1 &
  (
    n=0 bad=0
    while [ ! -e /tmp/stop ]; do
      o=$((n % 16 * 4))
      dd if="$1" of="$2" bs=1M count=4 skip=$o seek=$o iflag=direct oflag=direct conv=fsync,notrunc 2>/dev/null || bad=$((bad + 1))
      [ "$(rd "$2" 4 $o)" = "$(sum $((n % 16)))" ] || bad=$((bad + 1))
      n=$((n + 1))
      echo "$n $bad" >/tmp/w
    done
    mv /tmp/w /tmp/writes
  ) >/dev/null 2>&1 &
}
io_state() { cat /tmp/r /tmp/w /tmp/reads /tmp/writes 2>/dev/null; }
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
