"""qmp.py SOCKET FILE: has the device model write its state to FILE the way libxl does (a passed file descriptor), and prints the bytes and the
milliseconds from the request to its answer, as figures. The guest must be paused."""
import json
import os
import socket
import sys
import time

s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(sys.argv[1])
text = ""


def answer():
    global text
    while True:
        while "\n" not in text:
            more = s.recv(65536).decode()
            if not more:
                sys.exit("the QMP socket was closed")
            text += more
        line, text = text.split("\n", 1)
        message = json.loads(line)
        if "error" in message:
            sys.exit(line)
        if "return" in message or "QMP" in message:
            return message.get("return")


def command(name, fds=(), **arguments):
    data = json.dumps({"execute": name, "arguments": arguments}).encode() + b"\r\n"
    socket.send_fds(s, [data], list(fds))
    return answer()


answer()
command("qmp_capabilities")
command("stop")
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
number = command("add-fd", [f])["fdset-id"]
start = time.monotonic()
command("xen-save-devices-state", filename=f"/dev/fdset/{number}", live=False)
took = time.monotonic() - start
command("cont")
print(os.path.getsize(sys.argv[2]), round(took * 1000))
