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
trap 'exit 1' TERM INT

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
direct() { printf '%s\n' 'kernel="/data/vmlinuz"' 'ramdisk="/data/initramfs"' "cmdline=\"$(cat /lab/guest/cmdline) lab.boot=direct $1 $APPEND\""; }

# The serial line of the guest with number N (1..4) in the scenario is file descriptor N+3 of this shell.
number() { grep -nx "$1" "$OUT/guests" | cut -d: -f1; }
tty_of() { xenstore-read "/local/domain/$1/serial/0/tty" 2>/dev/null; }
attach() {
  tty=$(tty_of "$2")
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
