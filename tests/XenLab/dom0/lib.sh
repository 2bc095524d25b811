# Shell functions for the scenarios (busybox sh). A scenario runs as its own process with these variables:
#   SCENARIO  its name, also the first part of its guests' names     DM    the device model     DM_NAME  xendm or qemu
#   CPU, CPU2 the physical CPUs its guests are pinned to             OUT   a folder for what it leaves (kept when it fails)
# It ends with status 0, or through `fail WHY` or `skip WHY`.

now() { read -r now _ </proc/uptime; echo "$now"; }
calc() { awk "BEGIN { printf \"%.${2:-2}f\", $1 }"; }
say() {
  echo "[$(now) $SCENARIO] $*" >>"$OUT/steps"
  [ -z "$HAND" ] || printf '[%s %s] %s\r\n' "$(now)" "$SCENARIO" "$*" >/dev/ttyS1
}
fail() { say "FAIL: $*"; echo "$*" >"$OUT/why"; exit 1; }
skip() { echo "$*" >"$OUT/why"; exit 77; }
quit_scenario() { for g in $(cat "$OUT/guests" 2>/dev/null); do xl destroy "$g" >/dev/null 2>&1; done; }
trap quit_scenario EXIT
trap 'exit 143' TERM INT

# want WHAT GOT EXPECTED
want() { [ "$2" = "$3" ] || fail "$1: got '$2', expected '$3'"; }

# xlq WHAT XL-ARGUMENTS...: an xl command that must work; its output goes to the scenario's log.
xlq() {
  what=$1
  shift
  say "xl $*"
  xl "$@" >>"$OUT/xl.log" 2>&1 </dev/null || fail "$what: xl $1 failed: $(grep -v '^Parsing' "$OUT/xl.log" | tail -2 | tr '\n' ' ')"
}

# config GUEST LINE...: writes the guest's configuration; a line given here overrides the same key above it.
config() {
  guest=$1
  shift
  {
    printf '%s\n' 'type="hvm"' "name=\"$guest\"" 'memory=144' 'vcpus=1' "cpus=\"$CPU\"" 'device_model_version="qemu-xen"' "device_model_override=\"$DM\"" \
      'serial="pty"' 'vnc=0' 'vga="none"' 'on_poweroff="destroy"' 'on_reboot="destroy"' 'on_crash="destroy"' "$@"
  } >"$OUT/$guest.cfg"
}
# direct [ARGUMENTS]: boots the lab's kernel. UNPLUG says what becomes of the emulated disks of a guest with PV drivers (xen_emul_unplug=).
direct() { printf '%s\n' 'kernel="/data/vmlinuz"' 'ramdisk="/data/initramfs"' "cmdline=\"$(sed "s/xen_emul_unplug=never/xen_emul_unplug=${UNPLUG:-never}/" /lab/guest/cmdline) lab.boot=direct $1 $APPEND\""; }

# The serial line of the guest with number N (1..4) in the scenario is file descriptor N+3 of this shell.
number() { grep -nx "$1" "$OUT/guests" | cut -d: -f1; }
# tty_of NAME DOMID: the guest's serial line, or its PV console where it has no serial line. An HVM guest has both, and the console is there first.
tty_of() {
  local line=serial/0
  ! grep -q '^type="pvh"' "$OUT/$1.cfg" || line=console
  xenstore-read "/local/domain/$2/$line/tty" 2>/dev/null
}
# qdisk VDEV FILE [MODE]: a disk that the device model serves to PV drivers
qdisk() { echo "format=raw,vdev=$1,access=${3:-rw},backendtype=qdisk,target=$2"; }
attach() {
  tty=$(tty_of "$1" "$2")
  [ -n "$tty" ] || fail "no serial line of $1 in xenstore"
  stty -F "$tty" raw -echo || fail "the serial line $tty of $1 cannot be opened"
  eval "exec $(($(number "$1") + 3))<>$tty"
}

