"""restricted.py PID DOMID UID: checks what a device model under dm_restrict can still do; status 1 and the reason on the last line if too much.

A copy of each of its open Xen files is taken (pidfd_getfd). The kernel lets a privcmd file that is restricted to one domain be restricted to
that domain again and to no other, and refuses any further restriction of an evtchn file; an open file that grants the request was not restricted."""
import ctypes
import errno
import fcntl
import os
import struct
import subprocess
import sys

SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438
PRIVCMD_RESTRICT = 2 << 16 | ord("P") << 8 | 6
EVTCHN_RESTRICT = 2 << 16 | ord("E") << 8 | 6
pid, domid, uid = sys.argv[1], int(sys.argv[2]), sys.argv[3]
libc = ctypes.CDLL(None, use_errno=True)


def check(ok, why):
    if not ok:
        print(why)
        sys.exit(1)


def restrict(file, request, to):
    try:
        fcntl.ioctl(file, request, struct.pack("=H", to))
        return 0
    except OSError as e:
        return e.errno


for task in os.listdir(f"/proc/{pid}/task"):
    status = dict(l.split(":", 1) for l in open(f"/proc/{pid}/task/{task}/status").read().splitlines())
    print(task, status["Name"].strip(), "uid", status["Uid"].split(), "gid", status["Gid"].split(), "groups", status["Groups"].split(), "caps", status["CapEff"].strip())
    check(status["Uid"].split() == [uid] * 4, f"thread {task} has uids {status['Uid'].split()}")
    check(status["Gid"].split() == [uid] * 4, f"thread {task} has gids {status['Gid'].split()}")
    check(set(status["Groups"].split()) <= {uid}, f"thread {task} is in groups {status['Groups'].split()}")
    check(int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0, f"thread {task} has capabilities {status['CapPrm'].strip()}")
    root = os.readlink(f"/proc/{pid}/task/{task}/root")
    check(root.endswith(f"/xen/qemu-root-{domid}"), f"the root of thread {task} is {root}")
check(os.listdir(f"/proc/{pid}/root/") == [], f"its root is not empty: {os.listdir(f'/proc/{pid}/root/')}")

peers = {}
for l in subprocess.run(["ss", "-xaH"], capture_output=True, text=True).stdout.splitlines():
    w = l.split()
    peers[w[5]] = (w[4], w[7])  # inode: (name, the other end's inode)
pidfd = libc.syscall(SYS_PIDFD_OPEN, int(pid), 0)
check(pidfd >= 0, "pidfd_open failed")
for fd in sorted(map(int, os.listdir(f"/proc/{pid}/fd"))):
    name = os.readlink(f"/proc/{pid}/fd/{fd}")
    print("fd", fd, name)
    check("xenbus" not in name, f"file descriptor {fd} is {name}")
    check("gntdev" not in name and "gntalloc" not in name, f"file descriptor {fd} is {name}")
    if name.startswith("socket:"):
        other = peers.get(peers.get(name[8:-1], ("", ""))[1], ("", ""))[0]
        check("xenstored" not in other, f"file descriptor {fd} is connected to xenstore")
    if name.endswith("privcmd") or name.endswith("evtchn"):
        mine = libc.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0)
        check(mine >= 0, f"cannot copy file descriptor {fd}: {os.strerror(ctypes.get_errno())}")
        if name.endswith("privcmd"):
            check(restrict(mine, PRIVCMD_RESTRICT, domid + 1) == errno.EINVAL, f"file descriptor {fd}, {name}, is not restricted")
            check(restrict(mine, PRIVCMD_RESTRICT, domid) == 0, f"file descriptor {fd}, {name}, is restricted to another domain")
        else:
            check(restrict(mine, EVTCHN_RESTRICT, domid + 1) == errno.EACCES, f"file descriptor {fd}, {name}, is not restricted")
        os.close(mine)
print("limits:", " ".join(l for l in open(f"/proc/{pid}/limits") if "file size" in l or "core" in l))
