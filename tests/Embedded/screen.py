#!/usr/bin/env python3
"""screen.py MONITOR FOLDER VGABIOS CELLS - takes a picture of the guest's text screen by the monitor and compares it pixel by pixel with what the
characters and attributes in CELLS (base64 of /dev/vcsa1: rows, columns, cursor, then two bytes a cell) look like in the font of the VGA BIOS, in
characters of 9 by 16 dots. Prints what is wrong, and ends with 1 then.
screen.py MONITOR FOLDER VGABIOS says TEXT... - the same with what each cell shows: a character of the font in two colours, but where the cursor is.
Each TEXT stands in a line."""
import base64
import os
import socket
import sys


def picture(monitor, folder):
    """Width, height and the lines of red, green and blue of a PPM that the monitor writes."""
    path = os.path.join(folder, "screen.ppm")
    line = socket.socket(socket.AF_UNIX)
    line.connect(monitor)
    line.settimeout(60)

    def answer():
        text = b""
        while not text.endswith(b") "):
            piece = line.recv(4096)
            if not piece:
                sys.exit(f"the monitor went away: {text}")
            text += piece
        return text

    answer()
    line.sendall(f"screendump {path}\n".encode())
    said = answer()
    if not os.path.exists(path):
        sys.exit(f"no picture: {said}")
    data = open(path, "rb").read()
    magic, size, most, pixels = data.split(b"\n", 3)
    width, height = map(int, size.split())
    if (magic, most, len(pixels)) != (b"P6", b"255", 3 * width * height):
        sys.exit(f"a bad PPM: {magic} {size} {most}, {len(pixels)} bytes")
    return width, height, pixels


def glyph(rom, code):
    """Sixteen lines of nine dots, the first one in bit 8. The font lies in the ROM as 256 characters of 16 lines."""
    letter = bytes.fromhex("000010386cc6c6fec6c6c6c600000000")
    font = rom.find(letter) - ord("A") * 16
    lines = [line << 1 for line in rom[font + 16 * code:font + 16 * code + 16]]
    return tuple(line | line >> 1 & 1 for line in lines) if 0xC0 <= code <= 0xDF else tuple(lines)


def lines_of(rom, width, height, pixels):
    """The text that a picture shows; None stands for what is none."""
    codes = {}
    for code in range(255, -1, -1):
        codes[glyph(rom, code)] = chr(code)
    lines = []
    for row in range(height // 16):
        line = []
        for column in range(width // 9):
            starts = [3 * ((16 * row + scan) * width + 9 * column) for scan in range(16)]
            dots = [[pixels[at:at + 3] for at in range(start, start + 27, 3)] for start in starts]
            colours = sorted({dot for scan in dots for dot in scan})
            found = [" "] if len(colours) == 1 else []
            for front in colours if len(colours) == 2 else []:
                shape = tuple(sum((dot == front) << 8 - n for n, dot in enumerate(scan)) for scan in dots)
                if shape in codes:
                    found.append(codes[shape])
            line.append(found[0] if found else None)
        lines.append(line)
    return lines


def expected_text(rom, cells):
    shapes = [glyph(rom, code) for code in range(256)]
    rows, columns = cells[0], cells[1]
    colours = [bytes((0xAA * (n >> 2 & 1) + 0x55 * (n >> 3), 0xAA * (n >> 1 & 1) + 0x55 * (n >> 3), 0xAA * (n & 1) + 0x55 * (n >> 3))) for n in range(16)]
    colours[6] = bytes((0xAA, 0x55, 0))
    lines = []
    for row in range(rows):
        for scan in range(16):
            line = b""
            for column in range(columns):
                code, attribute = cells[4 + 2 * (row * columns + column):][:2]
                shape = shapes[code][scan]
                front, back = colours[attribute & 15], colours[attribute >> 4 & 7]
                line += b"".join(front if shape & 0x100 >> dot else back for dot in range(9))
            lines.append(line)
    return 9 * columns, 16 * rows, b"".join(lines)


def main():
    monitor, folder, rom, cells = sys.argv[1:5]
    width, height, pixels = picture(monitor, folder)
    if cells == "says":
        if width % 9 or height % 16:
            sys.exit(f"{width} x {height} is no text screen")
        lines = lines_of(open(rom, "rb").read(), width, height, pixels)
        text = ["".join(c or "?" for c in line).rstrip() for line in lines]
        strange = sum(c is None for line in lines for c in line)
        if strange > 1:
            sys.exit(f"{strange} cells show no character of the font: {text}")
        for wanted in sys.argv[5:]:
            if not any(wanted in line for line in text):
                sys.exit(f"'{wanted}' is not on the screen: {text}")
        return
    if b"q\x07u\x07i\x07c\x07k\x07" not in base64.b64decode(cells):
        sys.exit("the guest did not write what it was told to")
    wanted = expected_text(open(rom, "rb").read(), base64.b64decode(cells))
    if (width, height) != wanted[:2]:
        sys.exit(f"{width} x {height} instead of {wanted[0]} x {wanted[1]}")
    for at in range(0, len(pixels), 3):
        if pixels[at:at + 3] != wanted[2][at:at + 3]:
            sys.exit(f"at {at // 3 % width}, {at // 3 // width}: {pixels[at:at + 3].hex()} instead of {wanted[2][at:at + 3].hex()}")


main()