# start GUEST [RESTORE-FILE]: creates (or restores) the guest, connects to its serial line, lets it run. Sets domid.
start() {
  grep -qx "$1" "$OUT/guests" 2>/dev/null || echo "$1" >>"$OUT/guests"
  t0=$(now)
  if [ -n "${2:-}" ]; then xlq "restore" restore -p "$2"; else xlq "create" create -p "$OUT/$1.cfg"; fi
  create_secs=$(calc "$(now) - $t0")
  domid=$(xl domid "$1")
  say "$1 is domain $domid, xl took $create_secs s"
  attach "$1" "$domid"
  run_from=$(now)
  xlq "unpause" unpause "$1"
}

# line GUEST SECONDS: the next line of the guest's serial output in $line; fails at the deadline.
line() {
  line=
  read -t "$2" -r line <&$(($(number "$1") + 3)) || return 1
  line=${line%$(printf '\r')}
  echo "[$(now)] $line" >>"$OUT/$1.serial"
  [ -z "$HAND" ] || printf '%s| %s\r\n' "$1" "$line" >/dev/ttyS1
}
send() {
  sent=$((${sent:-0} + 1))
  say "$1 <- $2"
  printf '%s\n' "$sent $2" >&$(($(number "$1") + 3))
}

# answer GUEST ID SECONDS: waits for the answer to a command; output in $reply, returns its status, 124 at the deadline.
answer() {
  until=$(calc "$(now) + $3" 0)
  while left=$(calc "$until - $(now)" 0) && [ "$left" -gt 0 ]; do
    line "$1" "$left" || { sleep 0.2; continue; }
    case $line in
      "#$2:"*)
        reply=${line#*:}
        status=${reply%%:*}
        reply=${reply#*:}
        say "$1 -> $status $reply"
        return "$status" ;;
    esac
  done
  reply='no answer'
  return 124
}
# ask GUEST COMMAND [SECONDS]: runs a command in the guest; output in $reply.
ask() { send "$1" "$2"; answer "$1" "$sent" "${3:-60}"; }
# must GUEST COMMAND [SECONDS]: the same, and it must succeed.
must() { ask "$@" || fail "guest command '$2' ended with status $?: $reply"; }

# up GUEST SECONDS: waits for the shell of a guest that is booting; sets boot_secs (since start) and guest_secs (the guest's clock).
up() {
  until=$(calc "$(now) + $2" 0)
  while left=$(calc "$until - $(now)" 0) && [ "$left" -gt 0 ]; do
    line "$1" "$left" || { sleep 0.2; xl domid "$1" >/dev/null 2>&1 || fail "$1 ended while booting"; continue; }
    case $line in
      UP*)
        boot_secs=$(calc "$(now) - $run_from")
        guest_secs=${line#UP }
        say "$1 is up after $boot_secs s, guest clock $guest_secs"
        return ;;
    esac
  done
  fail "$1 did not reach its shell within $2 s"
}
# back GUEST SECONDS: waits until the shell answers, for a guest whose output may have been missed.
back() {
  until_back=$(calc "$(now) + $2" 0)
  while [ "$(calc "$until_back - $(now)" 0)" -gt 0 ]; do
    ask "$1" true 6 && return
  done
  fail "$1 does not answer"
}
# gone GUEST SECONDS: waits until the domain does not exist.
gone() {
  until=$(calc "$(now) + $2" 0)
  while xl domid "$1" >/dev/null 2>&1; do
    [ "$(calc "$until - $(now)" 0)" -gt 0 ] || fail "$1 did not end within $2 s"
    sleep 0.3
  done
}
dm_pid() { xenstore-read "/local/domain/$1/image/device-model-pid"; }
dm_gone() {
  for i in $(seq 50); do [ -d "/proc/$1" ] || return 0; sleep 0.2; done
  fail "the device model (process $1) still runs after its domain is gone"
}
# sums of the data: of all of it, and of the first 4 MiB pieces
data_sum() { head -1 /lab/sums; }
file_sum() { dd if="$1" bs=1M skip="${3:-0}" count="$2" 2>/dev/null | md5sum | cut -c1-32; }
# The driver of the emulated disk must use DMA, or the scenario shows nothing about it.
must_use_dma() { must "$1" 'cat /sys/class/ata_device/*/xfer_mode | sort -u'; case $reply in *DMA*) ;; *) fail "the guest does not use DMA: $reply" ;; esac }

