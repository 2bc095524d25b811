# n1: an HVM guest with an e1000 and an rtl8139 (as a C+ chip), each on a bridge of dom0 through a tap that libxl's script attaches: ping, and a
# file each way over TCP, the sums right.
kib=1024
bridge() {
  ip link show "$1" >/dev/null 2>&1 || ip link add "$1" type bridge || fail "no bridge in dom0"
  ip link set "$1" up && ip addr replace "$2/24" dev "$1"
}
bridge xenbr0 10.9.0.1
bridge xenbr1 10.9.1.1
mkfifo "$OUT/never"
dd if=/data/data.img of="$OUT/file" bs=1024 count=$kib 2>/dev/null
sum=$(md5sum <"$OUT/file" | cut -c1-32)
config n1 "$(direct)" 'vif=["mac=00:16:3e:00:00:10,bridge=xenbr0,model=e1000,type=ioemu", "mac=00:16:3e:00:00:11,bridge=xenbr1,model=rtl8139,type=ioemu"]'
start n1
up n1 240
must n1 'load e1000 8139cp && mkfifo /tmp/never' 240
for n in 0 1; do
  model=$(echo e1000 rtl8139 | cut -d' ' -f$((n + 1)))
  say "--- $model"
  must n1 "nic 00:16:3e:00:00:1$n 10.9.$n.2"
  say "$model is $reply"
  must n1 "ping -c 3 -W 5 -q 10.9.$n.1 | grep transmitted" 30
  case $reply in *' 3 packets received'*) ;; *) fail "$model: $reply" ;; esac

  # From dom0 to the guest, then back. nc ends at the first end of file that it sees on the net, so an end that only receives keeps its input open.
  busybox nc -l -p 500$n <"$OUT/file" 2>>"$OUT/nc.log" >/dev/null &
  t0=$(now)
  must n1 "nc 10.9.$n.1 500$n <>/tmp/never >/tmp/file && md5sum </tmp/file | cut -c1-32" 200
  want "$model: what the guest received" "$reply" "$sum"
  say "$model receives $(calc "$kib / ($(now) - $t0)" 0) KiB/s"
  busybox nc -l -p 501$n <>"$OUT/never" >"$OUT/back" 2>>"$OUT/nc.log" &
  t0=$(now)
  must n1 "nc 10.9.$n.1 501$n </tmp/file" 200
  wait
  want "$model: what dom0 received" "$(md5sum <"$OUT/back" | cut -c1-32)" "$sum"
  say "$model sends $(calc "$kib / ($(now) - $t0)" 0) KiB/s"
done
rm -f "$OUT/file" "$OUT/back" "$OUT/never"
pid=$(dm_pid "$domid")
xlq destroy destroy n1
dm_gone "$pid"
[ ! -e "/sys/class/net/vif$domid.0-emu" ] || fail 'the tap is still there'
