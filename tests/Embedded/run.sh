#!/bin/bash
# run.sh XENDM [GUEST...] - boots real guests on the embedded machine and talks to their shells on the serial line. The guests are those of XenLab
# (tests/XenLab/build.sh makes and caches them). One line a guest, PASS or FAIL with the reason; then a count. The status is 0 when none failed.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PATH=$PATH:/usr/sbin:/sbin
[ $# -ge 1 ] || { echo "usage: run.sh XENDM [GUEST...]" >&2; exit 2; }
xendm=$(realpath "$1")
shift
guests=("$@")
[ ${#guests[@]} -gt 0 ] || guests=(memtest power direct screen smp pae pvhvm pvhvm4 plain disk cd grub grub-cirrus cirrus uefi ipxe icount hvmloader hvmlinux gdb pv pv4 pvkept input pvinput xorg-stdvga xorg-cirrus nic-e1000 nic-8139cp nic-8139too ipxe-e1000 ipxe-rtl8139)
if [ ${#guests[@]} -gt 1 ]; then
  # One less than there are CPUs at a time, two to four: a machine is one busy thread. Each lane takes the next guest from the list.
  lanes=$(($(nproc) - 1))
  [ $lanes -ge 2 ] || lanes=2
  [ $lanes -le 4 ] || lanes=4
  list=$(mktemp)
  trap 'kill $(jobs -p) 2>/dev/null; rm -f "$list" "$list.log"' EXIT
  printf '%s\n' "${guests[@]}" >"$list"
  next() { flock 9 && sed -n 1p "$list" && sed -i 1d "$list"; }
  lane() { while guest=$(next 9>>"$list.log") && [ -n "$guest" ]; do "$0" "$xendm" "$guest" | sed '$ { /^[0-9]* passed, /d }'; done; }
  "$here/../XenLab/build.sh" >/dev/null || { echo "FAIL guests: the images could not be built"; exit 1; }
  { for ((n = 0; n < lanes; n++)); do lane & done; wait; } | tee "$list.log"
  count() { grep -c "^$1 " "$list.log"; }
  passed=$(count PASS) failed=$(count FAIL) skipped=$(count SKIP)
  [ $((passed + failed + skipped)) = ${#guests[@]} ] || { echo "FAIL guests: only $passed of ${#guests[@]} ended"; failed=$((failed + 1)); }
  echo "$passed passed, $failed failed, $skipped skipped"
  [ $failed = 0 ]
  exit
fi
lab=$("$here/../XenLab/build.sh") || { echo "FAIL guests: the images could not be built"; exit 1; }
tmp=$(mktemp -d)
pid=
server=
cleanup() { [ -z "$pid$server" ] || kill $pid $server 2>/dev/null; rm -rf "$tmp"; }
trap cleanup EXIT
image() { [ -e "$tmp/$1" ] || debugfs -R "dump /$1 $tmp/$1" "$lab/data.ext4" 2>/dev/null; echo "$tmp/$1"; }
[ -e /usr/share/seabios/bios-256k.bin ] || { echo "FAIL guests: SeaBIOS is not installed (package seabios)"; exit 1; }

fail() { echo "FAIL $guest: $*"; tail -5 "$tmp/$guest.log" | sed 's/^/    /'; failed=$((failed + 1)); stop; return 1; }
stop() { [ -z "$pid" ] || kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; pid=; exec 3<&- 4>&-; }
# boot ARGUMENTS...: starts the machine; its serial line is on descriptors 3 (out of the guest) and 4 (into it).
boot() {
  rm -f "$tmp/in" "$tmp/out"
  mkfifo "$tmp/in" "$tmp/out"
  : >"$tmp/$guest.log"
  "$xendm" run "$@" <"$tmp/in" >"$tmp/out" 2>"$tmp/$guest.err" &
  pid=$!
  exec 4>"$tmp/in" 3<"$tmp/out"
}
# waited: for how many seconds the machine was ready to run, and a loaded host gave it no CPU.
waited() { cat /proc/"$pid"/task/*/schedstat 2>/dev/null | awk '$2 > most { most = $2 } END { printf "%d", most / 1e9 }'; }
# expect PATTERN SECONDS: the first line that matches, in $line. Seconds that the machine waited for a CPU are not counted.
expect() {
  local end=$((SECONDS + $2)) from=$SECONDS before left piece part= status
  before=$(waited)
  while :; do
    left=$((end - SECONDS))
    if [ $left -le 0 ]; then
      end=$((from + $2 + $(waited) - before))
      left=$((end - SECONDS))
      [ $left -gt 0 ] || return 1
    fi
    IFS= read -r -t $left piece <&3
    status=$?
    part+=$piece
    [ $status -gt 128 ] && continue
    [ $status = 0 ] || return 1
    line=${part%$'\r'} part=
    # What firmware writes to clear its screen stands before the first line of a quiet guest.
    while [[ $line =~ ^(.*)$'\033'(c|\[[0-9;?]*[A-Za-z])(.*)$ ]]; do line=${BASH_REMATCH[1]}${BASH_REMATCH[3]}; done
    echo "$line" >>"$tmp/$guest.log"
    [[ $line =~ $1 ]] && return 0
  done
}
# ask COMMAND SECONDS: its output in $reply, status returned.
number=0 reply=
ask() {
  number=$((number + 1))
  echo "$number $1" >&4
  expect "^#$number:" "$2" || return 124
  reply=${line#*:}
  local status=${reply%%:*}
  reply=${reply#*:}
  return "$status"
}
# off: the guest switches itself off and the process ends with status 0.
off() {
  echo "99 poweroff -f" >&4
  local n
  for n in $(seq 600); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  kill -0 "$pid" 2>/dev/null && { fail 'does not power off'; return 1; }
  wait "$pid"
  local status=$?
  pid=
  exec 3<&- 4>&-
  [ $status = 0 ] || { echo "FAIL $guest: status $status after power-off"; failed=$((failed + 1)); return 1; }
}
# screen PATTERN SECONDS: waits for a text on a screen that is drawn with escape sequences. What is painted last may stand there without an end.
screen() {
  local end=$((SECONDS + $2)) piece text= before= shown status command='^\[[0-9;?]*[A-Za-z](.*)$'
  while [ $SECONDS -lt $end ]; do
    IFS= read -r -d $'\033' -t 1 piece <&3
    status=$?
    text+=$piece
    # A word that is seen while it is being painted comes in two pieces, with the terminal's commands in between.
    [[ $text =~ $command ]] && shown=${BASH_REMATCH[1]} || shown=$text
    [[ $before$shown =~ $1 ]] && { echo "$text" >>"$tmp/$guest.log"; return 0; }
    [ $status -gt 128 ] && continue
    [ $status = 0 ] || return 1
    echo "$text" >>"$tmp/$guest.log"
    before+=$shown text=
    [ ${#before} -lt 200 ] || before=${before: -100}
  done
  return 1
}
# package NAME PATH: a file from one of the distribution's packages, unpacked into the cache; in $file, or there the reason why not.
package() {
  local cache=${XENDM_CACHE:-$HOME/.cache/xendm}/packages/$1
  if [ ! -e "$cache/$2" ]; then
    mkdir -p "$cache"
    (cd "$cache" && apt-get -qq download "$1" && dpkg-deb -x "$1"_*.deb .) >/dev/null 2>&1 || { file="the package $1 cannot be downloaded"; return 1; }
  fi
  file=$cache/$2
}
# debug COMMAND...: a gdb on the machine's stub carries them out; what it says is in gdb.log. It runs beside the guest until "wait $debugger".
debug() {
  local command commands=(-ex 'set pagination off' -ex 'set confirm off' -ex 'set architecture i386:x86-64' -ex "target remote $tmp/stub")
  for command; do commands+=(-ex "$command"); done
  timeout 100 gdb -nx -batch "${commands[@]}" >"$tmp/gdb.log" 2>&1 </dev/null &
  debugger=$!
}
# said PATTERN...: each of them is in what gdb said.
said() {
  local pattern
  for pattern; do grep -qE "$pattern" "$tmp/gdb.log" || { fail "gdb does not say '$pattern'"; tail -20 "$tmp/gdb.log" | sed 's/^/    /'; return 1; }; done
}
# package32 NAME PATTERN: the same from the 32-bit distribution, with lists of packages of its own; a name ending in - stands for what it depends on.
package32() {
  local cache=${XENDM_CACHE:-$HOME/.cache/xendm}/packages32 name=$1
  local apt=(-qq -o "Dir::State=$cache/apt" -o "Dir::State::lists=$cache/apt/lists" -o "Dir::State::status=$cache/apt/status" -o "Dir::Cache=$cache/apt/cache" -o APT::Architecture=i386 -o APT::Architectures=i386 -o APT::Sandbox::User=)
  file=$(find "$cache/$name" -path "$cache/$name/$2" 2>/dev/null | head -1)
  [ -z "$file" ] || return 0
  mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial" "$cache/$name"
  : >>"$cache/apt/status"
  apt-get "${apt[@]}" update >/dev/null 2>&1
  local real=$name
  [ "${name%-}" = "$name" ] || real=$(apt-cache "${apt[@]}" depends "${name%-}" | sed -nE "s/.*Depends: (${name%%-*}-[^ ]*)/\1/p" | head -1)
  (cd "$cache/$name" && apt-get "${apt[@]}" download "$real" && dpkg-deb -x "$real"_*.deb .) >/dev/null 2>&1 || { file="the i386 package ${name%-} cannot be downloaded"; return 1; }
  file=$(find "$cache/$name" -path "$cache/$name/$2" | head -1)
  [ -n "$file" ] || { file="the i386 package $real has no $2"; return 1; }
}
# text ARGUMENTS...: starts the machine with its text screen in a terminal; what is typed goes to descriptor 4, and what is painted comes from 3.
text() {
  rm -f "$tmp/in" "$tmp/out"
  mkfifo "$tmp/in" "$tmp/out"
  : >"$tmp/$guest.log"
  script -qfec "$(printf '%q ' "$xendm" run --display text "$@")" /dev/null <"$tmp/in" >"$tmp/out" 2>"$tmp/$guest.err" &
  pid=$!
  exec 4>"$tmp/in" 3<"$tmp/out"
}
# serve: two servers on this host's loopback for the guests of the user network, who find them at 10.0.2.2. The one at $port sends 64 MiB and compares
# what comes back: a line in $tmp/echo for each connection. The one at $web gives the files of the lab by HTTP.
serve() {
  : >"$tmp/echo"
  python3 - "$tmp" >"$tmp/port" 2>"$tmp/serve.err" <<'PY' &
import os, select, socket, sys, threading, time

folder, data = sys.argv[1], os.urandom(64 << 20)
echoes, files = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
print(echoes.getsockname()[1], files.getsockname()[1], flush=True)


def tell(text):
    with open(folder + "/echo", "a") as log: log.write(text + "\n")


def echo(link):
    start, sent, got = time.time(), 0, 0
    link.setblocking(False)
    while got < len(data):
        readable, writable, _ = select.select([link], [link] if sent < len(data) else [], [], 60)
        if not readable and not writable: return tell(f"stalls after {sent} bytes out and {got} back")
        if writable: sent += link.send(data[sent:sent + 65536])
        if not readable: continue
        piece = link.recv(1 << 20)
        if not piece: return tell(f"ends after {sent} bytes out and {got} back")
        if piece != data[got:got + len(piece)]: return tell(f"differs between byte {got} and {got + len(piece)}")
        got += len(piece)
    tell(f"same {time.time() - start:.1f}")


def give(link):
    try:
        name = link.recv(4096).split()[1].decode().strip("/")
        body = open(folder + "/" + name, "rb").read()
        link.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    except OSError as error: tell(str(error))


def serve(listener, how):
    while True: threading.Thread(target=attend, args=[listener.accept()[0], how], daemon=True).start()


def attend(link, how):
    with link: how(link)


threading.Thread(target=serve, args=[files, give], daemon=True).start()
serve(echoes, echo)
PY
  server=$!
  for n in $(seq 100); do [ -s "$tmp/port" ] && break; sleep 0.1; done
  read -r port web <"$tmp/port"
}
# ethtool: an initial ramdisk with that program, in $initrd.
ethtool() {
  local root=$tmp/ethtool library
  initrd=$tmp/ethtool.initrd
  [ -e "$initrd" ] && return
  mkdir -p "$root/bin" "$root/lib64" "$root/lib/x86_64-linux-gnu"
  package ethtool sbin/ethtool && cp "$file" "$root/bin/" && package libmnl0 usr/lib/x86_64-linux-gnu/libmnl.so.0 && cp "$file" "$root/lib/x86_64-linux-gnu/" || return 1
  for library in libc.so.6 libm.so.6 ld-linux-x86-64.so.2; do
    package libc6 "lib/x86_64-linux-gnu/$library" && cp "$file" "$root/lib/x86_64-linux-gnu/" || return 1
  done
  ln -s ../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$root/lib64/"
  { cat "$(image initramfs)"; (cd "$root" && find . | cpio -oH newc 2>/dev/null | gzip -1); } >"$initrd"
}
# qmp PYTHON: what is done at the machine's QMP socket. say(COMMAND, NAME=VALUE...) is a command, key(NAME..., hold=MILLISECONDS) presses keys together,
# text(CHARACTERS) types on an American keyboard, event(TYPE, NAME=VALUE...)... are things that happen at once.
qmp() {
  python3 - "$tmp/qmp" "$1" >"$tmp/qmp.log" 2>&1 <<'PY' || { fail "QMP: $(tail -1 "$tmp/qmp.log")"; return 1; }
import json, socket, sys, time

link = socket.socket(socket.AF_UNIX)
link.settimeout(30)
link.connect(sys.argv[1])
lines = link.makefile("rw")
signs = dict(zip("-=[]\\;',./` \n", "minus equal bracket_left bracket_right backslash semicolon apostrophe comma dot slash grave_accent spc ret".split()))
shifted = dict(zip("!@#$%^&*()_+{}|:\"<>?~", "1234567890-=[]\\;',./`"))


def say(command, **arguments):
    lines.write(json.dumps({"execute": command, "arguments": {k.replace("_", "-"): v for k, v in arguments.items()}}) + "\n")
    lines.flush()
    while True:
        reply = json.loads(lines.readline())
        if "return" in reply: return reply["return"]
        if "error" in reply: sys.exit(reply["error"]["desc"])


def key(*names, hold=20):
    say("send-key", keys=[{"type": "qcode", "data": name} for name in names], hold_time=hold)


def text(characters):
    for c in characters:
        plain = shifted.get(c, c.lower())
        key(*["shift"] * (plain != c), signs.get(plain, plain))


def event(*events):
    say("input-send-event", events=[{"type": kind, "data": data} for kind, data in events])


def button(name, down): return "btn", {"button": name, "down": down}
def rel(axis, value): return "rel", {"axis": axis, "value": value}
def place(axis, value): return "abs", {"axis": axis, "value": value}


lines.readline()
say("qmp_capabilities")
exec(sys.argv[2])
PY
}
# typed TEXT: what was typed on the guest's first console since "listen" is that, and a line's end.
listen() { ask '(head -n 1 </dev/tty1 >/typed 2>/dev/null; mv /typed /read) >/dev/null 2>&1 &' 10; }
typed() {
  ask 'for n in $(seq 100); do [ -e /read ] && break; sleep 0.1; done; md5sum </read; cat /read; rm -f /read' 30
  [ "${reply%% *}" = "$(printf '%s\n' "$1" | md5sum | cut -d' ' -f1)" ] || { fail "typed was '$1', and what came is '$reply'"; return 1; }
}
# watch NAME: begins to read what the input device of that name tells; seen PATTERN: it has told lines of type, code and value that are like that.
watch() { ask "n=\$(grep -l '$1' /sys/class/input/event*/device/name); n=\${n%/device/name}; (cat /dev/input/\${n##*/} >/moves) >/dev/null 2>&1 & sleep 0.2; grep -c . \$n/device/name" 20 && [ "$reply" = 1 ] || { fail "no input device '$1': $reply"; return 1; }; }
seen() {
  ask "for n in \$(seq 150); do od -An -v -t x2 -w24 /moves | awk '{ printf \"%s %s %s%s,\", \$9, \$10, \$12, \$11 }' >/m; grep -qE '$1' /m && break; sleep 0.1; done; cat /m" 30
  [[ $reply =~ $1 ]] || { fail "the pointer told '$reply', not '$1'"; return 1; }
}
# picture NAME: takes a picture of the screen.
picture() { python3 "$here/../XenLab/dom0/screen.py" dump "$tmp/qmp" "$tmp/$1.ppm" >"$tmp/dump" 2>&1 || { fail "screendump: $(tail -1 "$tmp/dump")"; return 1; }; }
# shows DISK SIZE: the guest's framebuffer, of the width, height and depth in SIZE ("any" for those that it has), is what a picture of its screen has,
# pixel by pixel, when the data of DISK are written to it. Linux' helpers for framebuffers show nothing for a write of exactly one line.
shows() {
  local width height depth try
  ask framebuffer 60 && { [ "$2" = any ] || [ "$reply" = "$2" ]; } && [[ $reply =~ ^[0-9]+\ [0-9]+\ (16|32)$ ]] || { fail "framebuffer: $reply"; return 1; }
  read -r width height depth <<<"$reply"
  ask "dd if=/dev/$1 of=/dev/fb0 bs=$((width * depth)) count=$((height / 8)) 2>/dev/null" 60
  # It is shown some time after it was written.
  for try in $(seq 60); do
    sleep 0.5
    picture shown || return
    python3 "$here/../XenLab/dom0/screen.py" same "$tmp/shown.ppm" "$tmp/data.img" "$width" "$height" "$depth" >"$tmp/same" 2>&1 && return 0
  done
  fail "$width x $height x $depth: $(tail -1 "$tmp/same")"
  return 1
}
# within COMMAND SECONDS: asks for what xorg/guest.sh can do.
within() { ask ". /x/guest.sh; $1" "$2"; }
# painted X Y: X's pointer comes to that place, and the screen shows what X believes it to show, pixel by pixel, with the pointer there.
painted() {
  local try wrong
  # Its clients may be drawing still.
  for try in $(seq 15); do
    within "x_picture $1 $2" 60 || { fail "$screen: $reply"; return 1; }
    picture x || return
    wrong=$(python3 "$here/xorg/compare.py" "$tmp/dump.img" "$dac" "$tmp/x.ppm" "$1" "$2" "$here"/xorg/{pointer,mask}.xbm 2>&1) && return 0
    sleep 0.5
  done
  fail "$screen, the pointer at $1, $2: $wrong"
  return 1
}
# xorg SCREEN DEPTH PATTERN: X with one of the screens of xorg/xorg.conf, and a line like PATTERN in its log: what its clients draw, its pointer, its
# keyboard, and the console after it.
xorg() {
  local try screen="X on $1 with $2 bits"
  within console 20 && picture console || { [ -z "$pid" ] || fail "no console: $reply"; return 1; }
  within "x_start $1 $2 && grep -c '$3' /x/tmp/x.log" 100 || { fail "$screen does not start: $reply"; return 1; }
  within x_draw 100 || { fail "$screen: $reply"; return 1; }
  # Where the pointer is at first, X itself is not sure.
  qmp "event(rel('x', -2000), rel('y', -2000))" && within 'x_pointer 0 0' 30 && qmp "event(rel('x', 512), rel('y', 384))" && painted 512 384 || { [ -z "$pid" ] || fail "$screen: $reply"; return 1; }
  # Into the window of the terminal; what is typed there, its shell does.
  qmp "event(rel('x', -392), rel('y', -264))" || return
  within 'x_pointer 120 120' 30 || { fail "$screen: $reply"; return 1; }
  qmp "text('echo \"X says: \$((6 * 7))\" | tee typed\n')" || return
  ask 'for n in $(seq 100); do [ -s /x/tmp/typed ] && break; sleep 0.1; done; cat /x/tmp/typed' 60
  [ "$reply" = 'X says: 42' ] || { fail "$screen: what the shell in its terminal wrote is '$reply'"; return 1; }
  # Onto the shapes, and into the corner, where a part of the pointer is seen.
  qmp "event(rel('x', 500), rel('y', 60))" && painted 620 180 && qmp "event(rel('x', 600), rel('y', 900))" && painted 1023 767 || return
  within x_stop 60 && [ "$reply" = 0 ] || { fail "$screen does not end: $reply"; return 1; }
  for try in $(seq 20); do
    within console 20 && picture after || { [ -z "$pid" ] || fail "no console: $reply"; return 1; }
    cmp -s "$tmp/console.ppm" "$tmp/after.ppm" && return 0
    sleep 0.5
  done
  fail "$screen: the console after it is not the one before"
  return 1
}
# vgabios: the file with the font of text screens, in $rom. says TEXT...: each of them is on the guest's text screen, whose cells are all characters.
vgabios() { rom=$(find /usr/share/seabios /usr/share/qemu /usr/share/vgabios -name vgabios-stdvga.bin 2>/dev/null | head -1); }
says() {
  local try wrong
  vgabios
  # A picture can be taken in the middle of a line that is being painted.
  for try in $(seq 30); do
    wrong=$(python3 "$here/screen.py" "$tmp/monitor" "$tmp" "$rom" says "$@" 2>&1) && return 0
    sleep 1
  done
  fail "the text screen: $wrong"
  return 1
}
# captured FILE: a pcap file that is whole, with each frame as long as its header says; removes it.
captured() {
  python3 - "$1" <<'PY'
import struct, sys

with open(sys.argv[1], "rb") as file:
    magic, major, minor, _, _, longest, link = struct.unpack("<IHHiIII", file.read(24))
    assert magic in (0xa1b2c3d4, 0xa1b23c4d) and (major, minor, link) == (2, 4, 1), "header"
    frames = bytes = 0
    while head := file.read(16):
        _, _, kept, length = struct.unpack("<IIII", head)
        data = file.read(kept)
        assert 14 <= kept <= min(length, longest) and len(data) == kept, f"frame {frames}"
        frames, bytes = frames + 1, bytes + length
    assert bytes > 128 << 20, f"{bytes} bytes"
PY
  local status=$?
  rm -f "$1"
  return $status
}
# exchange WHAT: 64 MiB to the guest and back.
exchange() {
  local before
  before=$(wc -l <"$tmp/echo")
  ask "nc 10.0.2.2 $port -e cat" 200
  for n in $(seq 120); do [ "$(wc -l <"$tmp/echo")" -gt "$before" ] && break; sleep 0.5; done
  [[ $(tail -n +$((before + 1)) "$tmp/echo") =~ ^same ]] || { fail "64 MiB with $1: $(tail -n +$((before + 1)) "$tmp/echo")"; return 1; }
}
skip() { echo "SKIP $guest: $1"; skipped=$((skipped + 1)); }
clean() {
  ask 'dmesg | grep -ciE "oops|BUG:|tsc: Marking|unstable|lost interrupt|nobody cared|soft lockup|Call Trace"' 30
  [ "$reply" = 0 ] || { ask 'dmesg | grep -iE "oops|BUG:|unstable|lost interrupt|nobody cared|Call Trace" | head -3' 30; fail "the kernel complains: $reply"; return 1; }
}
# xen CPUS: the guest's kernel found Xen, keeps its time by it, gets its events by the callback vector on every vCPU, and sees the store.
xen() {
  ask 'cat /sys/hypervisor/type /sys/devices/system/clocksource/clocksource0/current_clocksource | tr "\n" " "' 20
  [[ $reply =~ ^xen\ xen ]] || { fail "no Xen: $reply"; return 1; }
  ask 'grep -c "xen-percpu.*timer" /proc/interrupts; sed -n "s/^ *HYP: *//p" /proc/interrupts' 30
  local counts n vcpus=0
  read -ra counts <<<"${reply#* }"
  for n in "${counts[@]}"; do [[ $n =~ ^[0-9]+$ ]] && [ "$n" -gt 10 ] && vcpus=$((vcpus + 1)); done
  [ "${reply%% *}" = "$1" ] && [ $vcpus = "$1" ] || { fail "events do not come: $reply"; return 1; }
  ask 'dmesg | grep -c "callback vector for event delivery is enabled"' 20
  [ "$reply" = 1 ] || { fail 'no callback vector'; return 1; }
}
# idle: the guest that waits at its shell takes less than 2 % of a core: 10 ticks of 10 ms in 5 s of the process's own time. On a slow host what it
# does after its boot takes a while.
idle() {
  local before after try
  for try in 1 2 3 4; do
    sleep 3
    before=$(awk '{print $14 + $15}' "/proc/$pid/stat")
    sleep 5
    after=$(awk '{print $14 + $15}' "/proc/$pid/stat")
    [ $((after - before)) -gt 10 ] || return 0
  done
  fail "idle, but busy for $((after - before)) of 500 ticks"
  return 1
}
pass() { echo "PASS $guest ($((SECONDS - from)) s)"; passed=$((passed + 1)); }

passed=0 failed=0 skipped=0
kernel=(--kernel "$(image vmlinuz)" --initrd "$(image initramfs)")
for guest in "${guests[@]}"; do
  from=$SECONDS
  case $guest in
    direct)
      boot "${kernel[@]}" --append "console=ttyS0 nokaslr"
      expect '^UP' 150 || { fail 'did not reach its shell'; continue; }
      clean && ask 'grep -c ^processor /proc/cpuinfo' 20 && [ "$reply" = 1 ] || { [ -z "$pid" ] || fail "one CPU expected, got $reply"; continue; }
      idle || continue
      # An interpreter does not run ahead, and says so.
      ask 'cat /sys/devices/system/cpu/vulnerabilities/meltdown' 20 && [ "$reply" = 'Not affected' ] || { fail "meltdown: $reply"; continue; }
      off && pass ;;
    screen)
      # What a picture of the screen has is what the guest wrote, pixel by pixel: text in the font of the VGA BIOS.
      image data.img >/dev/null
      boot "${kernel[@]}" --monitor "$tmp/monitor" --qmp "$tmp/qmp" --disk "$tmp/data.img,pv,snapshot" --record-screen "$tmp/record.png" --append "console=ttyS0 nokaslr"
      expect '^UP' 150 || { fail 'did not reach its shell'; continue; }
      # A test of colours; no cursor, and nothing that blinks.
      ask 'printf "\\033[2J\\033[H\\033[?25l" >/dev/tty1; for c in 31 32 33 34 35 36 37 "1;33" "7;36" "44;1;37"; do printf "\\033[${c}mcolour $c \\033[0m the quick brown fox jumps over the lazy dog 0123456789 {|}~\\n" >/dev/tty1; done; base64 /dev/vcsa1 | tr -d "\\n"' 30
      vgabios
      wrong=$(python3 "$here/screen.py" "$tmp/monitor" "$tmp" "$rom" "$reply" 2>&1) || { fail "the text screen: $wrong"; continue; }
      # The same of the framebuffer of bochs-drm, which knows 32 bits only.
      ask 'load bochs && pv xvda' 60 || { fail "no driver or disk: $reply"; continue; }
      shows xvda any || continue
      off || continue
      [ "$(head -c 8 "$tmp/record.png" | tail -c 7 | head -c 3)" = PNG ] && grep -qa fdAT "$tmp/record.png" || { fail 'no recording of the screen'; continue; }
      pass ;;
    smp)
      boot "${kernel[@]}" --cpus 4 --append "console=ttyS0 nokaslr"
      expect '^UP' 200 || { fail 'did not reach its shell'; continue; }
      clean && ask 'grep -c ^processor /proc/cpuinfo' 30 && [ "$reply" = 4 ] || { [ -z "$pid" ] || fail "four CPUs expected, got $reply"; continue; }
      off && pass ;;
    pvhvm | pvhvm4)
      # PV on HVM: Xen's clock, timers and events; and text both ways over a second PV console, more of it than its ring holds.
      cpus=1
      [ $guest = pvhvm ] || cpus=4
      rm -f "$tmp"/console.{in,out} && mkfifo "$tmp"/console.{in,out}
      boot "${kernel[@]}" --cpus $cpus --append "console=ttyS0 nokaslr" --console none --console "pipe:$tmp/console"
      expect '^UP' 200 || { fail 'did not reach its shell'; continue; }
      clean && xen $cpus || continue
      seq 3000 >"$tmp/numbers"
      timeout 100 head -c "$(stat -c %s "$tmp/numbers")" "$tmp/console.out" >"$tmp/console.got" &
      reader=$!
      ask 'mkdir -p /c && mount -t devtmpfs none /c; exec 5<>/c/hvc1; stty raw -echo <&5; cat <&5 >/c/got 2>/dev/null & seq 3000 >&5' 100 || { kill $reader 2>/dev/null; fail "hvc1 takes no text: $reply"; continue; }
      wait $reader
      cmp -s "$tmp/numbers" "$tmp/console.got" || { fail "hvc1 gave $(stat -c %s "$tmp/console.got") of $(stat -c %s "$tmp/numbers") bytes, or others"; continue; }
      cat "$tmp/numbers" >"$tmp/console.in"
      ask "for n in \$(seq 60); do [ \$(stat -c %s /c/got) -ge $(stat -c %s "$tmp/numbers") ] && break; sleep 0.5; done; md5sum </c/got" 60
      [ "${reply%% *}" = "$(md5sum <"$tmp/numbers" | cut -d' ' -f1)" ] || { ask 'wc -c </c/got' 20; fail "what hvc1 took is not what was sent: $reply bytes"; continue; }
      off && pass ;;
    pv | pv4)
      # Nothing is emulated once the guest's drivers run: its root is a PV disk, its net a PV NIC.
      cpus=1
      [ $guest = pv ] || cpus=4
      serve
      boot "${kernel[@]}" --cpus $cpus --disk "$(image root.img),pv,snapshot" --disk "$(image data.img),pv" --net user,pv --append "console=ttyS0 nokaslr lab.root=xvda"
      expect '^UP' 200 || { fail 'did not reach its shell'; continue; }
      clean && xen $cpus || continue
      ask 'grep -c "^/dev/xvda / ext4 rw" /proc/mounts; ls /dev/sd* /sys/class/net | grep -v lo' 20
      [ "$reply" = "1 ls: /dev/sd*: No such file or directory /sys/class/net:" ] || { fail "emulated devices are left, or the root is not on xvda: $reply"; continue; }
      ask 'echo 3 >/proc/sys/vm/drop_caches; md5sum </dev/xvdb' 60
      [ "${reply%% *}" = "$(md5sum <"$tmp/data.img" | cut -d' ' -f1)" ] || { fail "wrong sum of the data disk: $reply"; continue; }
      ask 'load xen-netfront && nic 52:54:00:12:34:56 10.0.2.15 && ping -c 2 -w 5 10.0.2.2 >/dev/null && echo there' 30
      [[ $reply =~ there$ ]] || { fail "no net: $reply"; continue; }
      exchange 'the PV NIC' || continue
      ask 'reload_nics && nic 52:54:00:12:34:56 10.0.2.15 && ping -c 2 -w 5 10.0.2.2 >/dev/null && echo there' 30
      [[ $reply =~ there$ ]] || { fail "no net after the driver was loaded again: $reply"; continue; }
      # Linux' blkfront, unlike its netfront, does not begin anew at a device that it closed: both ends say Closed, and the other disk goes on.
      ask 'echo vbd-51728 >/sys/bus/xen/drivers/vbd/unbind && no_disk xvdb && cat /sys/bus/xen/devices/vbd-51728/state && echo more >/file && sync && cat /file' 60
      [ "$reply" = 'Closed more' ] || { fail "a disk that is given back: $reply"; continue; }
      clean && off && pass ;;
    pvkept)
      # A guest that keeps its emulated devices has them, though their PV twins are there.
      boot "${kernel[@]}" --disk "$(image data.img),pv,snapshot" --net user,pv --append "console=ttyS0 nokaslr xen_emul_unplug=never"
      expect '^UP' 150 || { fail 'did not reach its shell'; continue; }
      clean && xen 1 || continue
      ask 'disk hda && md5sum </dev/hda' 60
      [ "${reply%% *}" = "$(md5sum <"$tmp/data.img" | cut -d' ' -f1)" ] || { fail "wrong sum of the IDE disk: $reply"; continue; }
      ask 'load e1000 && nic 52:54:00:12:34:56 10.0.2.15 && ping -c 2 -w 5 10.0.2.2 >/dev/null && echo there' 30
      [[ $reply =~ ^eth0\ e1000\ there$ ]] || { fail "no net: $reply"; continue; }
      off && pass ;;
    plain)
      boot "${kernel[@]}" --no-xen --append "console=ttyS0 nokaslr"
      expect '^UP' 150 || { fail 'did not reach its shell'; continue; }
      clean && ask 'ls /sys/hypervisor; dmesg | grep -ci "hypervisor detected"' 20
      [[ $reply =~ 0$ ]] || { fail "Xen shows through: $reply"; continue; }
      off && pass ;;
    hvmlinux)
      # The same after Xen's own loader, from a disk, and with Microsoft's interface where Xen's is otherwise.
      package xen-utils-4.17 usr/lib/xen-4.17/boot/hvmloader || { skip "$file"; continue; }
      boot --firmware "$file" --cpus 4 --viridian all --disk "$(image disk.img),snapshot"
      expect '^UP' 200 || { fail 'did not reach its shell'; continue; }
      clean && xen 4 || continue
      off && pass ;;
    input | pvinput)
      # What QMP types and points arrives in Linux as it was meant: through the PC's keyboard and mouse, and through Xen's.
      more=()
      [ $guest = input ] || more=(--pv-display --disk "$(image data.img),pv,snapshot")
      boot "${kernel[@]}" "${more[@]}" --append "console=ttyS0 nokaslr" --qmp "$tmp/qmp"
      expect '^UP' 150 || { fail 'did not reach its shell'; continue; }
      if [ $guest = input ]; then
        ask 'load psmouse; for n in $(seq 100); do grep -qi explorer /sys/class/input/event*/device/name && break; sleep 0.1; done' 30
        pointer=Explorer
      else
        pointer='Xen Virtual Pointer'
      fi
      IFS= read -r text <<'END'
