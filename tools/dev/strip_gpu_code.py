#!/usr/bin/env python3
"""Copies a CUDA library with the machine code of one GPU architecture only, so that it packs small.

    python tools/dev/strip_gpu_code.py libonnxruntime_providers_cuda.so stripped.so --arch 90

A library holds the machine code of its kernels once for each architecture, as "fat binaries": a
container (magic, version, sizes) of entries, each with a header (kind, size, architecture) and an
ELF file or PTX text, mostly compressed by zstd. Entries that are not kept are overwritten with
zeros: all offsets stay, and zeros compress to nothing. Other ELF files for GPUs, which lie in the
constants of a library, are treated alike.

Kernels that no convolutional detector calls (attention, mixtures of experts, quantized matrix
products of language models) are left out by their names, which needs the package zstandard.
"""

import argparse
import mmap
import re
import shutil
import struct
from collections import Counter
from pathlib import Path
from typing import Iterator, NamedTuple

CONTAINER_MAGIC = 0xBA55ED50
KIND_ELF = 2
MACHINE_CUDA = 190
"""e_machine of ELF files with GPU code."""

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LANGUAGE_MODELS = re.compile(
    rb"flash|cutlass|MoeFC|fused_moe|3llm|fpA_intB|ttention|fmha|moe_|BeamSearch|Blockwise|"
    rb"MatMulNBits|Float8|paged|Rotary|sparse"
)
LARGEST_CONSTANT = 4_000_000
"""Bytes of an ELF file among the constants; larger ones are chance."""


class Entry(NamedTuple):
    """Machine code for one architecture: where its bytes lie in the library."""

    kind: int
    arch: int
    start: int
    size: int


def sections(library: mmap.mmap) -> dict[str, tuple[int, int]]:
    """Offset and size of each section of a 64-bit little-endian ELF file."""
    (table,) = struct.unpack_from("<Q", library, 40)
    entry_size, count, names_index = struct.unpack_from("<HHH", library, 58)
    headers = []
    for index in range(count):
        name, _, _, _, offset, size = struct.unpack_from(
            "<IIQQQQ", library, table + index * entry_size
        )
        headers.append((name, offset, size))
    names = headers[names_index][1]
    found = {}
    for name, offset, size in headers:
        text = library[names + name : library.find(b"\0", names + name)].decode()
        found[text] = offset, size
    return found


def fat_entries(library: mmap.mmap, offset: int, size: int) -> Iterator[Entry]:
    """All entries of all containers of a section."""
    position, end = offset, offset + size
    magic = struct.pack("<I", CONTAINER_MAGIC)
    while (position := library.find(magic, position, end)) >= 0:
        header_size, content_size = struct.unpack_from("<HQ", library, position + 6)
        entry = position + header_size
        position = entry + content_size
        while entry < position:
            kind, _, entry_header, entry_size = struct.unpack_from("<HHIQ", library, entry)
            (arch,) = struct.unpack_from("<I", library, entry + 28)
            yield Entry(kind, arch, entry + entry_header, entry_size)
            entry += entry_header + entry_size


def is_for_language_models(content: bytes) -> bool:
    """True if most kernels of an entry are; their names are those of its sections."""
    import zstandard

    start = content.find(ZSTD_MAGIC, 0, 64)
    if start >= 0:
        content = zstandard.ZstdDecompressor().decompressobj().decompress(content[start:])
    names = set(re.findall(rb"\.text\.([A-Za-z0-9_]+)", content))
    return 2 * sum(bool(LANGUAGE_MODELS.search(name)) for name in names) > len(names)


def constant_elfs(library: mmap.mmap, offset: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and size of ELF files with GPU code in a section of constants."""
    position, end = offset, offset + size
    while (position := library.find(b"\x7fELF\x02\x01", position, end)) >= 0:
        (machine,) = struct.unpack_from("<H", library, position + 18)
        programs, headers = struct.unpack_from("<QQ", library, position + 32)
        program_size, program_count, header_size, header_count = struct.unpack_from(
            "<HHHH", library, position + 54
        )
        length = max(headers + header_size * header_count, programs + program_size * program_count)
        if machine == MACHINE_CUDA and length < LARGEST_CONSTANT:
            yield position, length
            position += length
        else:
            position += 1


def strip(source: Path, target: Path, arch: int, *, keep_all_kernels: bool = False) -> Counter:
    """Writes `target`; returns bytes by what became of them.

    Args:
        arch: compute capability times 10, 90 for H100 and H200.
        keep_all_kernels: also those of language models.
    """
    shutil.copyfile(source, target)
    told: Counter = Counter()
    with open(target, "r+b") as stream, mmap.mmap(stream.fileno(), 0) as library:
        parts = sections(library)
        for name in (".nv_fatbin", "__nv_relfatbin"):
            for kind, found, start, size in list(fat_entries(library, *parts.get(name, (0, 0)))):
                outcome = "kept"
                if (kind, found) != (KIND_ELF, arch):
                    outcome = "other architectures"
                elif not keep_all_kernels and is_for_language_models(library[start : start + size]):
                    outcome = "language models"
                if outcome != "kept":
                    library[start : start + size] = bytes(size)
                told[outcome] += size
        if not keep_all_kernels:
            for start, size in list(constant_elfs(library, *parts.get(".rodata", (0, 0)))):
                library[start : start + size] = bytes(size)
                told["language models"] += size
    return told


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--arch", type=int, default=90, help="of the card (default: 90)")
    parser.add_argument("--keep-all-kernels", action="store_true")
    args = parser.parse_args()
    told = strip(args.source, args.target, args.arch, keep_all_kernels=args.keep_all_kernels)
    parts = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in told.items())
    print(f"{args.source.name}: {parts}")
    if not told["kept"]:
        raise SystemExit(f"error: {args.source.name} has no machine code for --arch {args.arch}")


if __name__ == "__main__":
    main()
