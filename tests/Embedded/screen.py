#!/usr/bin/env python3
"""screen.py MONITOR FOLDER VGABIOS CELLS - takes a picture of the guest's text screen by the monitor and compares it pixel by pixel with what the
characters and attributes in CELLS (base64 of /dev/vcsa1: rows, columns, cursor, then two bytes a cell) look like in the font of the VGA BIOS, in
characters of 9 by 16 dots. Prints what is wrong, and ends with 1 then."""
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


def expected_text(rom, cells):
    # The font lies in the ROM as 256 characters of 16 lines; this is its 'A'.
    letter = bytes.fromhex("000010386cc6c6fec6c6c6c600000000")
    font = rom.find(letter) - ord("A") * 16
    rows, columns = cells[0], cells[1]
    colours = [bytes((0xAA * (n >> 2 & 1) + 0x55 * (n >> 3), 0xAA * (n >> 1 & 1) + 0x55 * (n >> 3), 0xAA * (n & 1) + 0x55 * (n >> 3))) for n in range(16)]
    colours[6] = bytes((0xAA, 0x55, 0))
    lines = []
    for row in range(rows):
        for scan in range(16):
            line = b""
            for column in range(columns):
                code, attribute = cells[4 + 2 * (row * columns + column):][:2]
                shape = rom[font + 16 * code + scan] << 1
                if 0xC0 <= code <= 0xDF:
                    shape |= shape >> 1 & 1
                front, back = colours[attribute & 15], colours[attribute >> 4 & 7]
                line += b"".join(front if shape & 0x100 >> dot else back for dot in range(9))
            lines.append(line)
    return 9 * columns, 16 * rows, b"".join(lines)


def main():
    monitor, folder, rom, cells = sys.argv[1:]
    width, height, pixels = picture(monitor, folder)
    if b"q\x07u\x07i\x07c\x07k\x07" not in base64.b64decode(cells):
        sys.exit("the guest did not write what it was told to")
    wanted = expected_text(open(rom, "rb").read(), base64.b64decode(cells))
    if (width, height) != wanted[:2]:
        sys.exit(f"{width} x {height} instead of {wanted[0]} x {wanted[1]}")
    for at in range(0, len(pixels), 3):
        if pixels[at:at + 3] != wanted[2][at:at + 3]:
            sys.exit(f"at {at // 3 % width}, {at // 3 // width}: {pixels[at:at + 3].hex()} instead of {wanted[2][at:at + 3].hex()}")


main()
