#!/bin/bash
# publish.sh OUT [xendm|xendm-web] - leaves runnable OUT/xendm and OUT/xendm-web, or only the one that is named. Native (no runtime needed, small,
# quick to start) where that can be built: it needs a C compiler as linker and the ahead-of-time compiler's packages, which exist for one framework
# or the other; else framework-dependent with the JIT, as one file. A line for each program says which.
set -uo pipefail
[ $# = 1 ] || [ "${2:-}" = xendm ] || [ "${2:-}" = xendm-web ] || { echo "usage: $0 OUT [xendm|xendm-web]" >&2; exit 1; }
mkdir -p "$1" || exit 1
out=$(cd "$1" && pwd); here=$(cd "$(dirname "$0")" && pwd); work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
linker=gcc; command -v clang >/dev/null && linker=clang
publish() { local project=$1; shift; dotnet publish "$here/$project/$project.csproj" -c Release -r linux-x64 -v q -nologo --artifacts-path "$work/artifacts" -o "$work/out" "$@" >"$work/log" 2>&1; }
# program PROJECT NAME
program() {
  local framework
  rm -f "$work"/log*
  for framework in net10.0 net9.0; do
    rm -rf "$work/out" "$work/artifacts"
    if publish "$1" -p:XenDMTargetFramework=$framework -p:PublishAot=true -p:CppCompilerAndLinker=$linker -p:StripSymbols=true; then
      install -m755 "$work/out/$2" "$out/$2" && echo "published natively ($framework): $out/$2, $(stat -c %s "$out/$2") bytes" && return
    fi
    cp "$work/log" "$work/log.$framework"
  done
  grep -hE 'error (CS|IL)' "$work"/log.net* | sort -u | grep . && { echo "the sources do not build for every framework"; exit 1; }
  echo "cannot be built natively here:"; grep -hE 'error' "$work"/log.net* | sort -u | head -5
  rm -rf "$work/out" "$work/artifacts"
  publish "$1" --self-contained false -p:PublishSingleFile=true || { cat "$work/log"; exit 1; }
  install -m755 "$work/out/$2" "$out/$2" && echo "published with the JIT (needs the .NET runtime, starts slower): $out/$2"
}
[ "${2:-}" = xendm-web ] || program XenDM xendm
[ "${2:-}" = xendm ] || program XenDM.Web xendm-web
