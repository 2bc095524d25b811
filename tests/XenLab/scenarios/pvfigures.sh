# pvfigures: 4 KiB requests per second of a guest, in order and at random places, one at a time and 32, through the emulated IDE disk and through the
# PV disk (xen-blkfront on backendtype=qdisk), of the device model under test and of qemu-xen. They take turns as in figures; the best round counts.
names=$DM_NAME
[ "$DM_NAME" = qemu ] || names="$DM_NAME qemu"
UNPLUG=unnecessary
for n in $names; do
  [ "$n" = qemu ] && DM=$QEMU
  for disk in ide pv; do dd if=/dev/zero of="/data/pvf-$n-$disk.img" bs=1M count=64 2>/dev/null; done
  config "pvf-$n" "$(direct)" "device_model_override=\"$DM\"" "disk=[\"$(qdisk hda "/data/pvf-$n-ide.img")\", \"$(qdisk xvdf "/data/pvf-$n-pv.img")\"]"
  start "pvf-$n"
  dm_pid "$domid" >"$OUT/$n.pid"
  up "pvf-$n" 300
  must_use_dma "pvf-$n"
  must "pvf-$n" 'disk hda && pv xvdf'
  xlq pause pause "pvf-$n"
done

figures=
for round in 1 2 3; do
  for n in $names; do
    xlq unpause unpause "pvf-$n"
    for disk in ide pv; do
      [ $disk = ide ] && device=hda || device=xvdf
      for way in read write; do
        for order in sequential random; do
          for depth in 1 32; do
            must "pvf-$n" "qd /dev/$device $(echo $way | cut -c1) $(echo $order | cut -c1) $depth 1000" 60
            f=$disk-$order-$way-depth-$depth-per-s
            case " $figures " in *" $f "*) ;; *) figures="$figures $f" ;; esac
            echo "$reply" >>"$OUT/$n.$f"
          done
        done
      done
    done
    cpu=$(awk '{ print ($14 + $15) / 100 }' "/proc/$(cat "$OUT/$n.pid")/stat")
    say "$n: $cpu s of dom0's CPU time so far"
    xlq pause pause "pvf-$n"
  done
done

for n in $names; do
  for f in $figures; do
    echo "FIGURE $f $n $(sort -n "$OUT/$n.$f" | tail -1)"
  done
  pid=$(cat "$OUT/$n.pid")
  xlq destroy destroy "pvf-$n"
  dm_gone "$pid"
  rm "/data/pvf-$n-ide.img" "/data/pvf-$n-pv.img"
done
