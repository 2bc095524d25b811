# Draws with X's own programs: tiles, text that scrolls, copies within the screen, shapes, smooth edges, and an image.
xsetroot -cursor /etc/X11/pointer.xbm /etc/X11/mask.xbm -fg yellow -bg green
xsetroot -bitmap /etc/X11/pointer.xbm -fg orange -bg navy
xterm -geometry 60x20+40+40 -e sh -c 'cd /tmp; seq 300; exec sh' &
xeyes -geometry 200x150+600+100 &
xlogo -geometry 200x200+500+400 &
x11perf -repeat 1 -reps 5 -scroll100 -copywinwin100 -copypixwin100 -putimage100 || exit
for try in $(seq 50); do
  xwd -name xlogo -silent >/tmp/logo.xwd && break
  sleep 0.2
done
xwud -in /tmp/logo.xwd -geometry +100+500 &
