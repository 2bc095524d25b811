#!/bin/bash
# run.sh XENDM [CHECK...] - clients that nobody here wrote (TigerVNC's viewer in a virtual X server, gtk-vnc's gvnccapture) look at guests on the embedded
# machine, type and move the mouse. The guest (guest.S) shows a picture that rfb.py knows too, so what a client shows is compared pixel by pixel. One
# line a check, PASS, FAIL or SKIP with the reason; then a count. The status is 0 when none failed. Installs the clients where that can be done.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { echo "usage: run.sh XENDM [CHECK...]" >&2; exit 2; }
xendm=$(realpath "$1")
shift
checks=("$@")
[ ${#checks[@]} -gt 0 ] || checks=(raw hextile zrle tight jpeg colours gtk keys mouse clipboard tls)
tmp=$(mktemp -d)
guest= viewer= server= passed=0 failed=0 skipped=0 check=
pass() { passed=$((passed + 1)); echo "PASS vnc $check"; }
fail() { failed=$((failed + 1)); echo "FAIL vnc $check: $*"; tail -3 "$tmp/viewer.log" 2>/dev/null | sed 's/^/    /'; }
skip() { skipped=$((skipped + 1)); echo "SKIP vnc $check: $*"; }
stop() { local p; for p; do [ -z "$p" ] || { kill "$p" && wait "$p"; } 2>/dev/null; done; }
cleanup() { stop "$viewer" "$guest" "$server"; rm -rf "$tmp"; }
trap cleanup EXIT
finish() { printf '%d passed, %d failed, %d skipped\n' $passed $failed $skipped; [ $failed = 0 ]; exit; }

want=()
for pair in xtigervncviewer:tigervnc-viewer gvnccapture:gvncviewer Xvfb:xvfb xdotool:xdotool xclip:xclip import:imagemagick openssl:openssl as:binutils; do
  command -v "${pair%%:*}" >/dev/null || want+=("${pair#*:}")
done
if [ ${#want[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  (apt-get update -qq && apt-get install -y -qq --no-install-recommends "${want[@]}") >/dev/null 2>&1
fi
for program in xtigervncviewer gvnccapture Xvfb xdotool xclip import openssl as; do
  command -v $program >/dev/null || { check=clients; skip "$program is not installed (${want[*]})"; finish; }
done

"$here/guest.sh" "$tmp/guest.img" || { check=guest; fail "its image cannot be made"; finish; }
python3 -c "import sys; sys.path.insert(0, '$here'); import rfb; sys.stdout.buffer.write(rfb.picture())" >"$tmp/picture.rgb"
Xvfb -noreset -displayfd 3 -screen 0 1024x768x24 -nolisten tcp 3>"$tmp/display" >"$tmp/xvfb.log" 2>&1 &
server=$!
for _ in $(seq 100); do [ -s "$tmp/display" ] && break; sleep 0.1; done
export DISPLAY=:$(cat "$tmp/display")
export VNC_PASSWORD=right4us

# until SECONDS COMMAND...: waits for it to be true.
until_true() {
  local end=$((SECONDS + $1))
  shift
  while [ $SECONDS -lt $end ]; do "$@" && return 0; sleep 0.2; done
  return 1
}
said() { grep -aqE "$1" "$tmp/guest.out"; }
# start ARGUMENTS...: a guest at its prompt. What it writes to its screen is also in guest.out, for SeaBIOS mirrors it to a serial line.
start() {
  stop "$guest"
  "$xendm" run --disk "$tmp/guest.img,snapshot" --memory 64M "$@" >"$tmp/guest.out" 2>"$tmp/guest.err" </dev/null &
  guest=$!
  until_true 60 said 'ready>' || { fail "the guest does not start"; cat "$tmp/guest.err"; return 1; }
  address=$(cat "$tmp/guest.out" "$tmp/guest.err" | grep -aoE 'VNC at [0-9.:]+' | head -1)
  port=${address##*:}
}
# view OPTIONS...: the viewer, whose window has the size of the guest's picture.
view() {
  stop "$viewer"
  xtigervncviewer -Shared -geometry 640x480+0+0 -DotWhenNoCursor=0 -RemoteResize=0 "$@" "localhost::$port" >"$tmp/viewer.log" 2>&1 &
  viewer=$!
  until_true 30 window || { fail "the viewer shows no window"; return 1; }
  # No window manager gives it the keyboard.
  xdotool windowfocus "$(xdotool search --onlyvisible --name XenDM | tail -1)" mousemove 300 200
}
window() { xdotool search --onlyvisible --name XenDM >/dev/null 2>&1; }
shot() { import -silent -window "$(xdotool search --onlyvisible --name XenDM | tail -1)" -crop 640x480+0+0 +repage -depth 8 "rgb:$1" 2>/dev/null; }
# different FILE: how many bytes differ from the guest's picture by more than $1.
different() {
  python3 - "$1" "$2" "$tmp/picture.rgb" <<'P'
import sys
bound, have, want = int(sys.argv[1]), open(sys.argv[2], 'rb').read(), open(sys.argv[3], 'rb').read()
print(len(want) if len(have) != len(want) else sum(abs(a - b) > bound for a, b in zip(have, want)))
P
}
shows() { shot "$tmp/shot.rgb" && [ "$(different "$1" "$tmp/shot.rgb")" -le "$2" ]; }
picture() { [ -n "${shown:-}" ] && return; start --object secret,id=word,data=$VNC_PASSWORD --vnc "127.0.0.1:1,to=99,lossy=on,password-secret=word" || return; view -PreferredEncoding=Raw -AutoSelect=0 || return; xdotool key --delay 100 p Return; shown=1; sleep 1; }

# The viewer's encodings: an exact picture. The checks of one guest come one after the other.
exact() {
  picture || return
  view -AutoSelect=0 -NoJPEG=1 -PreferredEncoding="$1" "${@:2}" || return
  if until_true 30 shows 0 0; then pass; else fail "$(different 0 "$tmp/shot.rgb") bytes of the picture differ"; fi
}

for check in "${checks[@]}"; do
  case $check in
    raw) exact Raw ;;
    hextile) exact Hextile ;;
    zrle) exact ZRLE ;;
    tight) exact Tight ;;
    jpeg)
      picture || continue
      view -AutoSelect=0 -PreferredEncoding=Tight -NoJPEG=0 -QualityLevel=9 || continue
      # The noise in the picture is what JPEG does worst; still most of it is close.
      if until_true 30 shows 48 60000; then
        if [ "$(different 0 "$tmp/shot.rgb")" -gt 1000 ]; then pass; else fail "the picture is exact: no JPEG was used"; fi
      else fail "$(different 48 "$tmp/shot.rgb") bytes of the picture differ by more than 48"; fi
      ;;
    colours)
      picture || continue
      # 8 colours, 64 and 256: what the viewer shows is as close as these colours are.
      ok=1
      for level in 0:128 1:43 2:43; do
        view -AutoSelect=0 -PreferredEncoding=ZRLE -FullColor=0 -LowColorLevel=${level%:*} || { ok=0; break; }
        until_true 30 shows ${level#*:} 0 || { fail "level ${level%:*}: $(different ${level#*:} "$tmp/shot.rgb") bytes differ by more than ${level#*:}"; ok=0; break; }
      done
      [ $ok = 1 ] && pass
      ;;
    gtk)
      start --vnc 127.0.0.1:1,to=99 || continue
      view -AutoSelect=0 -PreferredEncoding=ZRLE || continue
      xdotool key --delay 100 p Return
      until_true 30 shows 0 0 || { fail "the viewer does not show the picture"; continue; }
      if timeout 60 gvnccapture "127.0.0.1:$((port - 5900))" "$tmp/gtk.png" >"$tmp/viewer.log" 2>&1 && convert "$tmp/gtk.png" -depth 8 "rgb:$tmp/gtk.rgb"; then
        if [ "$(different 0 "$tmp/gtk.rgb")" = 0 ]; then pass; else fail "$(different 0 "$tmp/gtk.rgb") bytes of the picture differ"; fi
      else fail "it captures nothing"; fi
      shown=
      ;;
    keys)
      start --object secret,id=word,data=$VNC_PASSWORD --vnc 127.0.0.1:1,to=99,password-secret=word || continue
      shown=
      VNC_PASSWORD=wrong timeout 10 xtigervncviewer "127.0.0.1::$port" >"$tmp/viewer.log" 2>&1
      grep -qi 'auth' "$tmp/viewer.log" || { fail "a wrong password is not refused"; continue; }
      view || continue
      sleep 3
      xdotool type --delay 80 'Hello, Guest (42) $x = "y" | z!'
      xdotool key Return
      if until_true 20 said 'said: Hello, Guest \(42\) \$x = "y" \| z!'; then pass; else fail "the guest read $(grep -a 'said:' "$tmp/guest.out")"; fi
      ;;
    mouse)
      start --vnc 127.0.0.1:1,to=99 || continue
      shown=
      view || continue
      sleep 3
      xdotool key --delay 100 m Return
      # What it says is not mirrored while it has interrupts off.
      sleep 3
      for step in 1 2 3 4 5; do xdotool mousemove_relative 10 6; sleep 0.3; done
      xdotool mousedown 1; sleep 0.5; xdotool mouseup 1
      if until_true 20 said 'mouse moved [0-9]+ -[0-9]+'; then pass; else fail "the guest says $(grep -a 'mouse moved' "$tmp/guest.out")"; fi
      ;;
    clipboard)
      # Between the viewer, which knows the extended clipboard, and a client that does not.
      start --vnc 127.0.0.1:1,to=99 || continue
      shown=
      view || continue
      rm -f "$tmp/cut"
      timeout 60 python3 - "$here" "$port" "$tmp/cut" >"$tmp/viewer.log" 2>&1 <<'P' &
