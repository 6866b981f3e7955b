"""Operations on tensors, each in a folder: `naive.py` is plain PyTorch and the truth, `triton.py` the same in a launch.

The environment variable NLKIT_KERNELS says which form runs: `naive`, `triton`, or `auto`, the default, which takes
Triton where that was measured to be faster.
"""

import os
from importlib import import_module
from typing import Any

from nlkit.errors import NlkitError
from nlkit.lazy import Device, torch

CHOICES = ("auto", "naive", "triton")
FASTER: dict[str, tuple[str, ...]] = {}
"""By operation, the GPUs on which a row of `benchmarks/results.csv` has Triton before the plain and the compiled form.

None yet: no row was measured on a GPU.
"""


def form(operation: str, device: Device) -> Any:
    """The module that has the operation's function for tensors on this device; raises NlkitError for an odd setting."""
    wanted = os.environ.get("NLKIT_KERNELS", "auto")
    if wanted not in CHOICES:
        raise NlkitError(f"NLKIT_KERNELS is '{wanted}'; use {', '.join(CHOICES)}")
    if wanted == "auto":
        won = device.type == "cuda" and torch.cuda.get_device_name(device) in FASTER.get(operation, ())
        wanted = "triton" if won else "naive"
    return import_module(f"nlkit.kernels.{operation}.{wanted}")
