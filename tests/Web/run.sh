#!/bin/bash
# run.sh XENDM XENDM-WEB [SCENARIO...] - a guest's page in headless Chromium: noVNC shows the guest's screen, takes keys and the mouse to it, and the
# buttons do what they say. Scenarios: xendm (xendm run --web), list (two guests, one of which ends), qemu (the same page before qemu-system-x86_64).
# One line a scenario, PASS, FAIL or SKIP with the reason; then a count. The status is 0 when none failed. Screenshots are kept in $ARTIFACTS, which is
# ~/.cache/xendm/artifacts/web unless set. What is missing is installed from Debian's packages when this is root.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || { echo "usage: run.sh XENDM XENDM-WEB [SCENARIO...]" >&2; exit 2; }
xendm=$(realpath "$1") web=$(realpath "$2")
shift 2
scenarios=("$@")
[ ${#scenarios[@]} -gt 0 ] || scenarios=(xendm list qemu)
export PATH=$PATH:/usr/sbin:/sbin DEBIAN_FRONTEND=noninteractive
artifacts=${ARTIFACTS:-${XENDM_CACHE:-$HOME/.cache/xendm}/artifacts/web}
mkdir -p "$artifacts"
passed=0 failed=0 skipped=0
finish() { printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"; [ "$failed" = 0 ]; exit; }

want=()
command -v chromium >/dev/null || want+=(chromium)
command -v python3 >/dev/null || want+=(python3)
command -v cpio >/dev/null || want+=(cpio)
command -v debugfs >/dev/null || want+=(e2fsprogs)
[ -e /usr/share/seabios/bios-256k.bin ] || want+=(seabios)
[ -e /usr/share/seabios/vgabios-stdvga.bin ] || want+=(seabios)
if [ ${#want[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${want[@]}"; } >/dev/null 2>&1 || echo "could not install: ${want[*]}"
fi
for program in chromium python3 cpio debugfs; do
  command -v $program >/dev/null || { for s in "${scenarios[@]}"; do echo "SKIP web-$s: $program is not installed"; skipped=$((skipped + 1)); done; finish; }
done

lab=$("$here/../XenLab/build.sh") || { echo "FAIL web: the guest's kernel could not be made"; failed=1; finish; }
modules=$(ls -td "${XENDM_CACHE:-$HOME/.cache/xendm}"/xenlab-host-*/modules/*/ 2>/dev/null | head -1)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for file in vmlinuz initramfs; do debugfs -R "dump /$file $tmp/$file" "$lab/data.ext4" 2>/dev/null; done
# The guest of the lab with a mouse, and with an init that has its shell on the screen.
mkdir -p "$tmp/root/web"
"$here/../XenLab/image/modules.sh" "${modules%/}" "$tmp/root/web" psmouse || { echo "FAIL web: there is no mouse driver"; failed=1; finish; }
install -m755 "$here/init.sh" "$tmp/root/web.sh"
{ cat "$tmp/initramfs"; (cd "$tmp/root" && find . | cpio -oH newc --quiet | gzip -1); } >"$tmp/initrd"
for scenario in "${scenarios[@]}"; do
  if [ "$scenario" = qemu ] && ! command -v qemu-system-x86_64 >/dev/null; then echo "SKIP web-qemu: qemu-system-x86_64 is not installed"; skipped=$((skipped + 1)); continue; fi
  mkdir "$tmp/$scenario"
  if timeout -k 10 600 python3 "$here/drive.py" "$scenario" "$xendm" "$web" "$tmp" >"$tmp/$scenario.log" 2>&1; then
    echo "PASS web-$scenario: $(tail -1 "$tmp/$scenario.log")"
    passed=$((passed + 1))
  else
    echo "FAIL web-$scenario: $(tail -1 "$tmp/$scenario.log")"
    tail -40 "$tmp/$scenario.log" | sed 's/^/    /'
    failed=$((failed + 1))
  fi
  cp "$tmp/$scenario"/*.png "$artifacts/" 2>/dev/null
done
finish
