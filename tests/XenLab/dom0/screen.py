"""The screen of a guest, looked at and typed to from dom0.
  screen.py vnc HOST PORT PASSWORD FILE [SECONDS]   the picture by VNC (raw encoding), as a PPM; with SECONDS also what changes meanwhile
  screen.py type HOST PORT PASSWORD TEXT            types a line
  screen.py dump SOCKET FILE                        the picture by QMP's screendump, as a PPM
  screen.py same FILE DATA WIDTH HEIGHT DEPTH       the picture is DATA's first bytes, pixels of 32 or 16 bits; FILE is removed when it is
  screen.py middles FILE FILE WIDTH HEIGHT          the middles of that size of two pictures are the same, and not black"""
import ctypes
import json
import os
import socket
import struct
import sys
import time

FORMAT = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)


def encrypt(password, challenge):
    """VNC authentication: DES with each key byte's bits the other way round."""
    key = bytes(int(f"{b:08b}"[::-1], 2) for b in password.encode()[:8].ljust(8, b"\0"))
    nettle = ctypes.CDLL("libnettle.so.8")
    context = ctypes.create_string_buffer(256)
    nettle.nettle_des_set_key(context, key)
    answer = ctypes.create_string_buffer(16)
    nettle.nettle_des_encrypt(context, ctypes.c_size_t(16), answer, challenge)
    return answer.raw


class Client:
    def __init__(self, host, port, password):
        self.s = socket.create_connection((host, int(port)), 30)
        self.s.settimeout(60)
        assert self.take(12)[:4] == b"RFB "
        self.s.sendall(b"RFB 003.008\n")
        kinds = self.take(self.take(1)[0])
        if not kinds:
            sys.exit("the VNC server refuses: " + self.take(self.number()).decode())
        kind = 2 if password else 1
        if kind not in kinds:
            sys.exit(f"the VNC server offers security types {list(kinds)}, not {kind}")
        self.s.sendall(bytes([kind]))
        if kind == 2:
            self.s.sendall(encrypt(password, self.take(16)))
        if self.number():
            sys.exit("the VNC server does not take the password")
        self.s.sendall(b"\1")
        self.width, self.height = struct.unpack(">HH", self.take(4))
        self.take(16)
        self.take(self.number())
        self.s.sendall(b"\0\0\0\0" + FORMAT + struct.pack(">BxHii", 2, 2, 0, -223))
        self.pixels = bytearray(4 * self.width * self.height)

    def take(self, count):
        data = b""
        while len(data) < count:
            more = self.s.recv(count - len(data))
            if not more:
                sys.exit("the VNC server closed the connection")
            data += more
        return data

    def number(self):
        return struct.unpack(">I", self.take(4))[0]

    def ask(self, incremental):
        self.s.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def message(self):
        """Takes one message; True when it was an update."""
        kind = self.take(1)[0]
        if kind == 2:
            return False
        if kind == 3:
            self.take(3)
            self.take(self.number())
            return False
        assert kind == 0, f"message of type {kind}"
        for _ in range(struct.unpack(">xH", self.take(3))[0]):
            x, y, w, h, encoding = struct.unpack(">HHHHi", self.take(12))
            if encoding == -223:
                self.width, self.height = w, h
                self.pixels = bytearray(4 * w * h)
                continue
            assert encoding == 0, f"encoding {encoding} was not asked for"
            data = self.take(4 * w * h)
            for line in range(h):
                at = 4 * ((y + line) * self.width + x)
                self.pixels[at:at + 4 * w] = data[4 * w * line:4 * w * (line + 1)]
        return True

    def look(self, seconds):
        size = None
        while size != (self.width, self.height):
            size = self.width, self.height
            self.ask(0)
            while not self.message():
                pass
        end = time.monotonic() + seconds
        updates = 0
        self.ask(1)
        while (left := end - time.monotonic()) > 0:
            self.s.settimeout(left)
            try:
                kind = self.s.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                break
            self.s.settimeout(60)
            if not kind:
                sys.exit("the VNC server closed the connection")
            if self.message():
                updates += 1
                self.ask(1)
        return updates

    def key(self, symbol):
        for down in 1, 0:
            self.s.sendall(struct.pack(">BBxxI", 4, down, symbol))
            time.sleep(0.1)


