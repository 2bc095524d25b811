#!/usr/bin/env python3
"""net.py XENDM [ROUNDS [MIB]] - TCP throughput of a Linux guest on the embedded machine through each of its NICs: the PV NIC (xen-netfront),
e1000 and rtl8139 (8139cp), all behind the same user-mode NAT, to and from a program on this host. The three guests are up at the same time and
take turns; the best of all rounds counts. Prints a Markdown table with ratios to the PV NIC. The kernel is XenLab's. Run it on a machine at rest."""
import os, socket, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guests import HERE, piped

NICS = [
    ("PV NIC", "user,model=none,pv", "", "xen-netfront"),
    ("e1000", "user,model=e1000", "xen_emul_unplug=never", "e1000"),
    ("rtl8139", "user,model=rtl8139", "xen_emul_unplug=never", "8139cp"),
]
MAC, ADDRESS, HOST = "52:54:00:12:34:56", "10.0.2.15", "10.0.2.2"
TURNS = 500


class Peer:
    """A listening socket and what is done with the next connection; its result is a time in seconds."""

    def __init__(self, work):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.seconds = None
        self.thread = threading.Thread(target=self.run, args=[work], daemon=True)
        self.thread.start()

    def run(self, work):
        self.listener.settimeout(120)
        link = self.listener.accept()[0]
        link.settimeout(120)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with link:
            self.seconds = work(link)

    def done(self):
        self.thread.join(180)
        self.listener.close()
        return self.seconds


def take(size):
    def work(link):
        got, began = len(link.recv(1)), time.time()
        while piece := link.recv(1 << 20):
            got += len(piece)
        assert got == size, f"{got} of {size} bytes came"
        return time.time() - began
    return work


def give(size):
    block = bytes(1 << 16)
    def work(link):
        began = time.time()
        for _ in range(size // len(block)):
            link.sendall(block)
        link.shutdown(socket.SHUT_WR)
        while link.recv(1 << 16):
            pass
        return time.time() - began
    return work


def answer(link):
    """Echoes are what the guest's cat does: one byte there and back at a time."""
    began = time.time()
    for _ in range(TURNS):
        link.sendall(b"x")
        assert link.recv(1) == b"x"
    return time.time() - began


def main():
    xendm = os.path.abspath(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    size = (int(sys.argv[3]) if len(sys.argv) > 3 else 64) << 20
    lab = subprocess.run([os.path.join(HERE, "../tests/XenLab/build.sh")], check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1]
    works = [
        ("from the guest, MiB/s", lambda: take(size), f"nc {HOST} PORT -e dd if=/dev/zero bs=64k count={size >> 16}", lambda s: size / s / (1 << 20)),
        ("to the guest, MiB/s", lambda: give(size), f"nc {HOST} PORT -e dd of=/dev/null bs=64k", lambda s: size / s / (1 << 20)),
        ("one byte there and back, per second", lambda: answer, f"nc {HOST} PORT -e cat", lambda s: TURNS / s),
    ]
    guests, best = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("vmlinuz", "initramfs"):
            subprocess.run(["/usr/sbin/debugfs", "-R", f"dump /{name} {folder}/{name}", f"{lab}/data.ext4"], check=True, capture_output=True)
        try:
            for nic, net, append, driver in NICS:
                guests[nic] = guest = piped([xendm, "run", "--kernel", f"{folder}/vmlinuz", "--initrd", f"{folder}/initramfs", "--net", net, "--append", f"console=ttyS0 nokaslr {append}"])
                guest.until(r".*UP [0-9]", 600)
                print(f"{nic}: {guest.ask(f'load {driver} && nic {MAC} {ADDRESS}')}", flush=True)
            for _ in range(rounds):
                for what, work, command, figure in works:
                    for nic, guest in guests.items():
                        peer = Peer(work())
                        guest.ask(command.replace("PORT", str(peer.port)))
                        value = figure(peer.done())
                        best[what, nic] = max(value, best.get((what, nic), 0))
        finally:
            for guest in guests.values():
                guest.process.kill()
                guest.process.wait()
    names = [nic[0] for nic in NICS]
    print("| | " + " | ".join(names) + " | " + " | ".join(f"{names[0]} / {n}" for n in names[1:]) + " |")
    print("|---|" + "---|" * (2 * len(names) - 1))
    for what, *_ in works:
        values = [best[what, nic] for nic in names]
        print(f"| {what} | " + " | ".join(f"{v:.1f}" for v in values) + " | " + " | ".join(f"{values[0] / v:.2f}" for v in values[1:]) + " |")


if __name__ == "__main__":
    main()
