# n2: a PV NIC that the device model serves (qnic), over the cable of its emulated e1000: a real tap and bridge. Ping,
# a file each way over TCP, carrier, and when it is taken away the e1000 has the cable again.
[ "$DM_NAME" = xendm ] || skip 'qemu-xen takes its cable from elsewhere'
bridge xenbr2 10.9.2.1
UNPLUG=unnecessary
config n2 "$(direct)" 'vif=["mac=00:16:3e:00:00:20,bridge=xenbr2,model=e1000,type=ioemu"]'
start n2
up n2 240
qnic "$domid" 00:16:3e:00:00:27 net0
must n2 'load xen-netfront && nic 00:16:3e:00:00:27 10.9.2.2' 120
say "the PV NIC is $reply"
device=${reply%% *}
want 'state of the backend' "$(xenstore-read "$back/state")" 4
want 'carrier' "$(xenstore-read "$back/carrier")" 1
net_checks n2 'the PV NIC' 10.9.2.1 5050

say '--- detach'
must n2 "ip link set $device down"
xenstore-write "$back/online" 0 "$back/state" 5
for i in $(seq 50); do [ "$(xenstore-read "$back/state" 2>/dev/null)" = 6 ] && break; sleep 0.2; done
want 'state of the backend' "$(xenstore-read "$back/state")" 6
# xl's own PV NIC has the same address as the emulated one, and the same driver as ours.
must n2 'for d in /sys/bus/xen/drivers/vif/vif-*; do echo "${d##*/}" >/sys/bus/xen/drivers/vif/unbind; done; load e1000 && nic 00:16:3e:00:00:20 10.9.2.3' 120
say "the emulated NIC is $reply"
must n2 'ping -c 3 -W 5 -q 10.9.2.1 | grep transmitted' 30
case $reply in *' 3 packets received'*) ;; *) fail "the emulated NIC: $reply" ;; esac
pid=$(dm_pid "$domid")
xlq destroy destroy n2
dm_gone "$pid"
