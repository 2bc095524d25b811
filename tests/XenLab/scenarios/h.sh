# h: the yardstick: qemu-xen in scenario c. `run.sh --qemu` runs it in all of them, `figures` measures it.
DM=$QEMU DM_NAME=qemu
. /lab/scenarios/c.sh
