"""Work that many threads share, with results in order and a bounded number of them in memory."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

MAX_WORKERS = 16

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def workers() -> int:
    """Threads to work with: one for each core that this process may use, at most 16."""
    return min(MAX_WORKERS, len(os.sched_getaffinity(0)))


def in_order(work: Callable[[_Item], _Result], items: Iterable[_Item], count: int | None = None) -> Generator[_Result]:
    """`work(item)` for each item, in their order, by `count` threads that run at most two items each ahead.

    For work that lets go of the interpreter's lock, as the decoders of images do. Closing the generator ends it; what
    `work` raises comes out in its turn. Warnings are off meanwhile: Pillow warns about odd files from whichever thread
    reads them, and the filter belongs to the process.
    """
    threads = count or workers()
    ahead: deque[Future[_Result]] = deque()
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore")
        try:
            for item in items:
                ahead.append(pool.submit(work, item))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