import sys
sys.path.insert(0, sys.argv[1])
import rfb
client = rfb.Client(('127.0.0.1', int(sys.argv[2])), [rfb.RAW])
open(sys.argv[3], 'w').close()
while client.cut is None: client.message()
open(sys.argv[3], 'w').write(client.cut)
client.put('zurück: é £')
while True: client.message()
P
      other=$!
      until_true 20 test -e "$tmp/cut"
      sleep 2
      printf 'Grüße, 5 Äpfel' | xclip -selection clipboard -in
      back() { [ "$(timeout 5 xclip -selection clipboard -out 2>/dev/null)" = 'zurück: é £' ]; }
      if ! until_true 20 test -s "$tmp/cut"; then fail "the other client gets nothing"
      elif [ "$(cat "$tmp/cut")" != 'Grüße, 5 Äpfel' ]; then fail "the other client gets $(cat "$tmp/cut")"
      elif until_true 20 back; then pass
      else fail "the viewer has $(timeout 5 xclip -selection clipboard -out)"; fi
      stop "$other"
      ;;
    tls)
      mkdir -p "$tmp/tls"
      (cd "$tmp/tls" && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca-key.pem -out ca-cert.pem \
        && openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server-key.pem -out server.csr \
        && printf 'subjectAltName=IP:127.0.0.1,DNS:localhost' >ext && openssl x509 -req -in server.csr -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile ext -out server-cert.pem) >"$tmp/viewer.log" 2>&1
      start --object "tls-creds-x509,id=tls,dir=$tmp/tls,endpoint=server,verify-peer=off" --object secret,id=word,data=$VNC_PASSWORD --vnc 127.0.0.1:1,to=99,tls-creds=tls,password-secret=word || continue
      shown=
      view -SecurityTypes=X509Vnc -X509CA="$tmp/tls/ca-cert.pem" -AutoSelect=0 -PreferredEncoding=Tight -NoJPEG=1 || continue
      xdotool key --delay 100 p Return
      if until_true 30 shows 0 0; then pass; else fail "$(different 0 "$tmp/shot.rgb") bytes of the picture differ"; fi
      ;;
    *) fail "there is no such check" ;;
  esac
done
finish
