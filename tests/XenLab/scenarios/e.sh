# e: a guest without PV drivers under xl's management: pause, CD change, NMI, save, restore and migration in the middle of disk I/O, shutdown
# through the ACPI power button. Without PV drivers the guest cannot quiesce its disks before it is suspended, so requests are in flight.
cp /data/data.img /data/e.img
truncate -s 64M /data/e-write.img
dd if=/data/data.img of=/data/cd1.img bs=1M count=2 2>/dev/null
dd if=/data/data.img of=/data/cd2.img bs=1M count=4 skip=8 2>/dev/null
config e "$(direct xen_nopv)" 'disk=["file:/data/e.img,hda,w","file:/data/e-write.img,hdb,w","file:/data/cd1.img,hdc:cdrom,r"]'
start e
up e 240
must_use_dma e

say '--- pause'
xlq pause pause e
case $(xl list e | tail -1) in *" "??p???" "*) ;; *) fail 'xl list does not show the guest paused' ;; esac
send e up
answer e "$sent" 3 && fail 'a paused guest answered'
xlq unpause unpause e
answer e "$sent" 30 || fail 'no answer after unpause'

say '--- CD'
cd_is() { # SUM SECTORS: the guest sees this medium
  for i in 1 2 3 4 5 6; do
    ask e 'rd sr0 2; cat /sys/block/sr0/size' 40
    [ "$reply" = "$1 $2" ] && return
    sleep 1
  done
  fail "the guest sees another CD: '$reply', expected '$1 $2'"
}
cd_is "$(file_sum /data/cd1.img 2)" 4096
xlq cd-eject cd-eject e hdc
ask e 'dd if=/dev/sr0 of=/dev/null bs=2048 count=1' 40 && fail 'the guest still reads the ejected CD'
case $reply in *"o medium"*) ;; *) fail "after cd-eject the guest sees: $reply" ;; esac
xlq cd-insert cd-insert e hdc /data/cd2.img
cd_is "$(file_sum /data/cd2.img 2)" 8192

say '--- NMI'
must e "awk '/NMI/ { print \$2 }' /proc/interrupts"
before=$reply
xlq trigger trigger e nmi 0
must e "awk '/NMI/ { print \$2 }' /proc/interrupts"
[ "$reply" -gt "$before" ] || fail "xl trigger nmi: the guest counts $reply NMIs, $before before it"

say '--- save and restore in the middle of I/O'
must e 'io_start hda hdb'
progress() { # waits until both jobs have got on by a piece since the last call
  for i in $(seq 60); do
    ask e io_state 30
    case $reply in *[!0-9\ ]*) fail "the I/O jobs say: $reply" ;; esac
    set -- $reply
    [ $# = 4 ] && [ "$2 $4" != "0 0" ] && { ask e 'tail -2 /tmp/wrong'; fail "wrong pieces: $reply"; }
    [ $# = 4 ] && [ "$1" -gt "${reads:-0}" ] && [ "$3" -gt "${writes:-0}" ] && { reads=$1 writes=$3; return; }
    sleep 1
  done
  fail "disk I/O does not go on: $reply"
}
progress
t0=$(now)
xlq save save e "$OUT/save"
say "xl save took $(calc "$(now) - $t0") s, $(($(stat -c %s "$OUT/save") / 1048576)) MiB"
start e "$OUT/save"
rm "$OUT/save"
progress

say '--- migration in the middle of I/O'
t0=$(now)
xlq migrate migrate -s '' e 'xl migrate-receive'
say "xl migrate took $(calc "$(now) - $t0") s"
[ "$(xl domid e)" != "$domid" ] || fail 'xl migrate left the same domain'
domid=$(xl domid e)
attach e "$domid"
progress
must e io_stop 120
set -- $reply
written=$3
want 'wrong pieces read and written' "$2 $4" '0 0'
must e 'rd hda' 240
want 'sum of the data disk' "$reply" "$(data_sum)"
cd_is "$(file_sum /data/cd2.img 2)" 8192

say '--- shutdown through ACPI'
must e watch_button
pid=$(dm_pid "$domid")
xlq shutdown shutdown -F e
gone e 90
dm_gone "$pid"
mib=$((written < 16 ? written * 4 : 64))
want "sum of the $mib MiB written" "$(file_sum /data/e-write.img $mib)" "$(file_sum /data/data.img $mib)"
rm /data/e.img /data/e-write.img
