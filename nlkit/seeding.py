"""Random streams that depend on names only, so that a resumed run draws what an undisturbed one draws."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from nlkit.lazy import Device, Generator, torch


def derive(*names: object) -> int:
    """A 63-bit seed from any sequence of names, for example `(seed, "views", epoch)`."""
    text = "/".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_stream(device: Device, *names: object) -> Generator:
    """A torch generator on `device` for the stream of that name."""
    return torch.Generator(device).manual_seed(derive(*names))


def numpy_stream(*names: object) -> np.random.Generator:
    """A NumPy generator for the stream of that name."""
    return np.random.default_rng(derive(*names))


@contextmanager
def global_stream(device: Device, *names: object) -> Iterator[None]:
    """Inside, torch's global generators follow that stream, for dropout, which takes none; then they are as before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive(*names))
        yield
