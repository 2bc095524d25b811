# e2: a guest with PV drivers beside its emulated disk: reboot from inside, save and restore with its cooperation, power button, xl destroy.
dd if=/data/data.img of=/data/e2.img bs=1M count=8 2>/dev/null
sum=$(file_sum /data/e2.img 8)
config e2 "$(direct)" 'disk=["file:/data/e2.img,hda,w"]' 'on_reboot="restart"'
start e2
up e2 240
old=$domid
pid=$(dm_pid "$old")

say '--- reboot'
send e2 'reboot -f'
for i in $(seq 200); do
  domid=$(xl domid e2 2>/dev/null || echo "$old")
  [ "$domid" != "$old" ] && [ -n "$(tty_of e2 "$domid")" ] && break
  sleep 0.3
done
[ "$domid" != "$old" ] || fail 'the guest did not come back after its reboot'
attach e2 "$domid"
back e2 240
must e2 'rd hda 8' 120
want 'sum after the reboot' "$reply" "$sum"
dm_gone "$pid"

say '--- save and restore'
xlq save save e2 "$OUT/save"
start e2 "$OUT/save"
rm "$OUT/save"
back e2 60
must e2 'rd hda 8' 120
want 'sum after the restore' "$reply" "$sum"

say '--- power button'
must e2 watch_button
pid=$(dm_pid "$domid")
xlq trigger trigger e2 power
gone e2 90
dm_gone "$pid"
rm /data/e2.img
