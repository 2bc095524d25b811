#!/bin/bash
# run.sh [--quick] - installs what is missing, builds, checks the formatting, runs all tests, the fuzz runner with fixed seeds, the firmware
# check, real guests on the embedded machine and in a browser, and the scenarios on real Xen (tests/XenLab). The last line is "N passed, N failed, N skipped"; the status is 0 when nothing failed.
# --quick leaves out real Xen.
set -uo pipefail
cd "$(dirname "$0")/.."
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DEBIAN_FRONTEND=noninteractive
quick=0; [ "${1:-}" = --quick ] && quick=1
out=$(mktemp -d); trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$out"' EXIT
passed=0 failed=0 skipped=0
note() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }
pass() { passed=$((passed + 1)); echo "PASS $1"; }
fail() { failed=$((failed + 1)); echo "FAIL $1"; }
skip() { skipped=$((skipped + 1)); echo "SKIP $1"; }
finish() { printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"; [ "$failed" = 0 ]; exit; }

note "what is needed"
command -v dotnet >/dev/null || { fail "the .NET 10 SDK is not on the PATH: install it from https://dot.net"; finish; }
want=()
command -v clang >/dev/null || command -v gcc >/dev/null || want+=(gcc)
command -v as >/dev/null || want+=(binutils)
[ -e /usr/include/zlib.h ] || want+=(zlib1g-dev)
[ -e /usr/include/xendevicemodel.h ] || want+=(libxen-dev)
[ -e /usr/share/seabios/bios-256k.bin ] || want+=(seabios)
command -v gdb >/dev/null || want+=(gdb)
command -v cpio >/dev/null || want+=(cpio)
ldconfig -p | grep -q libturbojpeg.so.0 || want+=(libturbojpeg0)
ldconfig -p | grep -q libxkbcommon.so.0 || want+=(libxkbcommon0)
[ -e /usr/share/X11/xkb/symbols/us ] || want+=(xkb-data)
[ -e /usr/include/slirp/libslirp.h ] || want+=(libslirp-dev)
command -v iasl >/dev/null || want+=(acpica-tools)
command -v cc >/dev/null || want+=(gcc libc6-dev)
if [ ${#want[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${want[@]}" >/dev/null || echo "could not install: ${want[*]}"
  else
    echo "not installed (no root or no apt): ${want[*]}"
  fi
fi

note "build, warnings are errors"
if dotnet build XenDM.sln -c Release -v q >"$out/build.log" 2>&1; then pass build; else grep -E 'error|warning' "$out/build.log" | sort -u | head -40; fail build; finish; fi

note "fuzz runner, fixed seeds: begins"
# Beside what comes before real Xen: the ten million steps at each display adapter take minutes.
fuzz=(board:1000000 vnc:1000000 stdvga:10000000 cirrus:10000000) pids=()
for run in "${fuzz[@]}"; do
  nice -n 19 timeout 3000 dotnet tests/XenDM.Fuzz/bin/Release/net10.0/XenDM.Fuzz.dll --seed 1 --what "${run%:*}" --steps "${run#*:}" >"$out/fuzz-${run%:*}.log" 2>&1 &
  pids+=($!)
done

note "formatting and tests"
dotnet format XenDM.sln --verify-no-changes --no-restore >"$out/format.log" 2>&1 &
format=$!
dotnet test XenDM.sln -c Release --no-build -v q --logger "console;verbosity=minimal" >"$out/test.log" 2>&1 || true
grep -E 'FAIL|SKIP|Error Message|Assert|Expected|Actual' "$out/test.log" | head -60
runs=$(grep -cE '^(Passed|Failed|Skipped)!' "$out/test.log")
count() { grep -oE "$1: +[0-9]+" "$out/test.log" | awk '{n += $2} END {print n + 0}'; }
passed=$((passed + $(count Passed))); failed=$((failed + $(count Failed))); skipped=$((skipped + $(count Skipped)))
projects=$(ls -d tests/*.Tests | wc -l)
[ "$runs" = "$projects" ] || { tail -40 "$out/test.log"; fail "only $runs of $projects test projects ran"; }
if wait $format; then pass formatting; else head -20 "$out/format.log"; fail "formatting: run dotnet format"; fi

note "firmware images match their sources"
for check in firmware/*/check.sh; do
  if "$check" >"$out/firmware.log" 2>&1; then
    if grep -q '^SKIP' "$out/firmware.log"; then skip "$check: $(grep -m1 '^SKIP' "$out/firmware.log")"; else pass "$check"; fi
  else cat "$out/firmware.log"; fail "$check"; fi
done

note "publish"
if src/publish.sh "$out/publish" >"$out/publish.log" 2>&1; then grep '^published' "$out/publish.log"; pass publish; else tail -30 "$out/publish.log"; fail publish; finish; fi

# part NAME COMMAND...: a run of its own that prints a line for each of its checks and a count at its end. Its lines come when it has ended.
part() { local log=$out/$1.log; shift; "$@" >"$log" 2>&1; }
# count_part NAME: prints what a part said and counts it.
count_part() {
  local log=$out/$1.log
  grep -vE '^[0-9]+ passed' "$log"
  grep -qE '^[0-9]+ passed' "$log" || fail "the run of $1 did not end"
  passed=$((passed + $(grep -c '^PASS ' "$log"))); failed=$((failed + $(grep -c '^FAIL ' "$log"))); skipped=$((skipped + $(grep -c '^SKIP ' "$log")))
}
note "real guests on the embedded machine"
part guests tests/Embedded/run.sh "$out/publish/xendm"
count_part guests

note "guests in a browser"
part browser tests/Web/run.sh "$out/publish/xendm" "$out/publish/xendm-web"
count_part browser

note "clients of VNC"
part clients tests/Vnc/run.sh "$out/publish/xendm"
count_part clients

note "fuzz runner ends"
for i in "${!fuzz[@]}"; do
  what=${fuzz[i]%:*}
  if wait "${pids[i]}"; then tail -1 "$out/fuzz-$what.log"; pass "fuzz $what"; else tail -30 "$out/fuzz-$what.log"; fail "fuzz $what"; fi
done

if [ $quick = 1 ]; then skip "real Xen: --quick"; finish; fi
note "real Xen"
# Xen and its guests run in software here, and a loaded machine can stretch their time past what a guest's timers bear. So a scenario that fails is
# run once more by itself, and the log says so.
lab() { XENLAB_ROUNDS=1 tests/XenLab/run.sh --dm "$out/publish/xendm" "$@" 2>&1 | tee "$out/lab.log" | grep -vE '^[0-9]+ passed'; grep -qE '^[0-9]+ passed, [0-9]+ failed' "$out/lab.log"; }
lab || { fail "the lab did not end"; finish; }
count_lab() { grep -cE "^$1 " "$out/lab.log"; }
passed=$((passed + $(count_lab PASS))); skipped=$((skipped + $(count_lab SKIP)))
again=$(sed -nE 's/^FAIL ([a-z0-9]+):.*/\1/p' "$out/lab.log")
for scenario in $again; do
  echo "== scenario $scenario failed; once more, by itself"
  if lab "$scenario" && [ "$(count_lab PASS)" = 1 ]; then pass "$scenario (second try)"; else fail "$scenario (twice)"; fi
done
finish
