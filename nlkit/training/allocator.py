"""The C library's memory allocator during a run: freed memory is kept, so that a step pays no page faults."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from pathlib import Path

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of mallopt(3)
OTHERS = ("jemalloc", "tcmalloc", "mimalloc")


@cache
def keep_freed_memory() -> str:
    """Tell glibc to serve large blocks from its heap and never to give them back; says what the allocator does now.

    By default glibc maps every large block anew and unmaps it when it is freed, so that each step of a training on a
    CPU faults its pages in again. Nothing is changed, and the answer is a name, where there is another C library,
    another allocator is loaded, or the environment sets the allocator (mallopt(3)). Results do not depend on it.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return platform.libc_ver()[0] or platform.system()
    loaded = Path("/proc/self/maps").read_text(errors="replace")
    for name in OTHERS:
        if name in loaded:
            return name
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return "glibc, as the environment sets it"
    library = ctypes.CDLL(None)
    changed = library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, -1)
    return "glibc, keeps freed memory" if changed else "glibc"