# bridge NAME ADDRESS: a bridge of dom0.
bridge() {
  ip link show "$1" >/dev/null 2>&1 || ip link add "$1" type bridge || fail "no bridge in dom0"
  ip link set "$1" up && ip addr replace "$2/24" dev "$1"
}
# qnic DOMID MAC NETDEV: the nodes of a PV NIC that the device model serves on one of its nets; xl makes no such devices. Sets front and back.
qnic() {
  front=/local/domain/$1/device/vif/7
  back=/local/domain/0/backend/qnic/$1/7
  xenstore-write "$front/backend-id" 0 "$front/backend" "$back" "$front/handle" 7 "$front/mac" "$2" "$front/state" 1
  xenstore-chmod -r "$front" "n$1" r0
  xenstore-write "$back/frontend-id" "$1" "$back/frontend" "$front" "$back/handle" 7 "$back/mac" "$2" "$back/netdev" "$3" "$back/online" 1 "$back/state" 1
  xenstore-chmod -r "$back" n0 "r$1"
}

# net_checks GUEST WHAT ADDRESS PORT: the guest reaches dom0's address by ping, and a file of 1 MiB goes each way over TCP. Takes two ports.
net_checks() {
  must "$1" "ping -c 3 -W 5 -q $3 | grep transmitted" 30
  case $reply in *' 3 packets received'*) ;; *) fail "$2: $reply" ;; esac
  kib=1024
  dd if=/data/data.img of="$OUT/file" bs=1024 count=$kib 2>/dev/null
  sum=$(md5sum <"$OUT/file" | cut -c1-32)
  [ -p "$OUT/never" ] || mkfifo "$OUT/never"

  # From dom0 to the guest, then back. nc ends at the first end of file that it sees on the net, so an end that only receives keeps its input open.
  busybox nc -l -p "$4" <"$OUT/file" 2>>"$OUT/nc.log" >/dev/null &
  t0=$(now)
  must "$1" "[ -p /tmp/never ] || mkfifo /tmp/never; nc $3 $4 <>/tmp/never >/tmp/file && md5sum </tmp/file | cut -c1-32" 200
  want "$2: what the guest received" "$reply" "$sum"
  say "$2 receives $(calc "$kib / ($(now) - $t0)" 0) KiB/s"
  busybox nc -l -p $(($4 + 1)) <>"$OUT/never" >"$OUT/back" 2>>"$OUT/nc.log" &
  t0=$(now)
  must "$1" "nc $3 $(($4 + 1)) </tmp/file" 200
  wait
  want "$2: what dom0 received" "$(md5sum <"$OUT/back" | cut -c1-32)" "$sum"
  say "$2 sends $(calc "$kib / ($(now) - $t0)" 0) KiB/s"
  rm -f "$OUT/file" "$OUT/back" "$OUT/never"
}

# channel NAME LINE [PATH]: one of xl's channel= list. xl 4.17 gives the first the number of the primary console, and it is not made.
channel() { echo "\"name=org.xendm.$1,connection=$2${3:+,path=$3}\""; }
# channel_checks GUEST WHAT CONNECTION...: on its channels, which lead to a socket or to a pseudo-terminal that xl names, the guest repeats what it
# hears: a word, and more than a ring holds.
channel_checks() {
  xl channel-list "$1" >"$OUT/channels" 2>&1 || fail "xl channel-list: $(tail -1 "$OUT/channels")"
  checked=$2
  shift 2
  want "$checked in xl's list" "$(awk 'NR > 1 { print $6 }' "$OUT/channels" | tr '\n' ' ')" "$(for line in "$@"; do [ "$line" = pty ] && echo pty || echo socket; done | tr '\n' ' ')"
  for place in "$@"; do
    [ "$place" != pty ] || place=$(awk '$6 == "pty" { print $7 }' "$OUT/channels")
    for text in "a word" "$(seq -s ' ' 1000)"; do
      heard=$(python3 /lab/dom0/channel.py "$place" "$text" 2>&1)
      want "$checked: what came back from $place" "$heard" "$(echo "$text" | tr a-z A-Z)"
    done
    say "$checked: $place is heard and answers"
  done
}

