#!/usr/bin/env python3
"""web.py ADDRESS GUEST FILE: asks xendm-web, at the address that it printed, for all that a guest's page has; its screenshot becomes a PPM."""
import base64
import http.client
import json
import os
import struct
import sys
import urllib.parse
import zlib

address, guest, picture = sys.argv[1:]
address = urllib.parse.urlsplit(address)
token = urllib.parse.parse_qs(address.query)["token"][0]


def ask(path, status=200, **headers):
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request("GET", path, headers=headers or {"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    if answer.status != status:
        sys.exit(f"{path}: status {answer.status} {answer.reason}, not {status}")
    return answer


def lines(png):
    """Width, height and the bytes red, green, blue of a PNG with the filters none, left and above."""
    at, data = 8, b""
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        if kind == b"IHDR":
            width, height, *form = struct.unpack_from(">IIBBBBB", png, at + 8)
        elif kind == b"IDAT":
            data += png[at + 8:at + 8 + length]
        at += 12 + length
    assert form == [8, 2, 0, 0, 0], f"PNG of form {form}"
    data, step, above, out = zlib.decompress(data), 3 * width, bytes(3 * width), b""
    for y in range(height):
        kind, line = data[y * (step + 1)], bytearray(data[y * (step + 1) + 1:(y + 1) * (step + 1)])
        if kind == 1:
            for n in range(3, step):
                line[n] = line[n] + line[n - 3] & 255
        elif kind == 2:
            line = bytes((a + b & 255 for a, b in zip(line, above)))
        else:
            assert kind == 0, f"filter {kind}"
        out, above = out + line, line
    return width, height, out


ask("/api/guests", 401, Accept="*/*")
for path in "/", f"/guest/{guest}", "/novnc/core/rfb.js":
    assert ask(path).read(), f"{path} is empty"
summary = next((g for g in json.load(ask("/api/guests")) if g["name"] == guest), None)
assert summary and summary["state"] == "running", f"the list says {summary}"
report = json.load(ask(f"/api/guests/{guest}"))
process, io = report["process"], report["io"]
assert process["memoryBytes"] > 0 and process["cpuMilliseconds"] > 0 and io["requests"] > 0, f"the page says {process} {io}"
busy = [d["name"] for d in io["devices"] if d["reads"] + d["writes"] > 0]
assert busy, "no device was accessed"

width, height, pixels = lines(ask(f"/api/guests/{guest}/screen.png").read())
with open(picture, "wb") as f:
    f.write(b"P6\n%d %d\n255\n" % (width, height) + pixels)

# The way to its VNC server: the first message (binary, not masked) is the server's version.
upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()}
stream = ask(f"/api/guests/{guest}/vnc", 101, Authorization=f"Bearer {token}", **upgrade)
first = stream.fp.read(14)
assert first == b"\x82\x0cRFB 003.008\n", f"the VNC server says {first!r}"
print(f"running for {process['cpuMilliseconds']} ms with {process['memoryBytes'] >> 10} KiB, {io['requests']} requests, {' '.join(busy)}")
