# figures: the same measurements on the device model under test and on qemu-xen, one after the other and with nothing else running.
figure() { echo "FIGURE $1 $DM_NAME $2"; say "FIGURE $1 $DM_NAME $2"; }
memory() { awk -v k="$2:" '$1 == k { print $2 }' "/proc/$1/smaps_rollup"; }
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
cpu_secs() { awk '{ print ($14 + $15) / 100 }' "/proc/$1/stat"; }

measure() {
  g=figures-$DM_NAME
  truncate -s 64M /data/figures.img
  # Between xl and the device model stands a script that notes the time and becomes the device model.
  printf '#!/bin/sh\nread -r t _ </proc/uptime\necho "$t" >%s\nexec %s "$@"\n' "$OUT/exec" "$DM" >"$OUT/dm"
  chmod 755 "$OUT/dm"
  config "$g" "$(direct)" "device_model_override=\"$OUT/dm\"" 'disk=["file:/data/data.img,hda,w","file:/data/figures.img,hdb,w"]'
  rm -f "$OUT/exec" "$OUT/running"
  xenstore-watch -n 60 /local/domain/0/device-model 2>/dev/null | while read -r path; do
    read -r t _ </proc/uptime
    case $path in */state) [ "$(xenstore-read "$path" 2>/dev/null)" = running ] && { echo "$t" >"$OUT/running"; break; } ;; esac
  done &
  start "$g"
  pid=$(dm_pid "$domid")
  figure xl-create-s "$create_secs"
  figure exec-to-running-s "$(calc "$(cat "$OUT/running") - $(cat "$OUT/exec")")"
  # The guest has run for a moment only, in hvmloader.
  figure rss-idle-kib "$(memory "$pid" Rss)"
  figure pss-idle-kib "$(memory "$pid" Pss)"
  up "$g" 300
  figure boot-to-shell-s "$boot_secs"
  figure dm-cpu-for-boot-s "$(cpu_secs "$pid")"
  must_use_dma "$g"
  must "$g" "disk hda hdb"
  r= w= p= q=
  for i in 1 2 3; do
    must "$g" 'secs dd if=/dev/hda of=/dev/null bs=1M count=64 iflag=direct' 120
    r="$r $(calc "64 / $reply")"
    must "$g" 'secs dd if=/dev/zero of=/dev/hdb bs=1M count=64 oflag=direct conv=fsync' 120
    w="$w $(calc "64 / $reply")"
    must "$g" 'secs dd if=/dev/hda of=/dev/null bs=4k count=300 iflag=direct' 120
    q="$q $(calc "300 / $reply" 0)"
    must "$g" 'secs pio 1014 2000' 60
    p="$p $(calc "2000 / $reply" 0)"
  done
  figure ide-read-mib-per-s "$(median $r)"
  figure ide-write-mib-per-s "$(median $w)"
  figure ide-4k-reads-per-s "$(median $q)"
  figure pio-reads-per-s "$(median $p)"
  figure rss-after-kib "$(memory "$pid" Rss)"
  figure pss-after-kib "$(memory "$pid" Pss)"
  xlq pause pause "$g"
  sizes= times=
  for i in 1 2 3; do
    state=$(python3 /lab/dom0/qmp.py "/run/xen/qmp-libxl-$domid" "$OUT/state" 2>&1) || fail "device state: $state"
    times="$times ${state#* }"
  done
  figure state-bytes "${state% *}"
  figure state-ms "$(median $times)"
  rm -f "$OUT/state"
  xlq destroy destroy "$g"
  dm_gone "$pid"
}
measure
[ "$DM_NAME" = qemu ] || { DM=$QEMU DM_NAME=qemu; measure; }
