"""Builds ``memtop.native._core`` with cffi in API mode against Python's stable ABI (abi3)."""

from __future__ import annotations

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SOURCES = sorted(str(p.relative_to(ROOT)) for p in HERE.glob("*.c") if not p.name.startswith("_"))

ffibuilder = FFI()
for header in ("api.h", "dump.h"):
    ffibuilder.cdef((HERE / header).read_text(encoding="utf-8"))
ffibuilder.set_source(
    "memtop.native._core",
    '#include "core.h"',
    sources=SOURCES,
    include_dirs=[str(HERE.relative_to(ROOT))],
    define_macros=[("_GNU_SOURCE", None)],
    extra_compile_args=[
        "-std=c11",
        "-O2",
        "-fvisibility=hidden",
        # What cffi generates needs the exceptions; a release build must not fail on a new compiler's warning.
        *(
            ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]
            if os.environ.get("MEMTOP_STRICT_C")
            else []
        ),
    ],
    py_limited_api=True,
)
