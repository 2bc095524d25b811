#!/bin/busybox sh
# The guest's init for tests/Web: a shell on the screen, and on the serial line what tests want to hear: UP, bytes of the mouse, CTRL-ALT-DEL.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for m in /mod/*.ko /web/*.ko; do insmod "$m" 2>/dev/null; done
# The kernel asks this process instead of resetting at once.
echo 0 >/proc/sys/kernel/ctrl-alt-del
trap 'echo CTRL-ALT-DEL >/dev/ttyS0' INT
for try in 1 2 3 4 5 6 7 8 9 10; do grep -qi mouse /proc/bus/input/devices && break; sleep 1; done
hexdump -v -e '"MOUSE" 3/1 " %02x" "\n"' /dev/input/mice >/dev/ttyS0 2>/dev/null &
# The cursor would blink between two looks at the screen.
printf '\033[?25l\033[2J\033[H' >/dev/tty1
PS1='screen# ' setsid -c sh </dev/tty1 >/dev/tty1 2>&1 &
echo UP >/dev/ttyS0
while :; do sleep 1; done
