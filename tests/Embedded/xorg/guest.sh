# What the test asks of the guest: X.Org in the file system at /x, which is this script's, and pictures of its screen on the disk xvdb.
x() { HOME=/tmp DISPLAY=:0 PATH=/usr/bin:/bin chroot /x "$@"; }
x_mount() {
  mount -t proc proc /x/proc && mount -t sysfs sys /x/sys && mount -t tmpfs tmp /x/tmp && mount -t devtmpfs dev /x/dev && mkdir -p /dev/pts && mount -t devpts pts /x/dev/pts || return
  for device in /sys/class/input/event*; do
    case $(cat "$device/device/name") in
      *eyboard*) ln -sf "input/${device##*/}" /dev/keyboard ;;
      *Mouse*) ln -sf "input/${device##*/}" /dev/mouse ;;
    esac
  done
  ls /dev/keyboard /dev/mouse >/dev/null
}
# x_start SCREEN DEPTH: begins X with that screen of its configuration, and waits until it takes clients.
x_start() {
  rm -f /x/tmp/x.log /x/tmp/typed
  (x Xorg :0 vt1 -screen "$1" -depth "$2" -config /etc/X11/xorg.conf -logfile /tmp/x.log -nolisten tcp -noreset -retro >/x/tmp/out 2>&1; echo "$?" >/x/tmp/ended) >/dev/null 2>&1 &
  for try in $(seq 300); do
    [ ! -S /x/tmp/.X11-unix/X0 ] || ! x xset q >/dev/null 2>&1 || return 0
    [ ! -e /x/tmp/ended ] || break
    sleep 0.2
  done
  grep '(EE)' /x/tmp/x.log | grep -v dbus-core | cut -c1-100
  return 1
}
x_stop() {
  rm -f /x/tmp/ended
  read -r server </x/tmp/.X0-lock && kill "$server" || return
  for try in $(seq 100); do [ ! -e /x/tmp/ended ] || break; sleep 0.2; done
  cat /x/tmp/ended
  rm /x/tmp/ended
}
x_draw() { x sh /etc/X11/draw.sh >/x/tmp/draw.log 2>&1 || { cat /x/tmp/draw.log; return 1; }; }
# x_pointer X Y: waits until X's pointer is at that place.
x_pointer() {
  for try in $(seq 50); do
    place=$(echo $(x xinput query-state mouse | sed -n 's/.*valuator\[[01]\]=//p'))
    [ "$place" != "$1 $2" ] || return 0
    sleep 0.1
  done
  echo "the pointer is at $place, not at $1 $2"
  return 1
}
# x_picture X Y: writes what X believes to show to the disk when its pointer is there.
x_picture() { x_pointer "$1" "$2" && x xwd -root -silent >/x/tmp/screen.xwd && dd if=/x/tmp/screen.xwd of=/dev/xvdb bs=64k conv=fsync 2>/dev/null; }
# console: twenty lines on the console, without a cursor; X leaves one behind the kernel's back, which takes only one away that it set itself.
console() { printf '\033[2J\033[H\033[?25h' >/dev/tty1 && printf '\033[?25l' >/dev/tty1 && seq 20 >/dev/tty1 && sleep 1; }
