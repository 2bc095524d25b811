#!/bin/bash
# run.sh [--dm XENDM | --qemu] [--by-hand] [--keep FOLDER] [SCENARIO...]
# Boots real Xen with a dom0 in software and runs scenarios on a device model there: XENDM (the program, or the folder it was published to), or
# qemu-xen. Prints PASS, FAIL or SKIP for each and a count at the end; the status is 0 when nothing failed. XENLAB_ROUNDS is how often the figures
# are taken: 5 by themselves, 1 beside others. See README.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PATH=$PATH:/usr/sbin:/sbin
usage() { echo "usage: run.sh [--dm XENDM | --qemu] [--by-hand] [--keep FOLDER] [SCENARIO...]" >&2; exit 2; }
dm= hand= keep= names=()
while [ $# -gt 0 ]; do
  case $1 in
    --dm) [ $# -ge 2 ] || usage; dm=$2; shift ;;
    --qemu) dm=qemu ;;
    --by-hand) hand=1 ;;
    --keep) [ $# -ge 2 ] || usage; keep=$2; shift ;;
    -*) usage ;;
    *) [ -f "$here/scenarios/$1.sh" ] || { echo "no scenario $1; there are:" $(cd "$here/scenarios" && ls *.sh | sed 's/\.sh//') >&2; exit 2; }; names+=("$1") ;;
  esac
  shift
