# n1: an HVM guest with an e1000 and an rtl8139 (as a C+ chip), each on a bridge of dom0 through a tap that libxl's script attaches: ping, and a
# file each way over TCP, the sums right.
bridge xenbr0 10.9.0.1
bridge xenbr1 10.9.1.1
config n1 "$(direct)" 'vif=["mac=00:16:3e:00:00:10,bridge=xenbr0,model=e1000,type=ioemu", "mac=00:16:3e:00:00:11,bridge=xenbr1,model=rtl8139,type=ioemu"]'
start n1
up n1 240
must n1 'load e1000 8139cp' 240
for n in 0 1; do
  model=$(echo e1000 rtl8139 | cut -d' ' -f$((n + 1)))
  say "--- $model"
  must n1 "nic 00:16:3e:00:00:1$n 10.9.$n.2"
  say "$model is $reply"
  net_checks n1 "$model" 10.9.$n.1 50$((n * 10 + 10))
done
pid=$(dm_pid "$domid")
xlq destroy destroy n1
dm_gone "$pid"
[ ! -e "/sys/class/net/vif$domid.0-emu" ] || fail 'the tap is still there'
