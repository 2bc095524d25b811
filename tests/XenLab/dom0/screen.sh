# shot FILE [SECONDS]: the guest's picture by VNC. same FILE DATA [WIDTH HEIGHT]: it is these bytes.
shot() {
  seen=$(python3 /lab/dom0/screen.py vnc "$vnc_host" "$vnc_port" "$vnc_password" "$@" 2>&1) || fail "VNC: $(echo "$seen" | tail -1)"
  say "VNC: $seen"
}
same() { python3 /lab/dom0/screen.py same "$@" >"$OUT/same" 2>&1 || fail "$1: $(tail -1 "$OUT/same")"; }
# vnc_of DOMID: where xenstore says that its VNC server is
vnc_of() {
  vnc_host=$(xenstore-read "/local/domain/$1/console/vnc-listen" 2>/dev/null) || fail 'no vnc-listen in xenstore'
  vnc_port=$(xenstore-read "/local/domain/$1/console/vnc-port" 2>/dev/null) || fail 'no vnc-port in xenstore'
  vnc_password=$(xenstore-read "/local/domain/$1/console/vnc-pass" 2>/dev/null)
  say "VNC at $vnc_host $vnc_port, password '$vnc_password'"
}
# mapped PID: MiB of the guest that the device model has mapped
mapped() { awk '/\/dev\/xen\/privcmd/ { split($1, a, "-"); n += ("0x" a[2]) - ("0x" a[1]) } END { print int(n / 1048576) }' "/proc/$1/maps"; }

# pictures GUEST: exact pictures of its framebuffer, whose driver is loaded: one at a time, and one that changes while somebody looks. Leaves the
# last one's bytes in $OUT/wanted, and its sides and depth in $size.
pictures() {
  say '--- a picture in the framebuffer'
  must "$1" framebuffer 60
  size=$reply
  set -- "$1" $size
  # Linux 6.1 does not show what a write of exactly one line brought.
  eighth=$(($2 * $3 * $4 / 8 / 8))
  must "$1" "dd if=/dev/hda of=/dev/fb0 bs=$eighth count=8 2>/dev/null && sleep 1" 120
  dd if=/data/data.img of="$OUT/wanted" bs=$eighth count=8 2>/dev/null
  shot "$OUT/first.ppm"
  same "$OUT/first.ppm" "$OUT/wanted" $size
  say "--- RSS $(awk '/VmRSS/ { print $2 }' /proc/$pid/status) KiB, $(mapped "$pid") MiB of the guest mapped"

  say '--- it changes while somebody looks'
  python3 /lab/dom0/screen.py vnc "$vnc_host" "$vnc_port" "$vnc_password" "$OUT/second.ppm" 30 >"$OUT/watch" 2>&1 &
  watcher=$!
  sleep 5
  must "$1" 'dd if=/dev/hda of=/dev/fb0 bs=65536 count=5 skip=60 seek=12 2>/dev/null; dd if=/dev/hda of=/dev/fb0 bs=4 count=10 skip=7 seek=51 2>/dev/null' 60
  wait $watcher || fail "VNC: $(tail -1 "$OUT/watch")"
  say "VNC: $(cat "$OUT/watch")"
  dd if=/data/data.img of="$OUT/wanted" bs=65536 count=5 skip=60 seek=12 conv=notrunc 2>/dev/null
  dd if=/data/data.img of="$OUT/wanted" bs=4 count=10 skip=7 seek=51 conv=notrunc 2>/dev/null
  same "$OUT/second.ppm" "$OUT/wanted" $size
}

# typed GUEST: keys that are pressed in a VNC client arrive.
typed() {
  say '--- keys'
  must "$1" keys
  python3 /lab/dom0/screen.py type "$vnc_host" "$vnc_port" "$vnc_password" 'xen 4' >"$OUT/type" 2>&1 || fail "VNC: $(tail -1 "$OUT/type")"
  must "$1" 'sleep 1; keys_got'
  want 'key codes' "$reply" '45 18 49 57 5 28'
}

