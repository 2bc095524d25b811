#!/bin/bash
# publish.sh OUT - leaves a runnable OUT/xendm. Native (no runtime needed, small, quick to start) where that can be built: it needs a C compiler
# as linker and the ahead-of-time compiler's packages, which exist for one framework or the other; else framework-dependent with the JIT. The
# last line says which.
set -uo pipefail
[ $# = 1 ] || { echo "usage: $0 OUT" >&2; exit 1; }
mkdir -p "$1" || exit 1
out=$(cd "$1" && pwd); here=$(cd "$(dirname "$0")" && pwd); work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
linker=gcc; command -v clang >/dev/null && linker=clang
publish() { dotnet publish "$here/XenDM/XenDM.csproj" -c Release -r linux-x64 -v q -nologo --artifacts-path "$work/artifacts" -o "$work/out" "$@" >"$work/log" 2>&1; }
for framework in net10.0 net9.0; do
  if publish -p:XenDMTargetFramework=$framework -p:PublishAot=true -p:CppCompilerAndLinker=$linker -p:StripSymbols=true; then
    install -m755 "$work/out/xendm" "$out/xendm" && echo "published natively ($framework): $out/xendm, $(stat -c %s "$out/xendm") bytes" && exit 0
  fi
  cp "$work/log" "$work/log.$framework"; rm -rf "$work/out" "$work/artifacts"
done
grep -hE 'error (CS|IL)' "$work"/log.net* | sort -u | grep . && { echo "the sources do not build for every framework"; exit 1; }
echo "cannot be built natively here:"; grep -hE 'error' "$work"/log.net* | sort -u | head -5
publish --self-contained false -p:PublishSingleFile=true || { cat "$work/log"; exit 1; }
install -m755 "$work/out/xendm" "$out/xendm" && echo "published with the JIT (needs the .NET runtime, starts slower): $out/xendm"