Hello, World! `-=[]\;',./ ~!@#$%^&*()_+{}|:"<>? 0123456789 The Quick Brown Fox
END
      listen && qmp "text(r'''$text'''); text('\n')" && typed "$text" || continue
      listen && qmp "text('x'); key('ctrl', 'u'); key('caps_lock'); text('ab1'); key('caps_lock'); text('c'); key('num_lock'); key('kp_7'); key('kp_add'); key('num_lock'); text('\n')" && typed AB1c7+ || continue
      qmp "key('print'); key('shift', 'print'); key('ctrl', 'pause'); key('pause'); key('meta_l'); key('alt_r')" && ask 'sleep 1; dmesg | grep -c "Unknown key"' 20
      [ "$reply" = 0 ] || { ask 'dmesg | grep "Unknown key" | head -3' 20; fail "a key that Linux does not know: $reply"; continue; }
      ask "awk '/i8042/ { n += \$2 } END { print n + 0 }' /proc/interrupts" 10
      interrupts=$reply
      # A key that is held for a second and a half repeats thirty times a second after a quarter or half of one.
      listen && qmp "key('z', hold=1500); text('\n')" && ask 'for n in $(seq 100); do [ -e /read ] && break; sleep 0.1; done; cat /read; rm -f /read' 30
      [[ $reply =~ ^z{20,50}$ ]] || { fail "a held key gave '$reply'"; continue; }
      watch "$pointer" || continue
      if [ $guest = input ]; then
        qmp "event(rel('x', 30), rel('y', -7))" && seen '0002 0000 0000001e,0002 0001 fffffff9,0000 0000 00000000,' || continue
        qmp "event(rel('x', -300))" && seen '0002 0000 ffffff01,0000 0000 00000000,0002 0000 ffffffd3,' || continue
      else
        qmp "event(place('x', 16384), place('y', 8192))" && seen '0003 0000 00004000,0003 0001 00002000,0000 0000 00000000,' || continue
        qmp "event(place('x', 32767)); event(place('x', 0))" && seen '0003 0000 00007fff,.*0003 0000 00000000,' || continue
      fi
      qmp "event(button('left', True)); event(button('left', False), button('side', True)); event(button('wheel-down', True), button('side', False))" || continue
      seen '0001 0110 00000001,.*0001 0110 00000000,.*0001 0113 00000001,.*0001 0113 00000000,' && seen '0002 0008 ffffffff,' || continue
      ask "awk '/i8042/ { n += \$2 } END { print n + 0 }' /proc/interrupts" 10
      [ $guest = input ] || [ "$reply" = "$interrupts" ] || { fail "the PC's keyboard was used too: $interrupts interrupts, then $reply"; continue; }
      # What Xen's framebuffer shows is what was drawn there.
      [ $guest = input ] || ask 'pv xvda' 60 || { fail "no disk: $reply"; continue; }
      [ $guest = input ] || shows xvda any || continue
      clean && off && pass ;;
    disk)
      boot --disk "$(image disk.img)" --disk "$(image data.img)"
      expect '^UP' 150 || { fail 'did not reach its shell'; continue; }
      clean || continue
      ask 'md5sum </dev/sdb || md5sum </dev/hdb' 120
      [ "${reply%% *}" = "$(md5sum <"$tmp/data.img" | cut -d' ' -f1)" ] || { fail "wrong sum of the data disk: $reply"; continue; }
      off && pass ;;
    cd)
      boot --cdrom "$(image boot.iso)" --boot d
      expect '^UP' 150 || { fail 'did not reach its shell'; continue; }
      clean || continue
      off && pass ;;
    icount)
      # The same inputs give the same run: state hashes of two runs agree.
      for n in 1 2; do "$xendm" run "${kernel[@]}" --append "console=ttyS0 nokaslr panic=-1 rdinit=/nothing" --clock icount --no-reboot --hash --serial "file:$tmp/icount.$n" >"$tmp/hash.$n" 2>"$tmp/$guest.err" </dev/null; done
      [ -s "$tmp/hash.1" ] && cmp -s "$tmp/hash.1" "$tmp/hash.2" && cmp -s "$tmp/icount.1" "$tmp/icount.2" || { cp "$tmp/icount.1" "$tmp/$guest.log"; fail "two runs differ: $(cat "$tmp/hash.1" "$tmp/hash.2")"; continue; }
      pass ;;
    memtest)
      package memtest86+ boot/memtest86+x64.bin || { skip "$file"; continue; }
      boot --memory 6M --kernel "$file" --monitor "$tmp/monitor" --append 'console=ttyS0,115200'
      # The last test of a pass waits for two minutes whether bits fade.
      screen '#10 \[Bit fade' 400 || { fail 'does not come to its last test'; continue; }
      says 'Memtest86+ v6' 'Errors: 0' || continue
      [ "$(grep -o 'Errors: *[0-9]*' "$tmp/$guest.log" | sort -u)" = 'Errors: 0' ] || { fail 'errors were found'; continue; }
      stop
      pass ;;
    pae)
      # The 32-bit kernel on a 32-bit CPU; its initial ramdisk is the other guests' with a 32-bit shell.
      package32 linux-image-686-pae- '*boot/vmlinuz-*' || { skip "$file"; continue; }
      vmlinuz=$file
      package32 busybox-static '*bin/busybox' || { skip "$file"; continue; }
      rm -rf "$tmp/root" && mkdir -p "$tmp/root"
      (cd "$tmp/root" && { zcat "$(image initramfs)" 2>/dev/null || cat "$(image initramfs)"; } | cpio -idm 2>/dev/null
        cp "$file" bin/busybox && rm -f bin/pio mod/*.ko more/*.ko
        n=100 && for module in drivers/block/xen-blkfront drivers/net/xen-netfront; do
          cp "${vmlinuz%/boot/*}"/lib/modules/*/kernel/$module.ko more/$((n++))-$(basename $module | tr - _).ko
        done
        find . | cpio -oH newc 2>/dev/null | gzip -1 >"$tmp/initrd32")
      serve
      boot --cpu i686 --cpus 2 --kernel "$vmlinuz" --initrd "$tmp/initrd32" --disk "$(image data.img),pv" --net user,model=none,pv --append "console=ttyS0 nokaslr"
      expect '^UP' 200 || { fail 'did not reach its shell'; continue; }
      clean && ask 'uname -m; grep -c ^processor /proc/cpuinfo' 30 && [ "$reply" = 'i686 2' ] || { [ -z "$pid" ] || fail "two 32-bit CPUs expected, got $reply"; continue; }
      xen 2 || continue
      # The rings have the layout of 32-bit guests.
      ask 'pv xvda && md5sum </dev/xvda' 60
      [ "${reply%% *}" = "$(md5sum <"$tmp/data.img" | cut -d' ' -f1)" ] || { fail "wrong sum of the PV disk: $reply"; continue; }
      ask 'load xen-netfront && nic 52:54:00:12:34:56 10.0.2.15 && ping -c 2 -w 5 10.0.2.2 >/dev/null && echo there' 30
      [[ $reply =~ there$ ]] || { fail "no net: $reply"; continue; }
      exchange 'the PV NIC' || continue
      ask 'unload_disks && no_disk xvda && lsmod | grep -c blkfront' 20
      [ "$reply" = 0 ] || { fail "the disk driver does not go: $reply"; continue; }
      off && pass ;;
    grub | grub-cirrus)
      # Its menu, its prompt and an answer on the screen, with keys from the keyboard.
      package grub-rescue-pc usr/lib/grub-rescue/grub-rescue-cdrom.iso || { skip "$file"; continue; }
      adapter=${guest#grub}
      adapter=${adapter:--std}
      text --vga "${adapter#-}" --monitor "$tmp/monitor" --cdrom "$file" --boot d
      screen 'GNU GRUB  version' 60 && printf c >&4 && screen 'grub>' 30 && sleep 1 && printf 'ls\r' >&4 && screen '\(cd\)' 30 || { fail 'no answer at its prompt'; continue; }
      says 'GNU GRUB  version' 'grub> ls' '(cd)' || continue
      stop
      pass ;;
    cirrus)
      # Linux's driver on the CL-GD5446: exact pictures of a framebuffer of 16 bits, of 32, and of 32 that the chip shows as 24.
      image data.img >/dev/null
      for mode in 1024x768-16 800x600-32 1024x768-32; do
        boot "${kernel[@]}" --vga cirrus --disk "$tmp/data.img,snapshot" --qmp "$tmp/qmp" --append "console=ttyS0 nokaslr xen_emul_unplug=never video=$mode"
        expect '^UP' 150 || { fail 'did not reach its shell'; continue 2; }
        ask 'load cirrus && disk hda' 60 || { fail "no driver or disk: $reply"; continue 2; }
        shows hda "$(echo $mode | tr x- '  ')" || continue 2
        clean && off || continue 2
      done
      pass ;;
    xorg-*)
      # X.Org's drivers for the adapters: the chip's, the VGA BIOS' and the kernel's.
      disk=$("$here/xorg/build.sh" 2>"$tmp/xorg.err") || { skip "$(tail -1 "$tmp/xorg.err")"; continue; }
      adapter=${guest#xorg-}
      truncate -s 8M "$tmp/dump.img"
      boot "${kernel[@]}" --vga "${adapter%vga}" --qmp "$tmp/qmp" --disk "$disk,pv,snapshot" --disk "$tmp/dump.img,pv" --append "console=ttyS0 nokaslr"
      expect '^UP' 150 || { fail 'did not reach its shell'; continue; }
      ask 'load psmouse crc32c_generic ext4 && pv xvda xvdb && mkdir /x && mount -t ext4 -o ro /dev/xvda /x && . /x/guest.sh && x_mount' 60 || { fail "no file system: $reply"; continue; }
      if [ $guest = xorg-cirrus ]; then
        dac=6
        xorg cirrus 16 'Hardware cursor: 64x64' && xorg direct 8 'Hardware cursor: 64x64' && xorg vesa 16 'VESA VBE Version 3' || continue
      else
        dac=8
        xorg vesa 8 'VESA VBE Version 3' && xorg vesa 24 'VESA VBE Version 3' || continue
        ask 'load bochs && for n in $(seq 50); do [ ! -e /dev/fb0 ] || break; sleep 0.2; done; ls /dev/fb0' 60 && xorg modesetting 24 'kms color map' || { [ -z "$pid" ] || fail "no driver: $reply"; continue; }
      fi
      clean && off && pass ;;
    ipxe)
      package ipxe boot/ipxe.lkrn || { skip "$file"; continue; }
      text --kernel "$file" --monitor "$tmp/monitor"
      screen 'Ctrl-B' 60 && printf '\002' >&4 && screen 'iPXE>' 30 && sleep 1 && printf 'echo ${platform}-here\r' >&4 && screen 'pcbios-here' 30 || { fail 'no answer in its shell'; continue; }
      says 'SeaBIOS (version' 'iPXE> echo ${platform}-here' 'pcbios-here' || continue
      stop
      pass ;;
    uefi)
      # UEFI's drivers for both adapters and for the keyboard. The pictures have another size each; the text in their middle is the same.
      package ovmf usr/share/ovmf/OVMF.fd || { skip "$file"; continue; }
      for vga in std cirrus; do
        boot --memory 256M --firmware "$file" --vga $vga --qmp "$tmp/qmp"
        screen 'Shell> ' 200 || { fail "does not come to its shell on $vga"; continue 2; }
        qmp "text('ver\n')" && screen 'EDK II' 60 && screen 'Shell> ' 60 || { fail "does not hear its keyboard on $vga"; continue 2; }
        sleep 1
        picture $vga || continue 2
        stop
      done
      same=$(python3 "$here/../XenLab/dom0/screen.py" middles "$tmp/std.ppm" "$tmp/cirrus.ppm" 800 589 2>&1) || { fail "the pictures: $same"; continue; }
      pass ;;
    nic-*)
      # The emulated NICs with Linux's drivers: 64 MiB there and back through the user network, with all that the chip does for the kernel and without.
      ethtool || { skip "$file"; continue; }
      driver=${guest#nic-}
      case $driver in e1000) model=e1000 ;; 8139cp) model=rtl8139 ;; 8139too) model=rtl8139c ;; esac
      [ -n "$server" ] || serve
      boot --kernel "$(image vmlinuz)" --initrd "$initrd" --append "console=ttyS0 nokaslr xen_emul_unplug=never" --net "user,model=$model,pcap=$tmp/$guest.pcap"
      expect '^UP' 150 || { fail 'did not reach its shell'; continue; }
      ask "load $driver && ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 && basename \$(readlink /sys/class/net/eth0/device/driver)" 60 && [ "$reply" = "$driver" ] || { fail "no $driver: $reply"; continue; }
      ask 'for n in $(seq 50); do [ "$(cat /sys/class/net/eth0/carrier)" = 1 ] && break; sleep 0.1; done; ping -c 3 10.0.2.2 | tail -2' 60 && [[ $reply == *" 0% packet loss"* ]] || { fail "ping: $reply"; continue; }
      if [ $driver = e1000 ]; then
        # The driver's own test: registers, EEPROM, interrupts, loopback, link.
        ask 'ethtool -t eth0 offline' 90 && [[ $reply == *PASS* ]] || { fail "self-test: $reply"; continue; }
        ask 'sleep 3; ip addr add 10.0.2.15/24 dev eth0 2>/dev/null; ping -c 1 -w 10 10.0.2.2' 60
      fi
      settings=('')
      [ $driver = 8139too ] || settings=('tso on tx on rx on sg on' 'tso off tx on rx on sg on' 'tx off rx off sg off')
      for setting in "${settings[@]}"; do
        [ -z "$setting" ] || ask "ethtool -K eth0 $setting && ethtool -k eth0 | grep -E '^(tcp-seg|tx-check|rx-check)'" 30 || { fail "ethtool -K $setting: $reply"; continue 2; }
        exchange "${setting:-no offloads}" || continue 2
      done
      ask 'cat /sys/class/net/eth0/statistics/[rt]x_errors' 20 && [ "$reply" = '0 0' ] || { fail "errors: $reply"; continue; }
      clean || continue
      off || continue
      captured "$tmp/$guest.pcap" || { fail 'the pcap file is not whole'; continue; }
      pass ;;
    ipxe-*)
      # Network boot by the distribution's boot ROM: DHCP, a script by TFTP, the kernel by HTTP.
      model=${guest#ipxe-}
      [ -e /usr/lib/ipxe/qemu/pxe-$model.rom ] || package ipxe-qemu usr/lib/ipxe/qemu/pxe-$model.rom || { skip "$file"; continue; }
      [ -e /usr/lib/ipxe/qemu/pxe-$model.rom ] && file=/usr/lib/ipxe/qemu/pxe-$model.rom
      [ -n "$server" ] || serve
      mkdir -p "$tmp/tftp"
      printf '#!ipxe\nkernel http://10.0.2.2:%s/vmlinuz console=ttyS0 nokaslr initrd=initramfs\ninitrd http://10.0.2.2:%s/initramfs\nboot\n' "$web" "$web" >"$tmp/tftp/boot.ipxe"
      image vmlinuz >/dev/null && image initramfs >/dev/null
      boot --boot n --net "user,model=$model,romfile=$file,tftp=$tmp/tftp,bootfile=boot.ipxe"
      expect '^UP' 200 || { fail 'did not reach its shell'; continue; }
      off && pass ;;
    power)
      # A guest writes numbered blocks to a PV disk, past its cache and through it, and says of each that it was flushed, until xendm is killed at
      # any moment. What was said is in the image.
      rm -f "$tmp/power.img" && truncate -s 256M "$tmp/power.img"
      blocks() { yes "block $1 of round $2" | head -c 32768; }
      told=
      for round in 1 2 3; do
        boot "${kernel[@]}" --disk "$tmp/power.img,pv" --append "console=ttyS0 nokaslr"
        expect '^UP' 150 || { fail 'did not reach its shell'; continue 2; }
        ask 'pv xvda' 60 || { fail "no PV disk: $reply"; continue 2; }
        echo "1 n=0; direct=oflag=direct; while :; do yes \"block \$n of round $round\" | head -c 32768 | dd of=/dev/xvda bs=32768 iflag=fullblock \$direct seek=\$(($round * 1600 + n)) conv=notrunc,fsync 2>/dev/null || break; echo \"C \$n.\" >/dev/ttyS0; n=\$((n + 1)); [ -n \"\$direct\" ] && direct= || direct=oflag=direct; done" >&4
        expect '^C 3\.' 60 || { fail 'writes nothing'; continue 2; }
        sleep "$((RANDOM % 3)).$((RANDOM % 10))$((RANDOM % 10))"
        kill -9 "$pid"
        wait "$pid" 2>/dev/null
        last=3
        while IFS= read -r -t 1 line <&3; do [[ $line =~ ^C\ ([0-9]+)\. ]] && last=${BASH_REMATCH[1]}; done
        stop
        for n in $(seq 0 "$last"); do
          cmp -s -n 32768 -i "0:$(((round * 1600 + n) * 32768))" <(blocks "$n" $round) "$tmp/power.img" || { fail "block $n of round $round was flushed, and is lost (the last was $last)"; continue 3; }
        done
        told+=" $((last + 1))"
      done
      echo "   flushed blocks that were there after each kill:$told"
      pass ;;
    gdb)
      command -v gdb >/dev/null || { skip 'gdb is not installed'; continue; }
      rm -f "$tmp/stub"
      boot "${kernel[@]}" --cpus 2 --append "console=ttyS0 nokaslr" --gdb "$tmp/stub"
      for n in $(seq 100); do [ -S "$tmp/stub" ] && break; sleep 0.1; done

      # The machine waits at the reset vector; memory that is a chip's is not touched; then the guest is let go.
      debug 'print/x $rip' 'print/x $cs' 'x/1xb 0xffff0' 'x/1xw 0xfec00000' 'monitor info status' 'hbreak *0xfe05b' 'continue' 'stepi' 'delete' 'detach'
      wait "$debugger"
      said '^\$1 = 0xfff0$' '^\$2 = 0xf000$' '^0xffff0:.*0xea' 'Cannot access memory at address 0xfec00000' '^VM status: p' '^0x0*e05b ' '^0x0*e062 ' 'Inferior 1 .*detached' || continue
      expect '^UP' 200 || { fail 'did not reach its shell'; continue; }
      ask "grep -E ' (__x64_sys_sync|jiffies_64|linux_banner)\$' /proc/kallsyms | tr '\n' ' '" 90
      address() { [[ $reply =~ ([0-9a-f]{16})\ .\ $1 ]] && echo "0x${BASH_REMATCH[1]}"; }
      sync=$(address __x64_sys_sync) && jiffies=$(address jiffies_64) && banner=$(address linux_banner) || { fail "no symbols: $reply"; continue; }

      # The kernel's own code: breakpoints of both kinds, steps, registers, memory, a watchpoint, the other vCPU.
      debug "break *$sync" 'echo READY\n' 'continue' 'print $rip' 'print $cr0 >> 31' 'print $efer >> 10 & 1' 'stepi' 'print $rip' 'delete' \
        "hbreak *$sync" 'continue' 'delete' "watch *(unsigned long *)$jiffies" 'continue' 'delete' \
        'info threads' 'thread 2' 'print $_thread' 'print $gs_base | $k_gs_base' 'thread 1' 'print $gs_base | $k_gs_base' \
        "x/s $banner" "set var *(char *)$banner = 'X'" "x/s $banner" "set var *(char *)$banner = 'L'" 'detach'
      for n in $(seq 300); do grep -q '^READY' "$tmp/gdb.log" && break; sleep 0.1; done
      ask 'sync; sync; echo synced' 100 && [ "$reply" = synced ] || { said 'the guest goes on'; continue; }
      wait "$debugger"
      said "hit Breakpoint 1, $sync" "^\\\$1 = .*$sync\$" '^\$2 = 1$' '^\$3 = 1$' "hit Breakpoint 2, $sync" 'hit Hardware watchpoint 3' '^New value = [0-9]' \
        'Thread 1 \(vCPU 0' 'Thread 2 \(vCPU 1' '^\$5 = 2$' '^\$6 = ' '^\$7 = ' '"Linux version' '"Xinux version' 'Inferior 1 .*detached' || continue
      [ "$(sed -n 's/^\$4 = //p' "$tmp/gdb.log")" != "$(sed -n 's/^\$1 = //p' "$tmp/gdb.log")" ] || { fail 'a step goes nowhere'; continue; }
      [ "$(sed -n 's/^\$6 = //p' "$tmp/gdb.log")" != "$(sed -n 's/^\$7 = //p' "$tmp/gdb.log")" ] || { fail 'both vCPUs have the same GS base'; continue; }

      # A debugger that stays is told of the end.
      debug 'echo READY\n' 'continue'
      for n in $(seq 300); do grep -q '^READY' "$tmp/gdb.log" && break; sleep 0.1; done
      off || continue
      wait "$debugger"
      said 'Inferior 1 .*exited normally' && pass ;;
    hvmloader)
      # Xen's own loader starts SeaBIOS, which starts a boot loader from the disk.
      package xen-utils-4.17 usr/lib/xen-4.17/boot/hvmloader || { skip "$file"; continue; }
      boot --firmware "$file" --cpus 2 --disk "$(image disk.img),snapshot" --log
      for n in $(seq 600); do grep -q 'Booting from 0000:7c00' "$tmp/$guest.err" && break; sleep 0.1; done
      cp "$tmp/$guest.err" "$tmp/$guest.log"
      missing=
      for line in 'Detected Xen v4.17' 'System requested SeaBIOS' 'CPU speed is 1000 MHz' 'CPU1 ... ' 'Loading ACPI' 'Invoking SeaBIOS' 'Found Xen hypervisor signature' 'Booting from 0000:7c00'; do
        grep -qF "$line" "$tmp/$guest.err" || missing="$missing, $line"
      done
      [ -z "$missing" ] || { fail "hvmloader does not say${missing#,}"; continue; }
      stop
      pass ;;
    *) echo "no guest $guest" >&2; exit 2 ;;
  esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
