# g: two guests at once, each with its own disk, reading and writing at the same time.
for n in 1 2; do
  dd if=/data/data.img of=/data/g$n.img bs=1M count=16 skip=$((n * 16)) 2>/dev/null
  [ $n = 1 ] && c=$CPU || c=$CPU2
  config g$n "$(direct)" "cpus=\"$c\"" "disk=[\"file:/data/g$n.img,hda,w\"]"
  start g$n
done
up g1 240
up g2 240
send g1 'rd hda 8'
one=$sent
send g2 'rd hda 8'
answer g2 "$sent" 180 || fail "second guest: $reply"
want 'sum of the second guest' "$reply" "$(file_sum /data/g2.img 8)"
answer g1 "$one" 180 || fail "first guest: $reply"
want 'sum of the first guest' "$reply" "$(file_sum /data/g1.img 8)"
send g1 'dd if=/dev/hda of=/dev/hda bs=1M count=4 seek=8 && sync'
one=$sent
must g2 'dd if=/dev/hda of=/dev/hda bs=1M count=4 seek=12 && sync' 180
answer g1 "$one" 180 || fail "first guest: $reply"
xlq destroy destroy g1
must g2 'rd hda 4' 60
xlq destroy destroy g2
want 'what the first guest wrote' "$(file_sum /data/g1.img 4 8)" "$(file_sum /data/data.img 4 16)"
want 'what the second guest wrote' "$(file_sum /data/g2.img 4 12)" "$(file_sum /data/data.img 4 32)"
rm /data/g1.img /data/g2.img
