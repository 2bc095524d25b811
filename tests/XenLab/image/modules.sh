#!/bin/bash
# image/modules.sh MODULES-FOLDER OUT NAME... - copies the named kernel modules and all they depend on to OUT as NNN-name.ko, numbered so
# that loading them in the order of their names works. A name that is built in, or does not exist, is an error.
set -euo pipefail
src=$1
out=$2
shift 2
declare -A path deps done
while IFS=: read -r file needs; do
  name=${file##*/}
  name=${name%.ko}
  name=${name//-/_}
  path[$name]=$file
  deps[$name]=$needs
done <"$src/modules.dep"
n=100
add() {
  local name=$1 needed dep
  [ -z "${done[$name]:-}" ] || return 0
  [ -n "${path[$name]:-}" ] || { echo "no kernel module $name" >&2; exit 1; }
  done[$name]=1
  for needed in ${deps[$name]}; do
    dep=${needed##*/}
    dep=${dep%.ko}
    add "${dep//-/_}"
  done
  cp "$src/${path[$name]}" "$out/$((n++))-$name.ko"
}
for want in "$@"; do add "${want//-/_}"; done
