#!/usr/bin/env python3
"""channel.py PATH TEXT: says a line to who listens at the other end of a socket or pseudo-terminal, and prints the line that comes back."""
import os
import socket
import stat
import sys
import time
import tty

PATIENCE = 60

path, text = sys.argv[1:]
if stat.S_ISSOCK(os.stat(path).st_mode):
    line = socket.socket(socket.AF_UNIX)
    line.connect(path)
    fd = line.fileno()
else:
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(fd)
os.set_blocking(fd, False)
rest, heard, end = text.encode() + b"\n", b"", time.monotonic() + PATIENCE
while not heard.endswith(b"\n"):
    if time.monotonic() > end:
        sys.exit(f"no answer but {heard!r}, {len(rest)} bytes not taken")
    try:
        if rest:
            rest = rest[os.write(fd, rest):]
    except BlockingIOError:
        pass
    try:
        more = os.read(fd, 4096)
        if not more:
            sys.exit(f"closed after {heard!r}")
        heard += more
    except BlockingIOError:
        time.sleep(0.02)
print(heard.decode().rstrip("\n"))
