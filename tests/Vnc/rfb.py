"""A client of RFB that measures: it takes updates apart as far as is needed to find their ends, and counts. Without security only."""
import socket, struct, time

RAW, COPYRECT, HEXTILE, ZLIB, TIGHT, ZRLE = 0, 1, 5, 6, 7, 16
NAMES = {'raw': RAW, 'hextile': HEXTILE, 'zlib': ZLIB, 'tight': TIGHT, 'zrle': ZRLE}

SCAN_CODES = {'\n': 0x1c, ' ': 0x39}
for _row, _first in ('qwertyuiop', 0x10), ('asdfghjkl', 0x1e), ('zxcvbnm', 0x2c):
    SCAN_CODES.update({letter: _first + i for i, letter in enumerate(_row)})


def picture():
    """What the guest's command p shows: 640 x 480 pixels, each red, green, blue."""
    out = bytearray()
    for y in range(480):
        for x in range(640):
            band = y >> 7
            if band == 0: out += b'\x20\x40\x60'
            elif band == 1: out += b'\xff\xff\xff' if (x ^ y) & 8 else b'\0\0\0'
            elif band == 2: out += bytes((x & 255, y & 255, (x ^ y) & 255))
            else: out += bytes(((x + y) & 255, ((x * y & 0xffff) >> 3) & 255, x * y & 255))
    return bytes(out)


class Client:
    """address: ('HOST', PORT) or a path."""

    def __init__(self, address, encodings, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        if not isinstance(address, str): self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.at, self.bytes, self.updates, self.rectangles, self.pixels, self.moves = b'', 0, 0, 0, 0, 0, 0
        self.cut = None
        self.take(12)
        self.socket.sendall(b'RFB 003.008\n')
        kinds = self.take(self.take(1)[0])
        if 1 not in kinds: raise OSError(f'security {list(kinds)}')
        self.socket.sendall(b'\x01')
        if self.take(4) != b'\0\0\0\0': raise OSError('refused')
        self.socket.sendall(b'\x01')
        self.width, self.height = struct.unpack('>HH', self.take(4))
        self.take(16)
        self.name = self.take(struct.unpack('>I', self.take(4))[0])
        # 32 bits, 00RRGGBB
        self.socket.sendall(struct.pack('>B3xBBBBHHHBBB3x', 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        encodings = [*encodings, -223, -258]
        self.socket.sendall(struct.pack('>BxH', 2, len(encodings)) + b''.join(struct.pack('>i', e) for e in encodings))
        self.bytes = 0

    def more(self):
        data = self.socket.recv(1 << 18)
        if not data: raise OSError('the server closed the connection')
        self.buffer = self.buffer[self.at:] + data
        self.at = 0
        self.bytes += len(data)

    def take(self, count):
        parts = []
        while count > 0:
            if self.at == len(self.buffer): self.more()
            part = self.buffer[self.at:self.at + count]
            self.at += len(part)
            count -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b''.join(parts)

    def number(self, form):
        return struct.unpack('>' + form, self.take(struct.calcsize('>' + form)))[0]

    def ask(self, incremental=True):
        self.socket.sendall(struct.pack('>BBHHHH', 3, incremental, 0, 0, self.width, self.height))

    def key(self, letter):
        """Presses and releases the key of a small letter or of Enter, by its scan code (QEMU's extended key event)."""
        code = SCAN_CODES[letter]
        symbol = 0xff0d if letter == '\n' else ord(letter)
        for down in 1, 0: self.socket.sendall(struct.pack('>BBHII', 255, 0, down, symbol, code))

    def type(self, text):
        for letter in text:
            self.key(letter)
            time.sleep(0.1)

    def put(self, text):
        """Sends a text for the clipboard."""
        self.socket.sendall(struct.pack('>B3xI', 6, len(text)) + text.encode('latin-1'))

    def message(self):
        """Takes one message; true when it was an update of the picture."""
        kind = self.take(1)[0]
        if kind == 1: self.take(struct.unpack('>xHH', self.take(5))[1] * 6)
        elif kind == 3: self.cut = self.take(struct.unpack('>3xI', self.take(7))[0]).decode('latin-1')
        elif kind != 0 and kind != 2: raise OSError(f'message {kind}')
        if kind != 0: return False
        self.take(1)
        seen = self.pixels + self.moves
        for _ in range(self.number('H')): self.rectangle()
        if self.pixels + self.moves == seen: return False
        self.updates += 1
        return True

    def update(self):
        while not self.message(): pass

    def rectangle(self):
        x, y, width, height, encoding = struct.unpack('>HHHHi', self.take(12))
        if encoding == -223: self.width, self.height = width, height
        if encoding in (-223, -258): return
        self.rectangles += 1
        if encoding == COPYRECT:
            self.take(4)
            self.moves += width * height
            return
        self.pixels += width * height
        if encoding == RAW: self.take(width * height * 4)
        elif encoding in (ZLIB, ZRLE): self.take(self.number('I'))
        elif encoding == HEXTILE: self.hextile(width, height)
        elif encoding == TIGHT: self.tight(width, height)
        else: raise OSError(f'encoding {encoding}')

    def hextile(self, width, height):
        for y in range(0, height, 16):
            for x in range(0, width, 16):
                flags = self.take(1)[0]
                if flags & 1:
                    self.take(min(16, width - x) * min(16, height - y) * 4)
                    continue
                self.take(4 * ((flags >> 1 & 1) + (flags >> 2 & 1)))
                if flags & 8: self.take(self.take(1)[0] * (6 if flags & 16 else 2))

    def tight(self, width, height):
        control = self.take(1)[0] >> 4
        if control == 8:
            self.take(3)
            return
        if control == 9:
            self.take(self.length())
            return
        size = width * height * 3
        if control & 4 and self.take(1)[0] == 1:
            colours = self.take(1)[0] + 1
            self.take(3 * colours)
            size = (width + 7) // 8 * height if colours == 2 else width * height
        self.take(size if size < 12 else self.length())

    def length(self):
        first = self.take(1)[0]
        if first < 128: return first
        second = self.take(1)[0]
        length = (first & 127) | (second & 127) << 7
        return length if second < 128 else length | self.take(1)[0] << 14
