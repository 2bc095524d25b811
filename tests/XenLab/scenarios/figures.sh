# figures: the same measurements on the device model under test and on qemu-xen, with nothing else running in the lab.
# Both device models have a guest; one of them runs while the other is paused, and they take turns, round by round. Of the rounds the best counts:
# whatever else the host does can only make a round slower. Asked for by name there are five rounds, among other scenarios two. One sequence after the other would give the second a dom0 at rest and warm caches.
figure() { echo "FIGURE $2 $1 $3"; say "FIGURE $2 $1 $3"; }
memory() { awk -v k="$2:" '$1 == k { print $2 }' "/proc/$1/smaps_rollup"; }
best() { printf '%s\n' "$@" | sort -n | sed -n '$p'; }
least() { printf '%s\n' "$@" | sort -n | sed -n 1p; }
cpu_secs() { awk '{ print ($14 + $15) / 100 }' "/proc/$1/stat"; }
# note NAME FIGURE VALUE appends to the values of a figure; values NAME FIGURE gives them back.
note() { echo "$3" >>"$OUT/$1.$2"; say "$1 $2 $3"; }
values() { cat "$OUT/$1.$2"; }

names=$DM_NAME
[ "$DM_NAME" = qemu ] || names="$DM_NAME qemu"
truncate -s 64M /data/figures.img
xenstore-watch -n 200 /local/domain/0/device-model 2>/dev/null | while read -r path; do
  read -r t _ </proc/uptime
  case $path in */state) [ "$(xenstore-read "$path" 2>/dev/null)" = running ] && [ ! -e "$OUT/running" ] && echo "$t" >"$OUT/running" ;; esac
done &
watch=$!

for n in $names; do
  [ "$n" = qemu ] && DM=$QEMU
  # Between xl and the device model stands a script that notes the time and becomes the device model. The disks' PV side is left to the device
  # model: for a block device or a loop device libxl would run its script, 3 seconds of shell here, and the figure would be the script's.
  printf '#!/bin/sh\nread -r t _ </proc/uptime\necho "$t" >%s\nexec %s "$@"\n' "$OUT/exec" "$DM" >"$OUT/dm-$n"
  chmod 755 "$OUT/dm-$n"
  config "figures-$n" "$(direct)" "device_model_override=\"$OUT/dm-$n\"" \
    'disk=["format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/data/data.img","format=raw,vdev=hdb,access=rw,backendtype=qdisk,target=/data/figures.img"]'
done

# The start, up to three times; the guest of the last time stays.
started() {
  for i in 1 2 3 4 5 6 7 8 9 10; do [ -s "$OUT/running" ] && break; sleep 0.1; done
  note "$n" exec-to-running-s "$(calc "$(cat "$OUT/running") - $(cat "$OUT/exec")")"
}
starts=$((ROUNDS < 3 ? ROUNDS : 3))
for round in $(seq $starts); do
  for n in $names; do
    g=figures-$n
    rm -f "$OUT/exec" "$OUT/running"
    if [ $round -lt $starts ]; then
      t0=$(now)
      xlq create create -p "$OUT/$g.cfg"
      note "$n" xl-create-s "$(calc "$(now) - $t0")"
      started
      pid=$(dm_pid "$(xl domid "$g")")
      xlq destroy destroy "$g"
      dm_gone "$pid"
      continue
    fi
    start "$g"
    note "$n" xl-create-s "$create_secs"
    started
    pid=$(dm_pid "$domid")
    echo "$domid" >"$OUT/$n.domid"
    echo "$pid" >"$OUT/$n.pid"
    # The guest has run for a moment only, in hvmloader.
    note "$n" rss-idle-kib "$(memory "$pid" Rss)"
    note "$n" pss-idle-kib "$(memory "$pid" Pss)"
    up "$g" 300
    note "$n" boot-to-shell-s "$boot_secs"
    note "$n" dm-cpu-for-boot-s "$(cpu_secs "$pid")"
    must_use_dma "$g"
    must "$g" 'disk hda hdb'
    xlq pause pause "$g"
  done
done
kill $watch

for round in $(seq "$ROUNDS"); do
  for n in $names; do
    g=figures-$n
    xlq unpause unpause "$g"
    must "$g" 'secs dd if=/dev/hda of=/dev/null bs=1M count=64 iflag=direct' 240
    note "$n" ide-read-mib-per-s "$(calc "64 / $reply")"
    must "$g" 'secs dd if=/dev/zero of=/dev/hdb bs=1M count=64 oflag=direct conv=fsync' 240
    note "$n" ide-write-mib-per-s "$(calc "64 / $reply")"
    must "$g" 'secs dd if=/dev/hda of=/dev/null bs=4k count=300 iflag=direct' 120
    note "$n" ide-4k-reads-per-s "$(calc "300 / $reply" 0)"
    must "$g" 'secs pio 1014 2000' 120
    note "$n" pio-reads-per-s "$(calc "2000 / $reply" 0)"
    xlq pause pause "$g"
    state=$(python3 /lab/dom0/qmp.py "/run/xen/qmp-libxl-$(cat "$OUT/$n.domid")" "$OUT/state" 2>&1) || fail "device state: $state"
    note "$n" state-bytes "${state% *}"
    note "$n" state-ms "${state#* }"
    rm -f "$OUT/state"
  done
done

for n in $names; do
  pid=$(cat "$OUT/$n.pid")
  note "$n" rss-after-kib "$(memory "$pid" Rss)"
  note "$n" pss-after-kib "$(memory "$pid" Pss)"
  for f in xl-create-s exec-to-running-s boot-to-shell-s dm-cpu-for-boot-s rss-idle-kib pss-idle-kib rss-after-kib pss-after-kib state-bytes state-ms; do
    figure "$n" $f "$(least $(values "$n" $f))"
  done
  for f in ide-read-mib-per-s ide-write-mib-per-s ide-4k-reads-per-s pio-reads-per-s; do figure "$n" $f "$(best $(values "$n" $f))"; done
  xlq destroy destroy "figures-$n"
  dm_gone "$pid"
done
rm /data/figures.img
