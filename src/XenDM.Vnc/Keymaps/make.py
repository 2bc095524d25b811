#!/usr/bin/env python3
# Makes layouts.txt, which Layouts.cs reads, from the keyboard layouts of xkb-data, compiled by libxkbcommon (Debian: xkb-data, libxkbcommon0).
# make.py writes the file; make.py --check compares, and says nothing where other versions of the data are installed.
import ctypes, os, subprocess, sys, unicodedata
from ctypes import c_char_p, c_int, c_uint32, c_void_p

LAYOUTS = """en-us:us en-gb:gb ar:ara bepo:fr:bepo cz:cz da:dk de:de de-ch:ch es:es et:ee fi:fi fo:fo fr:fr fr-be:be fr-ca:ca:fr fr-ch:ch:fr hr:hr
hu:hu is:is it:it ja:jp lt:lt lv:lv mk:mk nl:nl nl-be:be no:no pl:pl pt:pt pt-br:br ru:ru sk:sk sl:si sv:se th:th tr:tr""".split()

# Linux's codes of the keys whose characters a layout decides: set 1 codes below 80, the key beside the left shift, and those of Brazil and Japan.
KEYS = {code: code for code in [*range(2, 14), *range(16, 28), *range(30, 42), *range(43, 54), 57]} | {86: 0x56, 89: 0x73, 124: 0x7d}

DEAD = {0x300: 0xfe50, 0x301: 0xfe51, 0x302: 0xfe52, 0x303: 0xfe53, 0x304: 0xfe54, 0x306: 0xfe55, 0x307: 0xfe56, 0x308: 0xfe57, 0x30a: 0xfe58,
        0x30b: 0xfe59, 0x30c: 0xfe5a, 0x327: 0xfe5b, 0x328: 0xfe5c}

# Characters that a dead key gives with the space bar.
SPACING = {0x60: 0xfe50, 0xb4: 0xfe51, 0x5e: 0xfe52, 0x7e: 0xfe53, 0xaf: 0xfe54, 0x2d8: 0xfe55, 0x2d9: 0xfe56, 0xa8: 0xfe57,
           0xb0: 0xfe58, 0x2da: 0xfe58, 0x2dd: 0xfe59, 0x2c7: 0xfe5a, 0xb8: 0xfe5b, 0x2db: 0xfe5c}


class Names(ctypes.Structure):
    _fields_ = [(name, c_char_p) for name in ("rules", "model", "layout", "variant", "options")]


def load():
    xkb = ctypes.CDLL("libxkbcommon.so.0")
    for name in ("xkb_context_new", "xkb_keymap_new_from_names", "xkb_state_new"):
        getattr(xkb, name).restype = c_void_p
    xkb.xkb_keymap_new_from_names.argtypes = [c_void_p, ctypes.POINTER(Names), c_int]
    xkb.xkb_keymap_mod_get_index.argtypes = [c_void_p, c_char_p]
    xkb.xkb_keymap_mod_get_index.restype = c_uint32
    xkb.xkb_state_new.argtypes = [c_void_p]
    xkb.xkb_state_update_mask.argtypes = [c_void_p] + [c_uint32] * 6
    xkb.xkb_state_key_get_one_sym.argtypes = [c_void_p, c_uint32]
    xkb.xkb_state_key_get_one_sym.restype = c_uint32
    xkb.xkb_keysym_to_utf32.argtypes = [c_uint32]
    xkb.xkb_keysym_to_utf32.restype = c_uint32
    return xkb


def symbol(xkb, keysym):
    """A character as its code point with a u, another keysym as its number, '-' for none."""
    if keysym == 0 or 0xfd00 <= keysym < 0xfe20 or keysym >= 0xff00 and keysym < 0x1000000:
        return "-"
    point = 0 if 0xfe00 <= keysym < 0xff00 else xkb.xkb_keysym_to_utf32(keysym)
    return f"u{point:x}" if point else f"{keysym:x}"


def rows(xkb, context, layout, variant):
    keymap = xkb.xkb_keymap_new_from_names(context, Names(b"evdev", b"pc105", layout.encode(), variant.encode(), b""), 0)
    assert keymap, layout
    shift, third = (1 << xkb.xkb_keymap_mod_get_index(keymap, name) for name in (b"Shift", b"Mod5"))
    table = {}
    for code, key in KEYS.items():
        symbols = []
        for mask in (0, shift, third, shift | third):
            state = xkb.xkb_state_new(keymap)
            xkb.xkb_state_update_mask(state, mask, 0, 0, 0, 0, 0)
            symbols.append(symbol(xkb, xkb.xkb_state_key_get_one_sym(state, code + 8)))
        if symbols[2:] == symbols[:2]:
            symbols[2:] = []
        elif len(symbols) == 4 and symbols[3] == symbols[2]:
            symbols[3:] = []
        while symbols and symbols[-1] == "-":
            symbols.pop()
        if symbols:
            table[key] = " ".join(symbols)
    return table


def version():
    return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "xkb-data"], capture_output=True, text=True, check=True).stdout


def text():
    xkb = load()
    context = xkb.xkb_context_new(0)
    lines = [f"# Made by make.py from xkb-data {version()}; see there. Numbers are hexadecimal.", ""]

    lines.append("# Keysyms older than Unicode: first keysym, then the character of it and of each that follows (0 for none).")
    run = None
    for keysym in range(0x100, 0x2100):
        point = xkb.xkb_keysym_to_utf32(keysym)
        if point and run is not None and run[0] + len(run[1]) == keysym:
            run[1].append(point)
        elif point:
            run = (keysym, [point])
            lines.append(run)
    lines = [line if isinstance(line, str) else f"keysyms {line[0]:x} " + " ".join(f"{p:x}" for p in line[1]) for line in lines]

    lines += ["", "# Characters that are typed by a dead key and another."]
    for point in range(0xc0, 0x180):
        parts = unicodedata.normalize("NFD", chr(point))
        if len(parts) == 2 and ord(parts[1]) in DEAD:
            lines.append(f"compose {point:x} {DEAD[ord(parts[1])]:x} {ord(parts[0]):x}")
    lines += [f"compose {point:x} {dead:x} 20" for point, dead in SPACING.items()]

    lines += ["", "# Layouts, by what differs from the first: key, then what it gives alone, with Shift, with AltGr, with both."]
    first = None
    for item in LAYOUTS:
        name, layout, variant = (item + ":").split(":")[:3]
        table = rows(xkb, context, layout, variant)
        lines.append(f"layout {name}")
        first = first or {}
        for key in sorted({*table, *first}):
            if table.get(key) != first.get(key):
                lines.append(f"{key:x} {table.get(key, '')}".rstrip())
        first = first or table
    return "\n".join(lines) + "\n"


path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "layouts.txt")
if sys.argv[1:] == ["--check"]:
    with open(path, encoding="ascii") as file:
        old = file.read()
    if version() in old.split("\n", 1)[0] and old != text():
        sys.exit("layouts.txt is not what make.py makes")
else:
    with open(path, "w", encoding="ascii") as file:
        file.write(text())