done
[ -n "$dm" ] || { echo 'run.sh: say which device model: --dm XENDM or --qemu' >&2; exit 2; }
[ "$dm" = qemu ] || [ -e "$dm" ] || { echo "run.sh: $dm does not exist" >&2; exit 2; }
[ ${#names[@]} -gt 0 ] || names=(a b c d e e2 f g h p1 p2 s n1 n2 v1 v2 v3 v4 figures)
[ -z "$hand" ] || [ ${#names[@]} = 1 ] || { echo 'run.sh: --by-hand takes one scenario' >&2; exit 2; }
lab=$("$here/build.sh")

tmp=$(mktemp -d "${TMPDIR:-/tmp}/xenlab.XXXXXX")
vm=
cleanup() {
  # timeout passes the signal on to the machine.
  [ -z "$vm" ] || { kill "$vm" 2>/dev/null && wait "$vm" 2>/dev/null; } || true
  rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# The payload disk: the scripts, the device model, and what is asked for.
p=$tmp/payload
mkdir "$p"
cp -r "$here/dom0" "$here/scenarios" "$here/guest" "$p/"
cp "$lab/sums" "$p/"
qemu=/usr/libexec/xen-qemu-system-i386
if [ "$dm" = qemu ]; then
  path=$qemu name=qemu
else
  mkdir "$p/dm"
  if [ -d "$dm" ]; then cp -r "$dm/." "$p/dm/"; else cp "$dm" "$p/dm/xendm"; cp "$(dirname "$dm")"/{*.so,xendm-web} "$p/dm/" 2>/dev/null || true; fi
  rm -f "$p"/dm/*.dbg "$p"/dm/*.pdb
  path=/lab/dm/xendm name=xendm
fi
cpus=3
[ "$(nproc)" -lt 4 ] || cpus=4
# Two scenarios run at a time, the longest first; these run by themselves, because they measure.
shared=() alone=()
for s in e v1 v3 v4 p1 a e2 g n1 n2 v2 b f p2 s d c; do case " ${names[*]} " in *" $s "*) shared+=("$s") ;; esac; done
for s in "${names[@]}"; do case " ${shared[*]:-} " in *" $s "*) ;; *) alone+=("$s") ;; esac; done
cat >"$p/request" <<R
DM=$path
DM_NAME=$name
QEMU=$qemu
HAND=$hand
ROUNDS=${XENLAB_ROUNDS:-$([ ${#names[@]} = 1 ] && echo 5 || echo 1)}
APPEND="${XENLAB_APPEND:-}"
SHARED="${shared[*]:-}"
ALONE="${alone[*]:-}"
CPU_A=$((cpus - 2))
CPU_B=$((cpus - 1))
R
truncate -s $(( $(du -sm "$p" | cut -f1) * 5 / 4 + 16 ))M "$tmp/payload.ext4"
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$p" "$tmp/payload.ext4"
truncate -s 64M "$tmp/out.tar"

# The CPU model matters. QEMU's TCG gives Xen SVM with nested paging; MONITOR, SMAP, SMEP and RDTSCP must be off (Xen crashes on MONITOR, a PV
# dom0 dies of SMAP and SMEP, and without a next-RIP save an RDTSCP intercept is repeated for ever).
limit=$((300 + 420 * ${#names[@]}))
[ $limit -lt 2400 ] || limit=2400
[ -z "$hand" ] || limit=86400
boot() { # the lab's machine; COM2 is on standard input and output
  exec timeout "$@" -k 5 $limit qemu-system-x86_64 -accel tcg,thread=multi,tb-size=512 -cpu EPYC,+svm,+npt,-rdseed,-sha-ni,-fxsr-opt,-misalignsse,-3dnowprefetch,-osvw,-topoext,-nrip-save,-xsavec,-monitor,-smap,-smep,-rdtscp -smp $cpus -m 2560 \
  -display none -no-reboot -nic none -serial "file:$tmp/console.log" -chardev stdio,id=com2 -serial chardev:com2 -kernel "$lab/xen" \
  -append "console=com1 com1=115200,8n1 dom0_mem=1024M,max:1024M dom0_max_vcpus=$((cpus - 2)) dom0_vcpus_pin loglvl=warning guest_loglvl=all sched=credit max_cstate=0 cpuidle=0 spec-ctrl=no" \
  -initrd "$lab/vmlinux console=hvc0 quiet mitigations=off nokaslr,$lab/initrd" \
  -drive "file=$lab/dom0.img,if=virtio,format=raw,snapshot=on" -drive "file=$lab/data.ext4,if=virtio,format=raw,snapshot=on" \
  -drive "file=$tmp/payload.ext4,if=virtio,format=raw,snapshot=on" -drive "file=$tmp/out.tar,if=virtio,format=raw"
}
if [ -n "$hand" ]; then
  boot --foreground 2>"$tmp/qemu.log" | tee "$tmp/com2" || true
  exit
fi
mkfifo "$tmp/in"
boot <"$tmp/in" >"$tmp/com2" 2>"$tmp/qemu.log" &
vm=$!
exec 8>"$tmp/in"
touch "$tmp/com2"
tail -f --pid=$vm -s 0.5 "$tmp/com2" | sed -u 's|\r||' | { grep -a --line-buffered -E '^(PASS|FAIL|SKIP|FIGURE|@) ' || true; }
wait $vm && status=0 || status=$?
vm=

# The figures as a table: one line each, one column per device model.
sed 's/\r//' "$tmp/com2" | awk '$1 == "FIGURE" { if (!($2 in row)) { row[$2] = ++n; name[n] = $2 } v[$2, $3] = $4; if (!($3 in col)) { col[$3] = ++m; dm[m] = $3 } }
  END {
    if (!n) exit
    h = "| figure |"; l = "|---|"
    for (j = 1; j <= m; j++) { h = h " " dm[j] " |"; l = l "---|" }
    if (m > 1) { h = h " ratio |"; l = l "---|" }
    print ""; print h; print l
    for (i = 1; i <= n; i++) {
      h = "| " name[i] " |"
      for (j = 1; j <= m; j++) h = h " " v[name[i], dm[j]] " |"
      if (m > 1) h = h " " (v[name[i], dm[2]] > 0 ? sprintf("%.2f", v[name[i], dm[1]] / v[name[i], dm[2]]) : "-") " |"
      print h
    }
    print ""
  }'

passed=0 failed=0 skipped=0
for s in "${names[@]}"; do
  case $(tr -d '\r' <"$tmp/com2" | grep -aE "^(PASS|FAIL|SKIP) $s[ :]" | head -1) in
    PASS*) passed=$((passed + 1)) ;;
    SKIP*) skipped=$((skipped + 1)) ;;
    FAIL*) failed=$((failed + 1)) ;;
    *) echo "FAIL $s: no result (the lab ended with status $status)"; failed=$((failed + 1)) ;;
  esac
done
if [ $failed -gt 0 ] && [ -z "$keep" ]; then keep=${XENLAB_OUT:-${TMPDIR:-/tmp}/xenlab-failed.$$}; fi
if [ -n "$keep" ]; then
  mkdir -p "$keep"
  cp "$tmp/console.log" "$tmp/com2" "$tmp/qemu.log" "$keep/" 2>/dev/null || true
  tar -xf "$tmp/out.tar" -C "$keep" --no-same-owner 2>/dev/null || true
  echo "logs are in $keep"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
