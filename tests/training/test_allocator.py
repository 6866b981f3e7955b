"""The allocator during a run: freed memory is kept, and what others have set is left alone."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt belongs to glibc")

FAULTS = """
import resource, sys
import numpy as np
from nlkit.training.provenance import keep_freed_memory
if "keep" in sys.argv:
    print(keep_freed_memory())
def work():
    for _ in range(10):
        np.ones(2**24, np.float32)
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(code: str, *words: str, **settings: str) -> list[str]:
    """The lines that a fresh interpreter prints, in an environment that sets no allocator but `settings`."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD"))}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, env=plain | settings, check=True, capture_output=True, text=True).stdout.split("\n")


def test_blocks_that_are_taken_again_cost_no_page_faults() -> None:
    line, faults, _ = run(FAULTS, "keep")
    assert line == "glibc, keeps freed memory"
    without, _ = run(FAULTS)
    assert int(without) > 100 and int(faults) < int(without) / 10


def test_an_allocator_that_the_environment_sets_is_left_alone() -> None:
    code = "from nlkit.training.provenance import keep_freed_memory; print(keep_freed_memory())"
    for settings in ({"MALLOC_ARENA_MAX": "2"}, {"GLIBC_TUNABLES": "glibc.malloc.check=0"}):
        assert run(code, **settings)[0] == "glibc, as the environment sets it"
