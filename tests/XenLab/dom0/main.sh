#!/bin/sh
# What dom0 does after its start: runs the requested scenarios, in two lanes side by side where they allow it, writes one line per scenario to
# COM2 (the host's run.sh reads it), and leaves logs on the last disk as a tar file.
exec busybox sh -s <<'MAIN'
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/xen-4.17/bin
. /lab/request
stty -F /dev/ttyS1 raw -echo 2>/dev/null
tell() { echo "$*" >/dev/ttyS1; }
tell "@ dom0 is up after $(cut -d' ' -f1 /proc/uptime) s"
mkdir -p /tmp/out

# one NAME CPU CPU2
one() {
  export SCENARIO=$1 CPU=$2 CPU2=$3 OUT=/tmp/out/$1
  mkdir -p "$OUT"
  # A slow host takes three times what a quick one does.
  LIMIT=600
  case $1 in *figures) LIMIT=900 ;; esac
  [ -z "$HAND" ] || LIMIT=86400
  read -r from _ </proc/uptime
  timeout -k 10 "$LIMIT" busybox sh -c '. /lab/dom0/lib.sh; . "/lab/scenarios/$SCENARIO.sh"' >"$OUT/output" 2>&1
  status=$?
  read -r to _ </proc/uptime
  secs=$(awk "BEGIN { printf \"%.0f\", $to - $from }")
  for g in $(cat "$OUT/guests" 2>/dev/null); do xl destroy "$g" >/dev/null 2>&1; done
  why=$(cat "$OUT/why" 2>/dev/null)
  case $status in
    0) tell "PASS $1 ($secs s)" ;;
    77) tell "SKIP $1: $why" ;;
    124|137|143) tell "FAIL $1: ${why:-still running after $secs s}" ;;
    *) tell "FAIL $1: ${why:-$(tail -1 "$OUT/output")}" ;;
  esac
  grep -h '^FIGURE' "$OUT/output" >/dev/ttyS1 2>/dev/null
}
# lane CPU CPU2: takes one shared scenario after the other that no other lane has taken.
lane() {
  for s in $SHARED; do mkdir "/tmp/out/$s" 2>/dev/null && one "$s" "$1" "$2"; done
}
export DM DM_NAME QEMU HAND ROUNDS APPEND
lane "$CPU_A" "$CPU_B" &
lane "$CPU_B" "$CPU_A" &
wait
for s in $ALONE; do one "$s" "$CPU_A" "$CPU_B"; done
tell '@ done'
xl dmesg >/tmp/out/xl-dmesg.log 2>/dev/null
cp -r /var/log/xen /tmp/out/log
dmesg >/tmp/out/dom0-dmesg.log
find /tmp/out -size +2048k -exec rm {} \;
tar -C /tmp/out -cf /dev/vdd . 2>/dev/null
sync
MAIN