# pv_disk_checks GUEST FILE: xvda holds the first 16 MiB of the data (/data/FILEa.img), xvdf is 16 MiB to write to (FILEb), FILEc is 8 MiB to
# attach. pv_image_checks FILE, when the guest is gone, looks at what these checks and a copy of 4 MiB to 12 MiB of xvdf left, and removes them.
pv_disk_checks() {
  must "$1" 'rd xvda 16' 120
  want 'sum of 16 MiB' "$reply" "$(file_sum /data/data.img 16)"
  must "$1" 'dd if=/dev/xvda of=/dev/xvdf bs=1M count=8 seek=2 oflag=direct conv=fsync 2>/dev/null && rd xvdf 8 2' 120
  want 'what was written, read back' "$reply" "$(file_sum /data/data.img 8)"
  want 'what was written, in the image' "$(file_sum "/data/$2b.img" 8 2)" "$(file_sum /data/data.img 8)"
  vbd_counters "$1"

  say '--- attach and detach'
  xlq attach block-attach "$1" "$(qdisk xvdg "/data/$2c.img")"
  must "$1" 'pv xvdg && dd if=/dev/xvda of=/dev/xvdg bs=1M count=8 oflag=direct conv=fsync 2>/dev/null && rd xvdg 8' 120
  want 'what was written to the attached disk' "$reply" "$(file_sum /data/data.img 8)"
  xlq detach block-detach "$1" xvdg
  must "$1" 'no_disk xvdg' 30
  want 'the detached image' "$(file_sum "/data/$2c.img" 8)" "$(file_sum /data/data.img 8)"
  # qemu-xen 7.2 refuses a PV disk that is read-only ("Block node is read-only").
  mode=ro
  [ "$DM_NAME" != qemu ] || mode=rw
  xlq attach block-attach "$1" "$(qdisk xvdg "/data/$2c.img" $mode)"
  must "$1" 'pv xvdg && cat /sys/block/xvdg/ro'
  want 'read-only' "$reply" "$([ $mode = rw ]; echo $?)"
  must "$1" 'rd xvdg 8' 60
  want 'the disk attached again' "$reply" "$(file_sum /data/data.img 8)"
  xlq detach block-detach "$1" xvdg
}
pv_image_checks() {
  want 'the last 4 MiB written' "$(file_sum "/data/$1b.img" 4 12)" "$(file_sum /data/data.img 4)"
  rm "/data/$1a.img" "/data/$1b.img" "/data/$1c.img"
}
# vbd_counters GUEST: xentop shows the guest's PV disks with reads and writes. It waits 10 ms for each answer of the device model and no longer.
vbd_counters() {
  for try in 1 2 3 4 5; do
    xentop -b -x -i 1 >"$OUT/xentop" 2>&1 || fail "xentop: $(tail -1 "$OUT/xentop")"
    counted=$(awk -v g="$1" '$1 == g && $13 > 1 && $15 > 0 && $16 > 0 { print $13 " disks, " $15 " reads, " $16 " writes" }' "$OUT/xentop")
    [ -z "$counted" ] || { say "xentop (look $try): $counted"; return; }
  done
  say 'xentop does not show the disks'
  # qemu-xen 7.2 answers too late here for HVM guests.
  [ "$DM_NAME" = qemu ] || fail "xentop does not show the disks: $(grep " $1 " "$OUT/xentop")"
}
