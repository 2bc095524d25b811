#!/usr/bin/env python3
"""guests.py XENDM - the same real guest on xendm, qemu-system-x86_64 (TCG) and bochs, one after the other: boot from an IDE disk to the shell, SHA-256
of 64 MiB, gzip of 8 MB, a shell loop, 40 processes, and a read of 64 MiB with IDE DMA. Prints a Markdown table with ratios. The guest's images
are XenLab's. A peer that is not installed is left out, and said so. Times are of the wall; run it on a machine at rest."""
import os, pty, re, select, shutil, socket, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = [
    ("SHA-256 of 64 MiB, s", "dd if=/dev/zero bs=1M count=64 2>/dev/null | sha256sum"),
    ("gzip of 8 MB, s", "for i in 1 2 3 4 5 6 7 8; do cat /bin/busybox; done | head -c 8000000 | gzip -c | wc -c"),
    ("shell loop, 100000 turns, s", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"),
    ("40 processes, s", "for i in 1 2 3 4 5 6 7 8; do /bin/busybox true; /bin/busybox true; /bin/busybox true; /bin/busybox true; /bin/busybox true; done"),
    ("IDE DMA read of 64 MiB, s", "dd if=/dev/DISK of=/dev/null bs=1M count=64 iflag=direct"),
]


class Guest:
    """A guest's serial line: a pair of file objects, or a socket."""

    def __init__(self, process, reader, writer):
        self.process, self.reader, self.writer, self.number, self.buffer = process, reader, writer, 0, b""

    def line(self, deadline):
        while b"\n" not in self.buffer:
            left = deadline - time.time()
            if left <= 0 or not select.select([self.reader], [], [], left)[0]:
                raise TimeoutError
            piece = os.read(self.reader, 4096)
            if not piece:
                raise EOFError
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace").strip("\r")

    def until(self, pattern, seconds):
        deadline = time.time() + seconds
        while True:
            line = self.line(deadline)
            if re.match(pattern, line):
                return line

    def ask(self, command, seconds=600):
        self.number += 1
        os.write(self.writer, f"{self.number} {command}\n".encode())
        return self.until(f"#{self.number}:", seconds).split(":", 2)[2]


def piped(command):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return Guest(process, process.stdout.fileno(), process.stdin.fileno())


def drain(fd):
    try:
        while os.read(fd, 65536):
            pass
    except OSError:
        pass


def bochs(disk, work):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    rc = os.path.join(work, "bochsrc")
    with open(rc, "w") as f:
        f.write(f"""memory: guest=512, host=512
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei7_haswell_4770, ips=100000000
clock: sync=none
display_library: term
ata0-master: type=disk, path={disk}, mode=flat
boot: disk
log: {work}/bochs.log
com1: enabled=1, mode=socket-client, dev=127.0.0.1:{listener.getsockname()[1]}
""")
    # Its display wants a terminal; Debian's build starts in a debugger, which "c" leaves.
    ours, theirs = pty.openpty()
    process = subprocess.Popen(["bochs", "-q", "-f", rc], stdin=theirs, stdout=theirs, stderr=theirs, env=dict(os.environ, TERM="xterm"))
    os.write(ours, b"c\n")
    threading.Thread(target=drain, args=(ours,), daemon=True).start()
    listener.settimeout(30)
    connection, _ = listener.accept()
    fd = connection.detach()
    return Guest(process, fd, fd)


def measure(name, start):
    results = {}
    began = time.time()
    try:
        guest = start()
    except (OSError, TimeoutError) as e:
        return None, f"{name} did not start: {e}"
    try:
        guest.until(r".*UP [0-9]", 900)
        results["boot from disk to the shell, s"] = time.time() - began
        disk = guest.ask("ls /dev | grep -m1 -E '^(sda|hda)$'")
        for what, command in WORK:
            t = time.time()
            guest.ask(command.replace("DISK", disk))
            results[what] = time.time() - t
        return results, ""
    except (TimeoutError, EOFError) as e:
        return results, f"{name} stopped: {type(e).__name__}"
    finally:
        guest.process.kill()
        guest.process.wait()


def main():
    xendm = os.path.abspath(sys.argv[1])
    lab = subprocess.run([os.path.join(HERE, "../tests/XenLab/build.sh")], check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1]
    with tempfile.TemporaryDirectory() as work:
        disk = os.path.join(work, "disk.img")
        subprocess.run(["/usr/sbin/debugfs", "-R", f"dump /disk.img {disk}", f"{lab}/data.ext4"], check=True, capture_output=True)
        machines = [("xendm", lambda: piped([xendm, "run", "--disk", disk]))]
        if shutil.which("qemu-system-x86_64"):
            machines.append(("QEMU TCG", lambda: piped(["qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-display", "none", "-nic", "none", "-serial", "stdio", "-drive", f"file={disk},format=raw,if=ide"])))
        else:
            print("qemu-system-x86_64 is not installed: left out")
        if shutil.which("bochs"):
            machines.append(("Bochs", lambda: bochs(disk, work)))
        else:
            print("bochs is not installed: left out")
        table = {}
        for name, start in machines:
            results, problem = measure(name, start)
            if problem:
                print(problem)
            table[name] = results or {}
        names = [name for name, _ in machines]
        print("| | " + " | ".join(names) + " | " + " | ".join(f"{n} / xendm" for n in names[1:]) + " |")
        print("|---|" + "---|" * (2 * len(names) - 1))
        for what in table["xendm"]:
            values = [table[n].get(what) for n in names]
            ratios = [f"{v / values[0]:.2f}" if v else "-" for v in values[1:]]
            print(f"| {what} | " + " | ".join(f"{v:.2f}" if v else "-" for v in values) + " | " + " | ".join(ratios) + " |")


if __name__ == "__main__":
    main()