def picture(name):
    """Width, height, and the bytes red, green, blue of a PPM."""
    data = open(name, "rb").read()
    words, at = [], 0
    while len(words) < 4:
        end = at
        while not data[end:end + 1].isspace():
            end += 1
        words.append(data[at:end])
        at = end + 1
    assert words[0] == b"P6" and words[3] == b"255", f"{name} is no PPM"
    width, height = int(words[1]), int(words[2])
    assert len(data) - at == 3 * width * height, f"{name} has {len(data) - at} bytes of pixels"
    return width, height, data[at:]


def colours_of(pixels):
    """Red, green, blue of 4-byte pixels."""
    out = bytearray(len(pixels) // 4 * 3)
    out[0::3], out[1::3], out[2::3] = pixels[2::4], pixels[1::4], pixels[0::4]
    return out


def wide(pixels):
    """4-byte pixels of 2-byte ones (5, 6 and 5 bits), whose high bits fill up the low ones."""
    out = bytearray(2 * len(pixels))
    for n, (p,) in enumerate(struct.iter_unpack("<H", pixels)):
        red, green, blue = p >> 11, p >> 5 & 63, p & 31
        out[4 * n:4 * n + 3] = blue << 3 | blue >> 2, green << 2 | green >> 4, red << 3 | red >> 2
    return out


what, arguments = sys.argv[1], sys.argv[2:]
if what == "vnc":
    client = Client(*arguments[:3])
    updates = client.look(float(arguments[4]) if len(arguments) > 4 else 0)
    with open(arguments[3], "wb") as f:
        f.write(b"P6\n%d %d\n255\n" % (client.width, client.height) + colours_of(client.pixels))
    print(f"{client.width}x{client.height} {updates}")
elif what == "type":
    client = Client(*arguments[:3])
    for letter in arguments[3]:
        client.key(ord(letter))
    client.key(0xff0d)
elif what == "dump":
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(arguments[0])
    lines = s.makefile("rw", newline="\n")
    for command in {"execute": "qmp_capabilities"}, {"execute": "screendump", "arguments": {"filename": arguments[1]}}:
        lines.write(json.dumps(command) + "\r\n")
        lines.flush()
        while "return" not in (message := json.loads(lines.readline())):
            if "error" in message:
                sys.exit(message["error"]["desc"])
elif what == "same":
    size, (width, height, pixels) = tuple(int(n) for n in arguments[2:4]), picture(arguments[0])
    if (width, height) != size:
        sys.exit(f"the picture is {width} by {height}")
    depth = int(arguments[4])
    data = open(arguments[1], "rb").read(width * height * depth // 8)
    if depth == 16:
        data = wide(data)
    wanted = colours_of(data)
    if pixels != wanted:
        wrong = [n for n in range(width * height) if pixels[3 * n:3 * n + 3] != wanted[3 * n:3 * n + 3]]
        first = wrong[0]
        sys.exit(f"{len(wrong)} of {width * height} pixels are wrong, the first at {first % width}, {first // width}: {pixels[3 * first:3 * first + 3].hex()}, not {wanted[3 * first:3 * first + 3].hex()}")
    os.remove(arguments[0])
elif what == "middles":
    breadth, high = int(arguments[2]), int(arguments[3])
    middles = []
    for width, height, pixels in map(picture, arguments[:2]):
        left, top = (width - breadth) // 2, (height - high) // 2
        if left < 0 or top < 0:
            sys.exit(f"{width} by {height} is too small")
        middles.append([pixels[3 * (width * (top + y) + left):][:3 * breadth] for y in range(high)])
    if wrong := [y for y in range(high) if middles[0][y] != middles[1][y]]:
        sys.exit(f"{len(wrong)} of {high} lines differ, the first is {wrong[0]}")
    if not any(map(any, middles[0])):
        sys.exit("the pictures are black")