# web GUEST: xendm-web, which is published beside XenDM, has the guest's page: what it shows, the way to its VNC server, an exact screenshot.
web() {
  [ "$DM_NAME" != qemu ] || return 0
  [ -x "${DM%/*}/xendm-web" ] || fail 'there is no xendm-web beside the device model; src/publish.sh makes both'
  say '--- its page'
  "${DM%/*}/xendm-web" --guest "$1=/tmp/$1.qmp" --listen 0 >"$OUT/web.log" 2>&1 &
  server=$!
  for try in $(seq 100); do grep -q token= "$OUT/web.log" && break; sleep 0.2; done
  seen=$(python3 /lab/dom0/web.py "$(sed -n 's/^xendm-web: //p' "$OUT/web.log")" "$1" "$OUT/web.ppm" 2>&1) || fail "xendm-web: $(echo "$seen" | tail -1)"
  say "xendm-web, $(awk '/VmRSS/ { print $2 }' /proc/$server/status) KiB: $seen"
  kill $server
  same "$OUT/web.ppm" "$OUT/wanted" $size
}

# screen_guest NAME VGA DRIVER: a guest whose framebuffer DRIVER drives. It has no PV drivers: with them Linux switches its display off and on for a
# save, and the picture would not be the saved one.
screen_guest() {
  dd if=/data/data.img of="/data/$1.img" bs=1M count=16 2>/dev/null
  config "$1" "$(direct xen_nopv)" memory=176 "vga=\"$2\"" vnc=1 'vnclisten="127.0.0.1"' 'vncpasswd="sesame"' "device_model_args=[\"-qmp\", \"unix:/tmp/$1.qmp,server=on,wait=off\"]" "disk=[\"file:/data/$1.img,hda,w\"]"
  start "$1"
  pid=$(dm_pid "$domid")
  vnc_of "$domid"
  want 'password in xenstore' "$vnc_password" sesame
  want 'address' "$vnc_host" 127.0.0.1
  say "--- RSS $(awk '/VmRSS/ { print $2 }' /proc/$pid/status) KiB, $(mapped "$pid") MiB of the guest mapped"
  python3 /lab/dom0/screen.py vnc "$vnc_host" "$vnc_port" wrong "$OUT/no.ppm" >"$OUT/refused" 2>&1 && fail 'a wrong password is taken'
  up "$1" 240
  must "$1" "load $3 && disk hda" 60
  pictures "$1"
  python3 /lab/dom0/screen.py dump "/run/xen/qmp-libxl-$domid" "$OUT/dump.ppm" >"$OUT/dump" 2>&1 || fail "screendump: $(tail -1 "$OUT/dump")"
  same "$OUT/dump.ppm" "$OUT/wanted" $size
  web "$1"
  typed "$1"

  say '--- save and restore'
  xlq save save "$1" "$OUT/save"
  start "$1" "$OUT/save"
  rm "$OUT/save"
  pid=$(dm_pid "$domid")
  back "$1" 60
  vnc_of "$domid"
  shot "$OUT/restored.ppm"
  same "$OUT/restored.ppm" "$OUT/wanted" $size
  must "$1" 'dd if=/dev/hda of=/dev/fb0 bs=65536 count=8 2>/dev/null && sleep 1' 60
  dd if=/data/data.img of="$OUT/wanted" bs=65536 count=8 conv=notrunc 2>/dev/null
  shot "$OUT/again.ppm"
  same "$OUT/again.ppm" "$OUT/wanted" $size

  xlq destroy destroy "$1"
  dm_gone "$pid"
  rm "/data/$1.img"
  say "$(grep -h 'video memory' /var/log/xen/qemu-dm-$1.log*)"
  [ "$DM_NAME" = qemu ] || grep -q 'could not tell 0 times' /var/log/xen/qemu-dm-$1.log* || fail 'Xen did not tell what the guest wrote'
}
