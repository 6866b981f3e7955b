"""PyTorch, imported when it is first used, and names for annotations only.

Importing it takes seconds, which whoever reads parameters or records need not spend. Code of the rooms from `data` to
`training` takes it from here; networks, which are classes of PyTorch's own, are imported where they are built.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch as torch
    from pandas import DataFrame as DataFrame
    from torch import Generator as Generator
    from torch import Tensor as Tensor
    from torch import device as Device
    from torch.nn import functional as functional
else:
    DataFrame = Device = Generator = Tensor = Any  # for annotations only; what is a tensor is asked with torch.Tensor

    class _Module:
        """Stands for a module until one of its names is asked for."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, name: str) -> Any:
            value = getattr(import_module(self._name), name)
            setattr(self, name, value)  # from now on found without this function
            return value

    torch, functional = _Module("torch"), _Module("torch.nn.functional")


@contextmanager
def no_grad() -> Iterator[None]:
    """As `torch.no_grad()`: inside, or in a function that it decorates, no gradients are recorded."""
    with torch.no_grad():
        yield
