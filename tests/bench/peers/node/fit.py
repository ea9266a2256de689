"""Makes the registry's build of uWebSockets.js load on glibc before 2.38: fit.py FILE.

It was built with headers that call strtol, strtoul and sscanf by new names (`__isoc23_strtol`), which differ from the
old ones in reading binary literals and in nothing that is used here. The old name is the end of the new one, so a
reference is mended by pointing nine bytes further into the same string, at the oldest version of the C library.
Changes nothing else of the program, and nothing at all the second time.
"""

import struct
import sys
from pathlib import Path

NEW_NAMES = b"__isoc23_"
C_LIBRARY = b"libc.so.6"
UNAVAILABLE = b"GLIBC_2.38"
OLDEST = b"GLIBC_2.2.5"  # on x86-64

# Types of sections, by the names that <elf.h> has.
SHT_DYNSYM, SHT_GNU_VERNEED, SHT_GNU_VERSYM = 11, 0x6FFFFFFE, 0x6FFFFFFF
VER_FLG_WEAK = 2

SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
NEED = struct.Struct("<HHIII")
NEED_OF_VERSION = struct.Struct("<IHHII")


class Object:
    """A shared object (ELF, 64 bits, little-endian)."""

    def __init__(self, data):
        self.data = data
        (table,) = struct.unpack_from("<Q", data, 0x28)
        size, count = struct.unpack_from("<HH", data, 0x3A)
        self.sections = [SECTION.unpack_from(data, table + index * size) for index in range(count)]

    def section(self, kind):
        """Where the section of this type begins, its length, and where the names begin that it speaks of."""
        _, _, _, _, offset, size, link, *_ = next(section for section in self.sections if section[1] == kind)
        return offset, size, self.sections[link][4]

    def text(self, offset):
        return bytes(self.data[offset : self.data.index(0, offset)])

    def versions(self):
        """Versions of the C library that it needs: where each is written, its name, flags and number in this file."""
        at, _, names = self.section(SHT_GNU_VERNEED)
        while True:
            _, count, library, first, following = NEED.unpack_from(self.data, at)
            entry = at + first
            for _ in range(count):
                _, flags, number, name, after = NEED_OF_VERSION.unpack_from(self.data, entry)
                if self.text(names + library) == C_LIBRARY:
                    yield entry, self.text(names + name), flags, number
                entry += after
            if not following:
                return
            at += following


def fit(data):
    """Mends references to what an older C library lacks, and no longer insists on the newer one."""
    program = Object(data)
    versions = list(program.versions())
    (oldest,) = {number for _, name, _, number in versions if name == OLDEST}
    missing = {number for _, name, _, number in versions if name == UNAVAILABLE}
    for entry, name, flags, _ in versions:
        if name == UNAVAILABLE:
            struct.pack_into("<H", data, entry + 4, flags | VER_FLG_WEAK)
    symbols, size, names = program.section(SHT_DYNSYM)
    of_symbols, _, _ = program.section(SHT_GNU_VERSYM)
    for index in range(size // SYMBOL.size):
        symbol, version = symbols + index * SYMBOL.size, of_symbols + index * 2
        if struct.unpack_from("<H", data, version)[0] not in missing:
            continue
        name, *_ = SYMBOL.unpack_from(data, symbol)
        spelled = program.text(names + name)
        if not spelled.startswith(NEW_NAMES):
            raise SystemExit(f"{spelled.decode()} of {UNAVAILABLE.decode()} has no older name")
        struct.pack_into("<I", data, symbol, name + len(NEW_NAMES))
        struct.pack_into("<H", data, version, oldest)


def main():
    path = Path(sys.argv[1])
    data = bytearray(path.read_bytes())
    fit(data)
    path.write_bytes(data)


main()
