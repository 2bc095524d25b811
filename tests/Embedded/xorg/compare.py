#!/usr/bin/env python3
"""compare.py XWD BITS PICTURE X Y POINTER MASK - a picture of the screen (PPM) is what X believes to show (a dump of its root window), pixel
by pixel, with the pointer at X, Y: yellow where the bitmap POINTER has a bit, else green, and transparent where MASK has none. Colours of a palette
have so many BITS a component. Prints what is wrong, and ends with 1 then."""
import array
import re
import struct
import sys


def fail(text):
    print(text)
    sys.exit(1)


def ppm(name):
    magic, size, most, pixels = open(name, "rb").read().split(b"\n", 3)
    width, height = map(int, size.split())
    assert (magic, most, len(pixels)) == (b"P6", b"255", 3 * width * height), "a bad PPM"
    return width, height, pixels


def full(value, bits):
    """A component of so many bits as one of eight: its high bits fill up the low ones."""
    value <<= 8 - bits
    return value | value >> bits | value >> 2 * bits


def xwd(name, palette_bits):
    """Width, height, and the colours of the pixels, of a dump of version 7 with whole pixels in them."""
    data = open(name, "rb").read()
    (length, version, form, depth, width, height, _, order, _, _, _, bits, pitch, kind, *masks, _, _, colours) = struct.unpack(">20I", data[:80])
    if (version, form, order) != (7, 2, 0) or bits not in (8, 16, 32): fail(f"no dump of the root window: version {version}, form {form}, order {order}, {bits} bits")
    start = length + 12 * colours
    raw = b"".join(data[start + pitch * y:start + pitch * y + width * bits // 8] for y in range(height))
    out = bytearray(3 * width * height)
    if bits == 32:
        out[0::3], out[1::3], out[2::3] = raw[2::4], raw[1::4], raw[0::4]
    elif bits == 16:
        shown = {p: (full(p >> 11, 5), full(p >> 5 & 63, 6), full(p & 31, 5)) for p in set(array.array("H", raw))}
        out = bytearray(b"".join(bytes(shown[p]) for p in array.array("H", raw)))
    else:
        palette = [bytearray(256) for _ in range(3)]
        for n in range(colours):
            pixel, *rgb = struct.unpack(">IHHHxx", data[length + 12 * n:length + 12 * n + 12])
            for part in range(3): palette[part][pixel] = full(rgb[part] >> 16 - palette_bits, palette_bits)
        for part in range(3): out[part::3] = raw.translate(palette[part])
    return width, height, out


def bitmap(name):
    """Width, height, hot spot and the set bits of an X bitmap."""
    text = open(name).read()
    width, height, x, y = (int(n) for n in re.findall(r"#define \w+ (\d+)", text))
    rows = [int(n, 16) for n in re.findall(r"0x([0-9a-f]{2})", text)]
    return width, height, x, y, {(column, row) for row in range(height) for column in range(width) if rows[row * ((width + 7) // 8) + column // 8] >> column % 8 & 1}


width, height, wanted = xwd(sys.argv[1], int(sys.argv[2]))
shown_width, shown_height, shown = ppm(sys.argv[3])
if (width, height) != (shown_width, shown_height): fail(f"{shown_width} x {shown_height} instead of {width} x {height}")
x, y = int(sys.argv[4]), int(sys.argv[5])
across, down, hot_x, hot_y, front = bitmap(sys.argv[6])
*_, opaque = bitmap(sys.argv[7])
for column, row in opaque:
    at_x, at_y = x - hot_x + column, y - hot_y + row
    if 0 <= at_x < width and 0 <= at_y < height: wanted[3 * (at_y * width + at_x):3 * (at_y * width + at_x) + 3] = b"\xff\xff\0" if (column, row) in front else b"\0\xff\0"
if shown != wanted:
    wrong = [n for n in range(width * height) if shown[3 * n:3 * n + 3] != wanted[3 * n:3 * n + 3]]
    first, last = wrong[0], wrong[-1]
    fail(f"{len(wrong)} of {width * height} pixels are wrong, from {first % width}, {first // width} ({shown[3 * first:3 * first + 3].hex()}, not "
         f"{wanted[3 * first:3 * first + 3].hex()}) to {last % width}, {last // width}")
colours = len(set(zip(wanted[0::3], wanted[1::3], wanted[2::3])))
if colours < 12: fail(f"X shows {colours} colours only")
print(width, height, colours)
