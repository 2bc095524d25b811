#!/usr/bin/env python3
"""vnc.py XENDM [ROUNDS [SECONDS]] - the screen of the same guest on xendm and on qemu-system-x86_64 (TCG), seen by the same client: a console that
scrolls, an animation of 1024 x 768 pixels of 32 bits at 30 pictures in a second, an idle screen, and the time from a key to its pixels. Both guests are up
at the same time and take turns. Prints a Markdown table with ratios, which are medians over the rounds.

The client asks for the next update when it has one, as viewers do; its encoding is tight, or what is named after the numbers (tests/Vnc/rfb.py). CPU time
is that of the whole process. The two processors that the guests run on differ in price, so each figure is also taken while nobody looks, and the difference
is what the screen costs. A still picture in a graphics mode stands for an idle screen."""
import os, select, shutil, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/Vnc"))
import rfb

TICKS = os.sysconf("SC_CLK_TCK")
KEYS = 50


class Machine:
    def __init__(self, name, command, path):
        self.name, self.path = name, path
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def connect(self, encodings):
        for _ in range(600):
            try:
                return rfb.Client(self.path, encodings)
            except (FileNotFoundError, ConnectionRefusedError):
                if self.process.poll() is not None:
                    raise SystemExit(f"{self.name} ended: {self.process.stderr.read().decode().strip()}")
                time.sleep(0.1)
        raise SystemExit(f"{self.name} has no VNC server")

    def cpu(self):
        """Seconds, to the nanosecond where the kernel tells, by thread."""
        total = 0
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            try:
                with open(f"/proc/{self.process.pid}/task/{thread}/schedstat") as f:
                    total += int(f.read().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass
        if total:
            return total / 1e9
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def stop(self):
        self.process.kill()
        self.process.wait()


def has_more(client, seconds):
    seconds = max(seconds, 0)
    return client.at < len(client.buffer) or bool(select.select([client.socket], [], [], seconds)[0])


def take(client):
    """Takes one message, and asks for what comes after an update, or for all of a picture of another size."""
    size = client.width, client.height
    is_update = client.message()
    if (client.width, client.height) != size:
        client.ask(False)
    elif is_update:
        client.ask()


def settle(client, seconds):
    """Takes updates for a while: the cursor of a text screen never stops blinking. The caller has asked, and an update is asked for at the end."""
    end = time.time() + seconds
    while (left := end - time.time()) > 0:
        if has_more(client, left):
            take(client)


def watch(machine, client, seconds):
    """-> bytes, updates, CPU seconds, pixels sent of a client that always wants more. The caller has asked already."""
    end, cpu = time.time() + seconds, machine.cpu()
    amount, updates, pixels = client.bytes, client.updates, client.pixels
    while (left := end - time.time()) > 0:
        if has_more(client, left):
            take(client)
    return client.bytes - amount, client.updates - updates, machine.cpu() - cpu, client.pixels - pixels


def alone(machine, seconds):
    cpu = machine.cpu()
    time.sleep(seconds)
    return machine.cpu() - cpu


def enter(machine, encodings):
    client = machine.connect(encodings)
    client.ask(False)
    settle(client, 1)
    return client


def begun(client, letter):
    """Waits for the command to be at its work: the guest draws a picture slowly, and the animation's pictures before it shows them."""
    end, last, row, size = time.time() + 120, time.time(), 0, (client.width, client.height)
    while time.time() < end:
        updates, pixels = client.updates, client.pixels
        if has_more(client, 0.5):
            take(client)
        if client.updates > updates:
            last = time.time()
            row = row + 1 if letter == "s" or client.pixels - pixels > client.width * client.height // 2 else 0
        if letter == "p" and (client.width, client.height) != size and time.time() - last > 4 or row >= 30:
            return
    raise SystemExit(f"{letter} does not begin")


def show(machine, encodings, letter, seconds):
    """A command of the guest that goes on until a key: first with the client, then with nobody."""
    client = enter(machine, encodings)
    client.type(letter + "\n")
    begun(client, letter)
    amount, updates, cpu, pixels = watch(machine, client, seconds)
    client.socket.close()
    time.sleep(1)
    unseen = alone(machine, seconds)
    client = enter(machine, encodings)
    client.key(" ")
    settle(client, 1)
    client.socket.close()
    figures = {"bytes": amount, "updates": updates, "pixels": pixels, "CPU, s": cpu, "CPU while nobody looks, s": unseen, "CPU of the screen, s": cpu - unseen}
    if updates > 1:
        figures |= {"bytes of an update": amount / updates, "CPU of an update, ms": (cpu - unseen) / updates * 1000}
    return figures


def keys(machine, encodings):
    """Milliseconds from a key to the update that shows its letter. The cursor blinks: a key goes down soon after it did, so that the next update is the letter's."""
    client = enter(machine, encodings)
    times = []
    for n in range(KEYS):
        # A new line now and then, for the guest's is short.
        if n % 20 == 19:
            client.key("\n")
            settle(client, 1)
        blink, end = client.updates, time.time() + 1
        while client.updates == blink and has_more(client, end - time.time()):
            take(client)
        settle(client, 0.02 + 0.013 * (n % 7))
        before, began = client.updates, time.perf_counter()
        client.key("abcdefghijklmnopqrstuvwxyz"[n % 26])
        while client.updates == before:
            client.message()
        times.append((time.perf_counter() - began) * 1000)
        client.ask()
        settle(client, 0.1)
    client.key("\n")
    settle(client, 1)
    client.socket.close()
    return {"median": statistics.median(times), "9 of 10 are faster than": sorted(times)[KEYS * 9 // 10]}


def figure(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def main():
    xendm = os.path.abspath(sys.argv[1])
    numbers = [int(a) for a in sys.argv[2:] if a.isdigit()]
    names = [a for a in sys.argv[2:] if not a.isdigit()]
    rounds, seconds = (numbers + [3, 10][len(numbers):])[:2]
    encodings = [rfb.COPYRECT, *([rfb.NAMES[n] for n in names] or [rfb.TIGHT])]
    if not shutil.which("qemu-system-x86_64"):
        print("qemu-system-x86_64 is not installed: left out")
    with tempfile.TemporaryDirectory() as work:
        disk = os.path.join(work, "guest.img")
        subprocess.run([os.path.join(HERE, "../tests/Vnc/guest.sh"), disk], check=True)
        machines = [Machine("xendm", [xendm, "run", "--disk", f"{disk},snapshot", "--memory", "64M", "--vnc", f"unix:{work}/x"], f"{work}/x")]
        try:
            if shutil.which("qemu-system-x86_64"):
                machines.append(Machine("QEMU TCG", ["qemu-system-x86_64", "-machine", "pc,accel=tcg", "-m", "64", "-vga", "std", "-nic", "none", "-display", "none",
                                                     "-drive", f"file={disk},format=raw,if=ide,snapshot=on", "-vnc", f"unix:{work}/q"], f"{work}/q"))
            for machine in machines:
                client = machine.connect(encodings)
                client.ask(False)
                settle(client, 5)
                client.socket.close()
            works = [
                ("scrolling console", lambda m: show(m, encodings, "s", seconds)),
                ("animation", lambda m: show(m, encodings, "a", seconds)),
                ("idle screen", lambda m: show(m, encodings, "p", seconds)),
                ("key to pixel, ms", lambda m: keys(m, encodings)),
            ]
            table = {}
            for turn in range(rounds):
                for what, work_of in works:
                    for machine in machines:
                        for name, value in work_of(machine).items():
                            table.setdefault((what, name), {}).setdefault(machine.name, []).append(value)
                        print(f"round {turn + 1}: {what} on {machine.name}", file=sys.stderr, flush=True)
        finally:
            for machine in machines:
                machine.stop()
    names = [machine.name for machine in machines]
    print(f"| {seconds} s, medians of {rounds} | " + " | ".join(names) + " | " + " | ".join(f"xendm / {n}" for n in names[1:]) + " |")
    print("|---|" + "---|" * (2 * len(names) - 1))
    for (what, name), values in table.items():
        medians = [statistics.median(values[n]) if n in values else None for n in names]
        ratios = [f"{medians[0] / m:.2f}" if m and m > 0 and medians[0] is not None and medians[0] >= 0 else "-" for m in medians[1:]]
        print(f"| {what}: {name} | " + " | ".join(figure(m) for m in medians) + " | " + " | ".join(ratios) + " |")


if __name__ == "__main__":
    main()
